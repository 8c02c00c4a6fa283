"""The columns of a table of results: how each one is computed from sums over clips, and its definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from talkface.metrics.bootstrap import interval, mean_of_sums
from talkface.metrics.correlation import correlation, opening_std_ratio
from talkface.metrics.sync import peak_correlation, peak_offset

DETECTOR = "MediaPipe's attention face mesh (468 points) in PyTorch, on 256-px aligned frames"

_LMD = (
    "Landmark distance: mean over frames and the 20 mouth points (48 to 67 of 68) of the Euclidean distance between "
    "real and generated, after each face's own mouth centroid is subtracted; scale and rotation are not removed. A "
    "generated frame without a detected face counts as a mouth shrunk to a point. Pixels of the 256-px aligned frame."
)
_SYNC = (
    "Highest Pearson correlation of mouth opening and log speech energy over lags of -15 to +15 frames. The energy is "
    "that of 200 to 2500 Hz, from MFCC, for clips of a data set, and of 200 to 3500 Hz for videos. A running mean over "
    "51 frames is subtracted from both curves. Sums are pooled over clips before the peak is found. Not LSE."
)
DEFINITIONS = {
    "psnr": "PSNR in dB: RGB, data range 255, mean of per-frame values (at most 100), whole aligned frame of 256 px.",
    "psnr_lineage": "The value that the evaluation code of Chen et al. 2019 prints as PSNR: grey, 256 px, differences "
    "and their squares wrap modulo 256. It is not a PSNR. Only this column can be compared with the paper's PSNR.",
    "ssim": "SSIM: 8-bit RGB at 256 px, 7x7 uniform window, K1 0.01, K2 0.03, sample covariance, data range 255; mean "
    "of per-frame values (scikit-image's defaults, as in the evaluation code of Chen et al. 2019).",
    "lmd": _LMD,
    "lmd_128": "lmd in pixels of a 128-px frame: half of lmd.",
    "lmd_iod": "lmd in percent of the distance of the eye centres in the real frame.",
    "mouth_r": "Pearson correlation of the mouth openings of generated and real frames. The opening is the gap of the "
    "inner lips over the eye distance. Each clip's mean is subtracted, and the sums are pooled over clips. No value if "
    "a mouth never moves.",
    "mouth_move": "Mouth-opening standard deviation ratio: the standard deviation of the generated mouth's opening "
    "over that of the real mouth, pooled as mouth_r. 0: the mouth does not move. 1: it moves as much as the real one.",
    "sync": _SYNC,
    "sync_offset": "Lag of the peak of sync: seconds by which the sound lags the picture, in steps of 0.040 s. "
    "Positive: the sound is late. Negative: the mouth is late.",
    "mi": "Jensen-Shannon estimate of the mutual information of frames and speech (paper Eq. 7) by the statistics "
    "network that was trained on real frames, in nats. It is -1.386 if the network cannot recognise a frame's own "
    "sound, and 0 if it always can. Marginal pairs are other moments of the same clip.",
    "mi_real": "mi of the real frames, the same for every row.",
    "mi_auc": "How often the statistics network scores a frame's own sound above that of another moment of the clip, at "
    "least 0.3 s away: 0.5 is chance, 1 always.",
    "mi_auc_real": "mi_auc of the real frames, the same for every row.",
    "cpbd": "CPBD: sharpness of the generated frames alone (Narvekar and Karam 2011), grey at 256 px; 1 is sharp.",
    "cpbd_real": "cpbd of the real frames, the same for every row.",
    "lse_d": "LSE-D: smallest mean distance of SyncNet's embeddings over 31 offsets, with the user's weights; 5 frames "
    "of a 224-px crop at our landmarks (the original uses S3FD's box).",
    "lse_c": "LSE-C: median of the mean distance over the offsets minus the smallest one.",
    "lse_offset": "Offset of the smallest distance in frames of 40 ms, mean over videos. It has SyncNet's sign, the "
    "opposite of sync_offset: positive if the mouth is late, negative if the sound is late.",
}


@dataclass(frozen=True)
class Column:
    """One column of the table."""

    name: str
    metric: str
    """The name in `--metrics` that adds it to the table."""
    sums: str
    """The name of the sums of a clip that it is computed from."""
    score: Callable[[np.ndarray], np.ndarray]
    """Sums over clips (..., K) -> scores (...)."""
    digits: int
    """Decimals in the printed table."""
    better: str
    """"up", "down", or "" if neither is better."""
    landmarks: bool = False
    """Whether it depends on the landmark detector."""

    def pooled(self, clips: np.ndarray, seed: int) -> tuple[float, tuple[float, float]]:
        """The score of all clips, (M, K) sums by clip, and its 95 % interval."""
        return float(self.score(clips.sum(0))), interval(clips, self.score, seed)


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
    Column("sync", "sync", "sync", peak_correlation, 3, "up", True),
    Column("sync_offset", "sync", "sync", peak_offset, 3, "", True),
    Column("mi", "mi", "mi", mean_of_sums, 3, "up"),
    Column("mi_real", "mi", "mi_real", mean_of_sums, 3, ""),
    Column("mi_auc", "mi", "mi_auc", mean_of_sums, 3, "up"),
    Column("mi_auc_real", "mi", "mi_auc_real", mean_of_sums, 3, ""),
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
"""Tables 1 and 2 of the paper, row AMIE (Ours). Its PSNR is `psnr_lineage`, see `talkface.metrics.psnr`."""

PAPER_NOTE = (
    "The row paper is not directly comparable. Paper: trained on all of LRW; dlib's whole-pixel landmarks at a "
    "resolution that it does not state; 8 to 16 frames of a clip in the evaluation code of Chen et al. 2019. Here: all "
    "frames, aligned at 256 px, our detector."
)


def columns_of(metrics: tuple[str, ...]) -> tuple[Column, ...]:
    """The columns of these metrics, in the order of the table."""
    return tuple(column for column in COLUMNS if column.metric in metrics)


def paper_row(data: str) -> dict[str, float]:
    """The paper's figures for a data set whose name begins with lrw or grid; empty for others."""
    return next((dict(row) for name, row in PAPER.items() if data.lower().startswith(name)), {})
