"""The columns of a table of results: how each is computed from sums over clips, and what it means, in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from talkface.metrics.bootstrap import mean_of_sums
from talkface.metrics.correlation import correlation, opening_std_ratio
from talkface.metrics.sync import peak, peak_lag

DETECTOR = "MediaPipe's attention face mesh (468 points) in PyTorch, on 256-px aligned frames"


_LMD = (
    "Landmark distance: mean over frames and the 20 mouth points (48 to 67 of 68) of the Euclidean distance between "
    "real and generated, each face's own mouth centroid subtracted; no scale, no rotation removed. A generated frame "
    "without a detected face counts as a mouth shrunk to a point. Pixels of the 256-px aligned frame."
)
_SYNC = (
    "Highest Pearson correlation of mouth opening with log speech energy (of a data set's clips 200 to 2500 Hz, out of "
    "their MFCC; of videos 200 to 3500 Hz), both less a running mean over 51 frames, lags -15 to +15, sums pooled over "
    "clips before the peak is taken. Not LSE."
)
DEFINITIONS = {
    "psnr": "PSNR in dB: RGB, data range 255, mean of per-frame values (at most 100), whole aligned frame of 256 px.",
    "psnr_lineage": "What the evaluation code of Chen et al. 2019 prints as PSNR: grey, 256 px, differences and their "
    "squares wrap modulo 256. Not a PSNR; only this one may stand beside the paper's column.",
    "ssim": "SSIM: 8-bit RGB at 256 px, 7x7 uniform window, K1 0.01, K2 0.03, sample covariance, data range 255; mean "
    "of frames (scikit-image's defaults, as in the lineage).",
    "lmd": _LMD,
    "lmd_128": "lmd in pixels of a 128-px frame: half of lmd.",
    "lmd_iod": "lmd in percent of the real frame's distance of the eye centres.",
    "mouth_r": "Pearson correlation of mouth opening, generated against real: gap of the inner lips over eye distance, "
    "each clip's mean taken off, pooled over clips. No value where a mouth never moves.",
    "mouth_move": "How much the generated mouth opens and closes beside the real one: ratio of the standard deviations "
    "of their openings, pooled as mouth_r. 0 does not move, 1 is as kaiming_init as life.",
    "sync": _SYNC,
    "sync_lag": "Lag of that peak in frames of 40 ms, positive where the mouth is late.",
    "mi": "Jensen-Shannon estimate of the mutual information of frames and speech (paper Eq. 7) by the statistics "
    "network trained on real frames, in nats: -1.386 where it cannot tell a frame's own sound, 0 where it always can. "
    "Marginal pairs are other moments of the same clip.",
    "mi_real": "mi of the real frames, the same for every row.",
    "cpbd": "CPBD: sharpness of the generated frames alone (Narvekar and Karam 2011), grey at 256 px; 1 is sharp.",
    "cpbd_real": "cpbd of the real frames, the same for every row.",
    "lse_d": "LSE-D: smallest mean distance of SyncNet's embeddings over 31 offsets, with the user's weights; 5 frames "
    "of a 224-px crop placed by our landmarks, where the original uses S3FD's box.",
    "lse_c": "LSE-C: median over the offsets of that distance, less the smallest.",
    "lse_offset": "The offset of the smallest distance in frames (mean over videos), positive where the mouth is late.",
}


@dataclass(frozen=True)
class Column:
    """One figure of a row."""

    name: str
    metric: str
    """The name after `--metrics` that brings it."""
    sums: str
    """Which of a clip's sums it is made of."""
    score: Callable[[np.ndarray], np.ndarray]
    """Summed clips (..., K) -> (...)."""
    digits: int
    """Printed after the point."""
    better: str
    """"up", "down", or "" where neither is."""
    landmarks: bool = False
    """Whether the landmark detector has a say in it."""


def _half(sums: np.ndarray) -> np.ndarray:
    return mean_of_sums(sums) / 2


COLUMNS = (
    Column("psnr", "psnr", "psnr", mean_of_sums, 2, "up"),
    Column("psnr_lineage", "psnr_lineage", "psnr_lineage", mean_of_sums, 2, "up"),
    Column("ssim", "ssim", "ssim", mean_of_sums, 4, "up"),
    Column("lmd", "lmd", "lmd", mean_of_sums, 3, "down", True),
    Column("lmd_128", "lmd", "lmd", _half, 3, "down", True),
    Column("lmd_iod", "lmd", "lmd_iod", mean_of_sums, 2, "down", True),
    Column("mouth_r", "mouth_r", "mouth", correlation, 3, "up", True),
    Column("mouth_move", "mouth_r", "mouth", opening_std_ratio, 2, "", True),
    Column("sync", "sync", "sync", peak, 3, "up", True),
    Column("sync_lag", "sync", "sync", peak_lag, 0, "", True),
    Column("mi", "mi", "mi", mean_of_sums, 3, "up"),
    Column("mi_real", "mi", "mi_real", mean_of_sums, 3, ""),
    Column("cpbd", "cpbd", "cpbd", mean_of_sums, 3, "up"),
    Column("cpbd_real", "cpbd", "cpbd_real", mean_of_sums, 3, ""),
    Column("lse_d", "lse", "lse_d", mean_of_sums, 3, "down"),
    Column("lse_c", "lse", "lse_c", mean_of_sums, 3, "up"),
    Column("lse_offset", "lse", "lse_offset", mean_of_sums, 1, ""),
)

PAPER = {
    "lrw": {"psnr_lineage": 32.08, "ssim": 0.92, "lmd": 1.21},
    "grid": {"psnr_lineage": 31.01, "ssim": 0.97, "lmd": 0.78},
}
"""Tables 1 and 2 of the paper, row AMIE (Ours). Its PSNR is on the lineage's scale, see `metrics.psnr`."""

DIFFERS = (
    "Paper: trained on all of LRW; dlib's whole-pixel landmarks at a resolution it does not state; 8 to 16 frames of a "
    "clip in its lineage. Here: every frame, aligned at 256 px, our detector: compare rows of one table, not with it."
)


def columns_of(metrics: tuple[str, ...]) -> tuple[Column, ...]:
    """The columns that these metrics bring, in the order of the table."""
    return tuple(column for column in COLUMNS if column.metric in metrics)


def paper_row(data: str) -> dict[str, float]:
    """The paper's figures for a data set of this name; none for others."""
    return next((dict(row) for name, row in PAPER.items() if data.lower().startswith(name)), {})
