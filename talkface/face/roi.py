"""Square, possibly rotated regions of interest: the input crops of the face networks.

A window is float64 (4,): centre x, centre y and side in pixels of the image, and the angle in radians by which the
window is rotated clockwise (as displayed) against the image. Pixel (0, 0) is the centre of the top-left pixel, as in
OpenCV.
"""

from __future__ import annotations

import cv2
import numpy as np

from talkface.face.detector import Detection

MESH_SIZE = 192  # px, side of the mesh's input
MARGIN = 1.5  # side of the window over the longer side of the face's box, as MediaPipe's mesh was trained
MAX_SUPERSAMPLING = 8  # samples per output pixel and axis when a large window is shrunk
# The mesh is exact only while the face stays near the middle of its window, upright and at its usual size.
MAX_SHIFT = 0.06  # of the window's side
MAX_LOG_SCALE = 0.12
MAX_ROTATION = 7.0  # degrees


def window_from_box(box: np.ndarray, angle: float = 0.0) -> np.ndarray:
    """Return the mesh's window for a face in `box` (x, y, width, height)."""
    x, y, width, height = box
    return np.array((x + width / 2, y + height / 2, MARGIN * max(width, height), angle))


def window_from_detection(detection: Detection) -> np.ndarray:
    """Return the mesh's window for a detected face, rotated so that the eyes are level."""
    (left_x, left_y), (right_x, right_y) = detection.key_points[:2]
    return window_from_box(detection.box, np.arctan2(right_y - left_y, right_x - left_x))


def window_from_points(points: np.ndarray) -> np.ndarray:
    """Return the mesh's window for the next frame from the mesh (468, 2) of this frame, with the eyes level."""
    low, high = points.min(0), points.max(0)
    eye_line = points[263] - points[33]
    return window_from_box(np.concatenate((low, high - low)), np.arctan2(eye_line[1], eye_line[0]))


def crop_to_image(window: np.ndarray, size: int) -> np.ndarray:
    """Return the transform (2, 3) from pixels of a crop of `size` x `size` pixels to pixels of the image."""
    x, y, side, angle = window
    scale = side / size
    linear = scale * np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))
    return np.column_stack((linear, np.array((x, y)) - linear.sum(1) * (size / 2)))


def crop(image: np.ndarray, window: np.ndarray, size: int, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
    """Crop a window out of an image as uint8 (size, size, 3).

    A large window is supersampled and averaged, which prevents aliasing. `border` is OpenCV's mode for pixels outside
    the image.
    """
    samples = int(np.clip(round(window[2] / size), 1, MAX_SUPERSAMPLING))
    matrix = crop_to_image(window, size * samples)
    # The mean of a group of samples lies at the group's centre, (samples - 1) / 2 samples after its first one.
    matrix[:, 2] -= matrix[:, :2].sum(1) * (samples - 1) / 2
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    sampled = cv2.warpAffine(image, matrix, (size * samples, size * samples), flags=flags, borderMode=border)
    return sampled if samples == 1 else cv2.resize(sampled, (size, size), interpolation=cv2.INTER_AREA)


def has_drifted(used: np.ndarray, centred: np.ndarray) -> bool:
    """Tell whether the mesh in the window `used` is inexact: the face has moved, grown or turned too far in it.

    Args:
        used: the window that the mesh was computed in.
        centred: the window that has the face in its middle.
    """
    shift = np.hypot(*(centred[:2] - used[:2])) / centred[2]
    log_scale = abs(np.log(used[2] / centred[2]))
    rotation = abs((centred[3] - used[3] + np.pi) % (2 * np.pi) - np.pi)
    return bool(shift > MAX_SHIFT or log_scale > MAX_LOG_SCALE or rotation > np.radians(MAX_ROTATION))
