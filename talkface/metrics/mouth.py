"""What a mouth shows: teeth, darkness and sharpness between the lips, and the kernel distance of mouth crops.

Measured on crops of aligned faces with the real frame's lip points, so that real and generated crops are judged at the
same place. Colours are judged against the same face: its skin around the mouth and its lips.

Shapes: crops are uint8 RGB (H, W, 3); lip points float (40, 2) px of the crop, outer ring first.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
TEETH_LUMA = 0.62  # of the skin's luma; teeth are brighter
DARK_LUMA = 0.3  # of the skin's luma; the dark of an open mouth is below it
REDNESS_MARGIN = 0.02  # above the skin's redness at which a pixel is no tooth
DEGREE = 3  # of the polynomial kernel (Binkowski et al. 2018, "Demystifying MMD GANs")


class Reference(NamedTuple):
    """Colours of one face against which its mouth is judged."""

    skin_luma: float
    lip_redness: float
    skin_redness: float


class MouthContent(NamedTuple):
    """What is between the lips of one frame."""

    teeth: float
    """Share of the pixels that are bright against the skin and less red than the lips."""
    dark: float
    """Share of the pixels under 0.3 of the skin's luma."""
    pixels: int
    """How many pixels lie between the lips."""


def inner_mask(lips: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels between the lips, bool (H, W)."""
    return _polygon(lips[20:], shape) > 0


def reference(crop: np.ndarray, lips: np.ndarray) -> Reference:
    """The colours of skin and lips of a real frame.

    Args:
        crop: uint8 RGB (H, W, 3).
        lips: float (40, 2) px of the crop.
    """
    outer, inner = _polygon(lips[:20], crop.shape), _polygon(lips[20:], crop.shape)
    ring = (cv2.dilate(outer, np.ones((13, 13))) - cv2.dilate(outer, np.ones((5, 5)))) > 0
    lip = (outer > 0) & ~(cv2.dilate(inner, np.ones((3, 3))) > 0)
    luma, redness = _luma_and_redness(crop)
    if not ring.any():
        ring = outer == 0
    lip_redness = float(np.median(redness[lip])) if lip.any() else 0.3
    return Reference(float(np.median(luma[ring])), lip_redness, float(np.median(redness[ring])))


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
    luma, redness = _luma_and_redness(crop)
    between = 0.5 * colours.lip_redness + 0.5 * min(colours.skin_redness, colours.lip_redness)
    least_red = min(between, colours.skin_redness + REDNESS_MARGIN)
    teeth = inside & (luma > TEETH_LUMA * colours.skin_luma) & (redness < least_red)
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


def _polygon(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """uint8 (H, W): 1 inside the closed outline; positions to a sixteenth of a pixel."""
    filled = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(filled, [np.round(points * 16).astype(np.int32)], 1, shift=4)
    return filled


def _luma_and_redness(crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    picture = crop.astype(np.float32)
    luma = picture @ LUMA
    return luma, (picture[..., 0] - picture[..., 1:].mean(-1)) / (luma + 10)
