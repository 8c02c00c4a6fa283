"""Pearson's correlation from sums that can be added over clips, for `mouth_r` and `sync`.

Shapes: N frames; a curve is float (N,), one value per video frame.
"""

from __future__ import annotations

import numpy as np


def correlation_sums(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """The sums that one clip adds to the pooled correlation of two curves; each clip's mean is subtracted first.

    Args:
        real: (N,) mouth opening of the real clip.
        fake: (N,) of the generated one.

    Returns:
        float64 (3,): sum of x y, of x^2 and of y^2. Sums of several clips may be added.
    """
    x = real.astype(np.float64) - real.mean()
    y = fake.astype(np.float64) - fake.mean()
    return np.array([x @ y, x @ x, y @ y])


def correlation(sums: np.ndarray) -> np.ndarray:
    """Pearson's r from `correlation_sums`, (..., 3) -> (...,); NaN where a curve is constant, as of a static photo."""
    return pearson(sums[..., 0], sums[..., 1], sums[..., 2])


def opening_std_ratio(sums: np.ndarray) -> np.ndarray:
    """Ratio of the standard deviations of the second and the first curve of `correlation_sums`, (..., 3) -> (...,).

    It shows movements that are too small or too large, which the correlation does not show. NaN where the first curve
    is constant.
    """
    constant = sums[..., 1] < 1e-12
    return np.where(constant, np.nan, np.sqrt(sums[..., 2] / np.where(constant, 1.0, sums[..., 1])))


def pearson(xy: np.ndarray, xx: np.ndarray, yy: np.ndarray) -> np.ndarray:
    """xy / sqrt(xx yy), NaN where either curve is constant up to rounding."""
    constant = (xx < 1e-12) | (yy < 1e-12)
    return np.where(constant, np.nan, xy / np.sqrt(np.where(constant, 1.0, xx * yy)))
