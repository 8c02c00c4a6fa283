"""What a mouth shows: teeth, darkness and sharpness between the lips, and the kernel distance of mouth crops.

Measured on crops of aligned faces with the real frame's lip points, so that real and generated crops are judged at the
same place. Colours are judged against the same face: its skin around the mouth and its lips.

Shapes: crops are uint8 RGB (H, W, 3); lip points float (40, 2) px of the crop, outer ring first.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from talkface.face.mouth_colours import Reference, inner_mask, luma_and_redness, tooth_mask

DARK_LUMA = 0.3  # of the skin's luma; the dark of an open mouth is below it
DEGREE = 3  # of the polynomial kernel (Binkowski et al. 2018, "Demystifying MMD GANs")


class MouthContent(NamedTuple):
    """What is between the lips of one frame."""

    teeth: float
    """Share of the pixels that are bright against the skin and less red than the lips."""
    dark: float
    """Share of the pixels under 0.3 of the skin's luma."""
    pixels: int
    """How many pixels lie between the lips."""


def mouth_content(crop: np.ndarray, lips: np.ndarray, colours: Reference) -> MouthContent:
    """Teeth and darkness between the lips of a real or generated crop.

    Args:
        crop: uint8 RGB (H, W, 3).
        lips: float (40, 2) px of the crop, of the real frame.
        colours: of the real frame.
    """
    inside = inner_mask(lips, crop.shape)
    count = int(inside.sum())
    if not count:
        return MouthContent(0.0, 0.0, 0)
    luma, redness = luma_and_redness(crop)
    teeth = tooth_mask(luma, redness, inside, colours)
    dark = inside & (luma < DARK_LUMA * colours.skin_luma)
    return MouthContent(teeth.sum() / count, dark.sum() / count, count)


def sharpness(crop: np.ndarray, inside: np.ndarray) -> float:
    """Mean absolute Laplacian of the grey picture inside the mouth.

    Args:
        crop: uint8 RGB (H, W, 3).
        inside: bool (H, W).
    """
    if not inside.any():
        return 0.0
    grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY).astype(np.float64)
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_64F))[inside].mean())


def kernel_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy of two sets of features with the kernel (x . y / D + 1)^3.

    Features are first divided by their standard deviation over both sets.

    Args:
        real: float (N, D) features of real mouth crops.
        fake: float (M, D) of generated ones.

    Returns:
        About 0 for two draws from one distribution; it may be slightly negative. NaN for fewer than two of either.
    """
    if len(real) < 2 or len(fake) < 2:
        return float("nan")
    scale = np.concatenate([real, fake]).std(0) + 1e-3
    a, b = (np.asarray(x, np.float64) / scale for x in (real, fake))
    within_a, within_b, across = (_kernel(x, y) for x, y in ((a, a), (b, b), (a, b)))
    n, m = len(a), len(b)
    return float(
        (within_a.sum() - np.trace(within_a)) / (n * (n - 1))
        + (within_b.sum() - np.trace(within_b)) / (m * (m - 1))
        - 2 * across.mean()
    )


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** DEGREE
