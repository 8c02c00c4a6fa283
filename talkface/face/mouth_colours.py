"""The colours of a mouth against those of its own face: which pixels between the lips are teeth.

Shapes: pictures are uint8 RGB (H, W, 3); lip points float (40, 2) px of the picture, outer ring first.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
TEETH_LUMA = 0.62  # of the skin's luma; teeth are brighter
REDNESS_MARGIN = 0.02  # above the skin's redness at which a pixel is no tooth


class Reference(NamedTuple):
    """Colours of one face against which its mouth is judged."""

    skin_luma: float
    lip_redness: float
    skin_redness: float

    @property
    def tooth_redness(self) -> float:
        """Redness below which a pixel may be a tooth."""
        between = 0.5 * self.lip_redness + 0.5 * min(self.skin_redness, self.lip_redness)
        return min(between, self.skin_redness + REDNESS_MARGIN)


def reference(picture: np.ndarray, lips: np.ndarray) -> Reference:
    """The colours of skin and lips of a real frame."""
    outer, inner = polygon(lips[:20], picture.shape), polygon(lips[20:], picture.shape)
    skin = skin_mask(lips, picture.shape)
    lip = (outer > 0) & ~(cv2.dilate(inner, np.ones((3, 3))) > 0)
    luma, redness = luma_and_redness(picture)
    lip_redness = float(np.median(redness[lip])) if lip.any() else 0.3
    return Reference(float(np.median(luma[skin])), lip_redness, float(np.median(redness[skin])))


def skin_mask(lips: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels of skin around the lips, bool (H, W); all but the lips where there is no room for it."""
    outer = polygon(lips[:20], shape)
    ring = (cv2.dilate(outer, np.ones((13, 13))) - cv2.dilate(outer, np.ones((5, 5)))) > 0
    return ring if ring.any() else outer == 0


def inner_mask(lips: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels between the lips, bool (H, W)."""
    return polygon(lips[20:], shape) > 0


def tooth_mask(luma: np.ndarray, redness: np.ndarray, inside: np.ndarray, colours: Reference) -> np.ndarray:
    """Pixels `inside` that are bright against the skin and less red than the lips, bool (H, W).

    Args:
        luma: (H, W), of `luma_and_redness`.
        redness: (H, W), of the same.
        inside: bool (H, W), as of `inner_mask`.
        colours: of the face.
    """
    return inside & (luma > TEETH_LUMA * colours.skin_luma) & (redness < colours.tooth_redness)


def polygon(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """uint8 (H, W): 1 inside the closed outline; positions to a sixteenth of a pixel."""
    filled = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(filled, [np.round(points * 16).astype(np.int32)], 1, shift=4)
    return filled


def luma_and_redness(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 (H, W) each: luma in [0, 255], and how far red exceeds green and blue, relative to the luma."""
    floats = picture.astype(np.float32)
    luma = floats @ LUMA
    return luma, (floats[..., 0] - floats[..., 1:].mean(-1)) / (luma + 10)
