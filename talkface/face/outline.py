"""The outline of a face: where lips may carry the skin with them, and where collar, hair and background begin."""

from __future__ import annotations

import cv2
import numpy as np

from talkface.config import SIZE

# The outline of the mesh of 468 points, clockwise from the middle of the forehead.
OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
JAW_68 = slice(0, 17)  # of the 68-point scheme; its outline is closed over the forehead by the brows
BROWS_68 = slice(17, 27)
RAMP = 10.0  # px of the aligned face over which the reach rises inside the outline


def reach_map(points: np.ndarray) -> np.ndarray:
    """Where lips may carry the skin: 0 outside the face's outline and on it, 1 from 10 px inside on.

    Args:
        points: (468, 2) or (68, 2), pixels of the aligned face.

    Returns:
        float32 (256, 256) in [0, 1].
    """
    return reach_inside(points[list(OVAL)] if len(points) > 68 else _outline_of_68(points))


def _outline_of_68(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points[JAW_68], points[BROWS_68][::-1]])


def reach_inside(outline: np.ndarray) -> np.ndarray:
    """As `reach_map`, for an outline of N points in their order, (N, 2) px of the aligned face."""
    inside = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(inside, [np.round(outline * 16).astype(np.int32)], 1, shift=4)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - 1
    ramp = np.clip(distance / RAMP, 0, 1)
    return (0.5 - 0.5 * np.cos(np.pi * ramp)).astype(np.float32)
