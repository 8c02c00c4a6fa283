"""Square, possibly turned windows on a picture: what the face networks look at.

A window is float64 (4,): centre x, centre y, side, all in pixels, and the angle in radians by which it is turned
clockwise (as seen) against the picture. Pixel (0, 0) is the centre of the top-left pixel, as in OpenCV.
"""

from __future__ import annotations

import cv2
import numpy as np

from talkface.face.detector import Detection

MARGIN = 1.5  # side of the window over the longer side of the face's box, as MediaPipe's mesh was trained
FINEST = 8  # samples to each side of a pixel, at most, when a window is shrunk


def window_of_box(box: np.ndarray, angle: float = 0.0) -> np.ndarray:
    """The window for the mesh of a face in `box` (x, y, width, height)."""
    x, y, width, height = box
    return np.array((x + width / 2, y + height / 2, MARGIN * max(width, height), angle))


def window_of_detection(found: Detection) -> np.ndarray:
    """The window for the mesh of a detected face, its eyes level."""
    (left_x, left_y), (right_x, right_y) = found.key_points[:2]
    return window_of_box(found.box, np.arctan2(right_y - left_y, right_x - left_x))


def window_of_points(points: np.ndarray) -> np.ndarray:
    """The window for the mesh in the next frame, from the mesh (468, 2) in this one, its eyes level."""
    low, high = points.min(0), points.max(0)
    along = points[263] - points[33]
    return window_of_box(np.concatenate((low, high - low)), np.arctan2(along[1], along[0]))


def to_picture(window: np.ndarray, size: int) -> np.ndarray:
    """(2, 3): pixels of a cut of `size` pixels to pixels of the picture."""
    x, y, side, angle = window
    scale = side / size
    linear = scale * np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))
    return np.column_stack((linear, np.array((x, y)) - linear.sum(1) * (size / 2)))


def cut(picture: np.ndarray, window: np.ndarray, size: int, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
    """The window as uint8 (size, size, 3). Large windows are averaged down, so that fine detail does not alias."""
    fine = int(np.clip(round(window[2] / size), 1, FINEST))
    matrix = to_picture(window, size * fine)
    matrix[:, 2] -= matrix[:, :2].sum(1) * (fine - 1) / 2  # averaging puts the centre of `fine` samples at each pixel
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    sampled = cv2.warpAffine(picture, matrix, (size * fine, size * fine), flags=flags, borderMode=border)
    return sampled if fine == 1 else cv2.resize(sampled, (size, size), interpolation=cv2.INTER_AREA)


def drifted(used: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether the face has moved, grown or turned too far in the window `used` for the mesh to be exact."""
    moved = np.hypot(*(wanted[:2] - used[:2])) / wanted[2]
    grown = abs(np.log(used[2] / wanted[2]))
    turned = abs((wanted[3] - used[3] + np.pi) % (2 * np.pi) - np.pi)
    return bool(moved > 0.06 or grown > 0.12 or turned > np.radians(7))
