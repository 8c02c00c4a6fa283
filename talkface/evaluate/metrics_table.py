"""The columns of a table of results: how each one is computed from sums over clips, and its definition."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from talkface.evaluate.mouths import halves_kernel_distance, pooled_kernel_distance
from talkface.evaluate.score import ClipScore
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
_OPENING = (
    "The opening is the gap of the inner lips over the eye distance; a generated frame without a detected face counts "
    "as closed."
)
_BETWEEN = (
    "between the real frame's lips, at the same place in both pictures: mean over the judged frames, generated over "
    "real. 1: as much as in reality. "
)
_JUDGED = (
    "Judged is every third of the real frames whose inner lips are more than 2 px apart, without the frame that serves "
    "as the photo."
)
_PHOTO = "Of a data set, the frame that serves as the photo is left out of every row; of videos, every frame counts."
DEFINITIONS = {
    "psnr": "PSNR in dB: RGB, data range 255, mean of per-frame values (at most 100), whole aligned frame of 256 px. "
    f"{_PHOTO}",
    "psnr_lineage": "The value that the evaluation code of Chen et al. 2019 prints as PSNR: grey, 256 px, differences "
    "and their squares wrap modulo 256. It is not a PSNR. The paper does not say how it computes its PSNR; that it is "
    f"on this scale is an inference. No other column can be compared with the paper's PSNR. {_PHOTO}",
    "ssim": "SSIM: 8-bit RGB at 256 px, 7x7 uniform window, K1 0.01, K2 0.03, sample covariance, data range 255; mean "
    "of per-frame values (scikit-image's defaults, as in the evaluation code of Chen et al. 2019). "
    f"{_PHOTO}",
    "lmd": _LMD,
    "lmd_128": "lmd in pixels of a 128-px frame: half of lmd.",
    "lmd_iod": "lmd in percent of the distance of the eye centres in the real frame.",
    "mouth_r": "Pearson correlation of the mouth openings of generated and real frames. The opening is the gap of the "
    "inner lips over the eye distance. Each clip's mean is subtracted, and the sums are pooled over clips. No value if "
    "a mouth never moves.",
    "mouth_move": "Mouth-opening standard deviation ratio: the standard deviation of the generated mouth's opening "
    "over that of the real mouth, pooled as mouth_r. 0: the mouth does not move. 1: it moves as much as the real one.",
    "mouth_open": f"Mean opening of the generated mouth over that of the real one. {_OPENING}",
    "closed": f"Share of generated frames with an opening under 2 % of the eye distance. {_OPENING}",
    "closed_real": "Share of real frames with an opening under 2 % of the eye distance, the same for every row.",
    "mouth_kid": "Kernel distance (unbiased squared MMD, cubic polynomial kernel) of mouth crops of real and generated "
    "frames: crops of 88x64 px at the real frame's lips, VGG-16 (HED) features over the mouth with an edge of 3 px. 0: "
    "the two sets of mouths look alike. The value of real against real, mouth_kid_real, is not subtracted. At most "
    f"3000 frames, evenly spaced over all clips. No interval. {_JUDGED}",
    "mouth_kid_real": "mouth_kid of two random halves (seed {seed}) of the real frames, the same for every row: what "
    "chance gives.",
    "teeth": f"Share of teeth (pixels that are bright against the face's skin and less red than its lips) {_BETWEEN}"
    f"{_JUDGED}",
    "dark": f"Share of dark pixels (under 0.3 of the luma of the face's skin) {_BETWEEN}{_JUDGED}",
    "mouth_sharp": f"Sharpness (mean absolute Laplacian of the grey picture) {_BETWEEN}{_JUDGED}",
    "sync": _SYNC,
    "sync_offset": "Lag of the peak of sync: seconds by which the sound lags the picture, in steps of 0.040 s. "
    "Positive: the sound is late. Negative: the mouth is late.",
    "mi": "Jensen-Shannon estimate of the mutual information of frames and speech (paper Eq. 7) by the statistics "
    "network that was trained on real frames, in nats. It is -1.386 if the network cannot recognise a frame's own "
    "sound, and 0 if it always can. Marginal pairs are other moments of the same clip.",
    "mi_real": "mi of the real frames, the same for every row.",
    "mi_auc": "How often the statistics network scores a frame's own sound above that of another moment of the clip, "
    "at least 0.3 s away: 0.5 is chance, 1 always.",
    "mi_auc_real": "mi_auc of the real frames, the same for every row.",
    "cpbd": "CPBD: sharpness of the generated frames alone (Narvekar and Karam 2011), grey at 256 px; 1 is sharp.",
    "cpbd_real": "cpbd of the real frames, the same for every row.",
    "blinks": "Blinks per minute: how often the gap of the lids falls under 0.6 of its usual value (70th percentile "
    "within 1.5 s) and is above 0.75 of it again within 0.6 s. From the mesh in each frame of the video at 25 fps; "
    "frames without a face do not count.",
    "blinks_real": "blinks of the real video.",
    "head_speed": "Mean speed at which the head turns, degrees per second: a rigid shape of 24 points of the mesh is "
    "fitted to each frame (scaled orthography), and the rotations are smoothed over time (Gaussian, 0.12 s). A still "
    "photo whose lips move measures about 1.5, because landmarks jitter.",
    "head_speed_real": "head_speed of the real video.",
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
    count: int | None = None
    """Which of the sums is the number of frames that it is computed from; None: all frames of the clips."""

    def of_clip(self, score: ClipScore) -> float:
        """The score of one clip; NaN without its sums."""
        return float(self.score(score.sums[self.sums])) if self.sums in score.sums else math.nan

    def pooled(self, scores: Sequence[ClipScore], seed: int) -> tuple[float, tuple[float, float]] | None:
        """The score of all clips and its 95 % interval; None if no clip has its sums."""
        clips = [score.sums[self.sums] for score in scores if self.sums in score.sums]
        if not clips:
            return None
        sums = np.stack(clips)
        return float(self.score(sums.sum(0))), interval(sums, self.score, seed)

    def frames(self, scores: Sequence[ClipScore]) -> int:
        """How many frames of these clips it is computed from."""
        if self.count is None:
            return sum(score.frames for score in scores)
        return round(sum(score.sums[self.sums][self.count] for score in scores if self.sums in score.sums))


@dataclass(frozen=True)
class KernelColumn(Column):
    """A kernel distance of the features of all clips, without a value for one clip and without an interval.

    Its sums only count frames.
    """

    def of_clip(self, score: ClipScore) -> float:
        """NaN: one clip has too few features."""
        return math.nan

    def pooled(self, scores: Sequence[ClipScore], seed: int) -> tuple[float, tuple[float, float]] | None:
        """The distance over all clips; None if no mouth was judged."""
        real, fake = ([score.features[of] for score in scores if score.features] for of in ("real", "fake"))
        if not real:
            return None
        halves = self.name == "mouth_kid_real"
        distance = halves_kernel_distance(real, seed) if halves else pooled_kernel_distance(real, fake)
        return distance, (math.nan, math.nan)


def _half(sums: np.ndarray) -> np.ndarray:
    return mean_of_sums(sums) / 2


def _share_of(part: int, whole: int) -> Callable[[np.ndarray], np.ndarray]:
    """A score that is one of the sums over another; NaN where that is 0."""
    return lambda sums: mean_of_sums(sums[..., [part, whole]])


COLUMNS = (
    Column("psnr", "psnr", "psnr", mean_of_sums, 2, "up", count=1),
    Column("psnr_lineage", "psnr_lineage", "psnr_lineage", mean_of_sums, 2, "up", count=1),
    Column("ssim", "ssim", "ssim", mean_of_sums, 4, "up", count=1),
    Column("lmd", "lmd", "lmd", mean_of_sums, 3, "down", True),
    Column("lmd_128", "lmd", "lmd", _half, 3, "down", True),
    Column("lmd_iod", "lmd", "lmd_iod", mean_of_sums, 2, "down", True),
    Column("mouth_r", "mouth_r", "mouth", correlation, 3, "up", True),
    Column("mouth_move", "mouth_r", "mouth", opening_std_ratio, 2, "", True),
    Column("mouth_open", "opening", "opening", _share_of(3, 1), 2, "", True),
    Column("closed", "opening", "opening", _share_of(4, 0), 3, "", True),
    Column("closed_real", "opening", "opening", _share_of(2, 0), 3, "", True),
    KernelColumn("mouth_kid", "mouth", "mouth_content", np.asarray, 2, "down", True, 0),
    KernelColumn("mouth_kid_real", "mouth", "mouth_content", np.asarray, 2, "", True, 0),
    Column("teeth", "mouth", "mouth_content", _share_of(4, 1), 2, "", True, 0),
    Column("dark", "mouth", "mouth_content", _share_of(5, 2), 2, "", True, 0),
    Column("mouth_sharp", "mouth", "mouth_content", _share_of(6, 3), 2, "", True, 0),
    Column("sync", "sync", "sync", peak_correlation, 3, "up", True),
    Column("sync_offset", "sync", "sync", peak_offset, 3, "", True),
    Column("mi", "mi", "mi", mean_of_sums, 3, "up"),
    Column("mi_real", "mi", "mi_real", mean_of_sums, 3, ""),
    Column("mi_auc", "mi", "mi_auc", mean_of_sums, 3, "up"),
    Column("mi_auc_real", "mi", "mi_auc_real", mean_of_sums, 3, ""),
    Column("cpbd", "cpbd", "cpbd", mean_of_sums, 3, "up"),
    Column("cpbd_real", "cpbd", "cpbd_real", mean_of_sums, 3, ""),
    Column("blinks", "life", "blinks", mean_of_sums, 1, ""),
    Column("blinks_real", "life", "blinks_real", mean_of_sums, 1, ""),
    Column("head_speed", "life", "head_speed", mean_of_sums, 2, ""),
    Column("head_speed_real", "life", "head_speed_real", mean_of_sums, 2, ""),
    Column("lse_d", "lse", "lse_d", mean_of_sums, 3, "down"),
    Column("lse_c", "lse", "lse_c", mean_of_sums, 3, "up"),
    Column("lse_offset", "lse", "lse_offset", mean_of_sums, 1, ""),
)

PAPER = {
    "lrw": {"psnr_lineage": 32.08, "ssim": 0.92, "lmd": 1.21},
    "grid": {"psnr_lineage": 31.01, "ssim": 0.97, "lmd": 0.78},
}
"""Tables 1 and 2 of the paper, row AMIE (Ours). That its PSNR is `psnr_lineage` is an inference, see
`talkface.metrics.psnr`."""

PAPER_NOTE = (
    "The row paper is not directly comparable. Paper: trained on all of LRW; dlib's whole-pixel landmarks at a "
    "resolution that it does not state; 8 to 16 frames of a clip in the evaluation code of Chen et al. 2019. Here: all "
    "frames, aligned at 256 px, our detector. That its PSNR is on the scale of psnr_lineage is an inference."
)


def columns_of(metrics: tuple[str, ...]) -> tuple[Column, ...]:
    """The columns of these metrics, in the order of the table."""
    return tuple(column for column in COLUMNS if column.metric in metrics)


def paper_row(data: str) -> dict[str, float]:
    """The paper's figures for a data set whose name begins with lrw or grid; empty for others."""
    return next((dict(row) for name, row in PAPER.items() if data.lower().startswith(name)), {})
