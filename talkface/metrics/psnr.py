"""Peak signal-to-noise ratio: as defined, and as computed by the evaluation code of Chen et al. 2019 (ATVGnet).

Shapes: N frames, H x W pixels. Frames are uint8 RGB (N, H, W, 3); results are float64 (N,), one value per frame.
"""

from __future__ import annotations

import cv2
import numpy as np

PERFECT_DB = 100.0
"""The value for two identical frames, whose ratio is infinite. A difference of 1 in one byte of a 256-px frame gives
101 dB, so the limit does not change the value of frames that differ visibly."""


def psnr(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """PSNR of each frame: 10 log10(255^2 / MSE), with the exact mean over all pixels and the three colours.

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
    """The value that ATVGnet's code (Chen et al. 2019, `evaluation_matrix.py`) prints as PSNR, with its error.

    Grey pictures at 256 px are subtracted and squared **as unsigned bytes**, so both the difference and its square wrap
    modulo 256. The result is not a PSNR: it is rarely below 27.5 dB, whatever the pictures show, and a frame that is
    16, 32 or 64 grey levels too bright gets the perfect value. Its only use is the comparison with the paper's figures.

    Args:
        real: uint8 (N, H, W, 3).
        fake: uint8 (N, H, W, 3).

    Returns:
        float64 (N,) in dB, at most `PERFECT_DB`.

    Raises:
        ValueError: as `psnr`.
    """
    check_pair(real, fake)
    wrapped = [np.square(_grey_256(a) - _grey_256(b)).mean() for a, b in zip(real, fake, strict=True)]
    return _decibels(np.array(wrapped, np.float64))


def check_pair(real: np.ndarray, fake: np.ndarray) -> None:
    """Check that both are uint8 RGB (N, H, W, 3) of one shape.

    Raises:
        ValueError: they are not.
    """
    if real.shape != fake.shape or real.ndim != 4 or real.shape[3] != 3:
        raise ValueError(f"expected two arrays (N, H, W, 3) of one shape, got {real.shape} and {fake.shape}")
    if real.dtype != np.uint8 or fake.dtype != np.uint8:
        raise ValueError(f"expected uint8 pictures, got {real.dtype} and {fake.dtype}")


def _grey_256(frame: np.ndarray) -> np.ndarray:
    if frame.shape[:2] != (256, 256):
        frame = cv2.resize(frame, (256, 256), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)


def _decibels(mean_square: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.minimum(10 * np.log10(255.0**2 / mean_square), PERFECT_DB)
