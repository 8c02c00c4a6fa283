"""Peak signal-to-noise ratio, as it is defined and as this paper's lineage computes it.

Shapes: N frames, H x W pixels. Frames are uint8 RGB (N, H, W, 3); results are float64 (N,), one value per frame.
"""

from __future__ import annotations

import cv2
import numpy as np

PERFECT_DB = 100.0
"""The value of two identical frames, whose ratio is infinite. A single step in one byte of a 256-px frame is 101 dB,
so nothing that differs visibly is cut."""


def psnr(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """PSNR of each frame: 10 log10(255^2 / MSE), the exact mean over all pixels and the three colours.

    Args:
        real: uint8 (N, H, W, 3).
        fake: uint8 (N, H, W, 3).

    Returns:
        float64 (N,) in dB, at most `PERFECT_DB`.

    Raises:
        ValueError: the two differ in shape, or are not uint8 RGB: the data range is never guessed.

    Example:
        >>> grey = np.full((1, 256, 256, 3), 100, np.uint8)
        >>> psnr(grey, grey + 16).round(2).item()
        24.05
    """
    check_pair(real, fake)
    squares = [cv2.norm(a, b, cv2.NORM_L2SQR) for a, b in zip(real, fake, strict=True)]
    return _decibels(np.array(squares) / real[0].size if squares else np.zeros(0))


def psnr_lineage(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """The number that this paper's lineage prints as PSNR, bug for bug (ATVGnet, `evaluation_matrix.py`).

    Grey pictures at 256 px are subtracted and squared **as unsigned bytes**, so that both the difference and its
    square wrap modulo 256. The result is not a PSNR: it hardly falls under 27.5 dB whatever the pictures show, and a
    frame that is 16, 32 or 64 grey levels too bright is perfect. It exists to stand beside the paper's column, and for
    nothing else.

    Args:
        real: uint8 (N, H, W, 3).
        fake: uint8 (N, H, W, 3).

    Returns:
        float64 (N,), 100 for a squared difference of zero.

    Raises:
        ValueError: as `psnr`.
    """
    check_pair(real, fake)
    wrapped = [np.square(_grey_256(a) - _grey_256(b)).mean() for a, b in zip(real, fake, strict=True)]
    return _decibels(np.array(wrapped, np.float64))


def check_pair(real: np.ndarray, fake: np.ndarray) -> None:
    """Both must be uint8 RGB (N, H, W, 3) of one shape; raises ValueError otherwise."""
    if real.shape != fake.shape or real.ndim != 4 or real.shape[3] != 3:
        raise ValueError(f"wanted two arrays (N, H, W, 3) of one shape, got {real.shape} and {fake.shape}")
    if real.dtype != np.uint8 or fake.dtype != np.uint8:
        raise ValueError(f"wanted uint8 pictures, got {real.dtype} and {fake.dtype}")


def _grey_256(frame: np.ndarray) -> np.ndarray:
    if frame.shape[:2] != (256, 256):
        frame = cv2.resize(frame, (256, 256), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)


def _decibels(mean_square: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.minimum(10 * np.log10(255.0**2 / mean_square), PERFECT_DB)
