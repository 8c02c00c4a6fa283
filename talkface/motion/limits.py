"""How much the head of a photo may move: less near the photo's edges, when it is turned, and when it is covered."""

from __future__ import annotations

import cv2
import numpy as np

from talkface.face.outline import OVAL
from talkface.motion.geometry import head_size, smoothstep

FREE_EDGE = (
    0.2  # of the head's size between the face's outline and the photo's edges, from which on nothing is held back
)
FREE_YAW, FULL_YAW = 15.0, 45.0  # degrees: up to the first the head moves freely, from the second on not at all
# Share of the points of SKIN with another colour than the others: below the first the head moves freely.
FREE_COVER, FULL_COVER = 0.25, 0.6
SKIN = (151, 9, 108, 337, 69, 299, 50, 205, 36, 280, 425, 266, 117, 346, 187, 411, 4, 5, 195, 230, 450)
MIN_LIGHTNESS = 0.3  # of the median skin; darker is not skin
MAX_COLOUR_SHIFT = 24.0  # in OpenCV's 8-bit Lab; another colour is not skin


def allowance(photo: np.ndarray, mesh: np.ndarray, yaw: float) -> float:
    """Factor on the movement of the head, in [0, 1].

    Args:
        photo: uint8 RGB (H, W, 3).
        mesh: float32 (468, 3), px of the photo.
        yaw: degrees by which the face is turned to the side.
    """
    outline = mesh[list(OVAL), :2]
    height, width = photo.shape[:2]
    to_edge = min(outline.min(), (np.array((width - 1, height - 1)) - outline).min())
    edge = smoothstep(to_edge / (FREE_EDGE * head_size(mesh)))
    turned = 1 - smoothstep((abs(yaw) - FREE_YAW) / (FULL_YAW - FREE_YAW))
    covered = 1 - smoothstep((cover(photo, mesh) - FREE_COVER) / (FULL_COVER - FREE_COVER))
    return float(edge * turned * covered)


def cover(photo: np.ndarray, mesh: np.ndarray) -> float:
    """Share of 21 points of skin that have another colour than most of them, in [0, 1]: glasses, hair, a hand."""
    height, width = photo.shape[:2]
    small = cv2.blur(photo, (max(3, round(0.03 * head_size(mesh))),) * 2)
    places = np.clip(np.round(mesh[list(SKIN), :2]).astype(int), 0, (width - 1, height - 1))
    colours = cv2.cvtColor(small[places[:, 1], places[:, 0]][None], cv2.COLOR_RGB2LAB)[0].astype(np.float64)
    usual = np.median(colours, 0)
    other = (colours[:, 0] < MIN_LIGHTNESS * usual[0]) | (np.hypot(*(colours - usual)[:, 1:].T) > MAX_COLOUR_SHIFT)
    return float(other.mean())
