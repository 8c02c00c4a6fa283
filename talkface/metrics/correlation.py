"""Pearson's correlation from sums that can be added over clips: `mouth_r`, and what `sync` is made of.

Shapes: N frames; a curve is float (N,), one value per video frame.
"""

from __future__ import annotations

import numpy as np


def correlation_sums(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """What one clip adds to the pooled correlation of two curves, each clip's mean taken off.

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
    """Pearson's r from `correlation_sums`, (..., 3) -> (...,); NaN where a curve never moves, as a still photo's."""
    return pearson(sums[..., 0], sums[..., 1], sums[..., 2])


def opening_std_ratio(sums: np.ndarray) -> np.ndarray:
    """How much the second curve moves beside the first, (..., 3) -> (...,): ratio of their standard deviations.

    Correlation does not tell a mouth that follows timidly, or trembles, from one that speaks; this does.
    """
    still = sums[..., 1] < 1e-12
    return np.where(still, np.nan, np.sqrt(sums[..., 2] / np.where(still, 1.0, sums[..., 1])))


def pearson(xy: np.ndarray, xx: np.ndarray, yy: np.ndarray) -> np.ndarray:
    """xy / sqrt(xx yy), NaN where either curve is constant up to rounding."""
    constant = (xx < 1e-12) | (yy < 1e-12)
    return np.where(constant, np.nan, xy / np.sqrt(np.where(constant, 1.0, xx * yy)))
