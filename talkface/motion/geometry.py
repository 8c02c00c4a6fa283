"""The face's own axes in a photo, and the points of its mesh that motion needs.

"Left" and "right" are those of the image. Coordinates are pixels of the photo, (0, 0) the centre of the first pixel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from talkface.face.outline import OVAL

EARS = (234, 454)  # outline points beside the ears, from left to right
FOREHEAD, CHIN = 10, 152

# Margins of the lids and lower edges of the brows, from the left corner of each eye to the right one.
UPPER_LIDS = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (362, 398, 384, 385, 386, 387, 388, 466, 263))
LOWER_LIDS = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (362, 382, 381, 380, 374, 373, 390, 249, 263))
BROWS_LOWER = ((46, 53, 52, 65, 55), (285, 295, 282, 283, 276))
BROWS_UPPER = ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300))


class Axes(NamedTuple):
    """A face's own coordinates: u to the right along the line of its eyes, v down, both in px of the photo."""

    origin: np.ndarray
    """float64 (2,), px of the photo."""
    along: np.ndarray
    """float64 (2,), unit vector of u."""

    @property
    def across(self) -> np.ndarray:
        """float64 (2,), unit vector of v."""
        return np.array((-self.along[1], self.along[0]))

    def of(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """u and v, each (...), of points (..., 2) in px of the photo."""
        moved = points - self.origin.astype(points.dtype)
        return moved @ self.along.astype(points.dtype), moved @ self.across.astype(points.dtype)


def axes_between(left: np.ndarray, right: np.ndarray) -> Axes:
    """Axes whose origin lies midway between two points (2,), and whose u points from the first to the second."""
    along = (right - left).astype(np.float64)
    return Axes((left + right).astype(np.float64) / 2, along / np.linalg.norm(along))


def face_axes(mesh: np.ndarray) -> Axes:
    """Axes of a face with their origin in the middle between forehead and chin.

    Args:
        mesh: float32 (468, 3), px.
    """
    eyes = axes_between(mesh[33, :2], mesh[263, :2])
    return eyes._replace(origin=mesh[[FOREHEAD, CHIN], :2].mean(0).astype(np.float64))


def head_size(mesh: np.ndarray) -> float:
    """Distance between the ears in px, in all three dimensions: it does not shrink when the head is turned."""
    return float(np.linalg.norm(mesh[EARS[1]] - mesh[EARS[0]]))


def face_width(mesh: np.ndarray) -> float:
    """Width of the face's outline along the line of its eyes, px of the photo."""
    u, _ = face_axes(mesh).of(mesh[list(OVAL), :2])
    return float(np.ptp(u))


def smoothstep(x: np.ndarray | float) -> np.ndarray:
    """0 for x <= 0, 1 for x >= 1, and smooth between them."""
    t = np.clip(x, 0, 1)
    return t * t * (3 - 2 * t)
