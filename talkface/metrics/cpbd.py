"""Sharpness without a reference: cumulative probability of blur detection (Narvekar and Karam, IEEE TIP 20(9), 2011).

Papers on talking faces report it for generated frames. It looks at one picture alone, so a sharp but wrong mouth
scores well.
"""

from __future__ import annotations

import cv2
import numpy as np
from skimage.feature import canny

BLOCK = 64  # px, side of a block
EDGE_SHARE = 0.002  # a block with more edge pixels than this share counts
BETA = 3.6
JUST_NOTICEABLE_BLUR = 0.63  # probability of detecting blur at the just-noticeable width
NARROW_CONTRAST = 50  # grey levels: blocks up to this contrast have a just-noticeable width of 5 px, others of 3
MAX_SLOPE = 101  # px, the longest slope that is measured


def cpbd(frames: np.ndarray) -> np.ndarray:
    """The share of edge pixels whose blur is not noticeable, for each frame.

    Args:
        frames: uint8 RGB (N, H, W, 3), sides of at least 64 px.

    Returns:
        float64 (N,) in [0, 1]: 1 is sharp, 0 is blurred or has no edge.
    """
    return np.array([_sharpness(cv2.cvtColor(np.ascontiguousarray(f), cv2.COLOR_RGB2GRAY)) for f in frames])


def _sharpness(grey: np.ndarray) -> float:
    image = grey.astype(np.float64)
    widths, edges = edge_widths(image), canny(image)
    blur: list[np.ndarray] = []
    for top in range(0, image.shape[0] - BLOCK + 1, BLOCK):
        for left in range(0, image.shape[1] - BLOCK + 1, BLOCK):
            block = np.s_[top : top + BLOCK, left : left + BLOCK]
            if edges[block].sum() > EDGE_SHARE * BLOCK**2:
                noticeable = 5 if np.ptp(image[block]) <= NARROW_CONTRAST else 3
                found = widths[block][widths[block] > 0]
                blur.append(1 - np.exp(-((found / noticeable) ** BETA)))
    detected = np.concatenate(blur) if blur else np.zeros(0)
    return float(np.mean(np.round(detected, 2) <= JUST_NOTICEABLE_BLUR)) if detected.size else 0.0


def edge_widths(image: np.ndarray) -> np.ndarray:
    """Widths of vertical edges by Marziliano's method: the length in px of the slope that each edge pixel lies on.

    Args:
        image: float64 (H, W) grey levels.

    Returns:
        float64 (H, W) in px, 0 where there is no edge.
    """
    gradient_y, gradient_x = np.gradient(image)
    angle = 45 * np.round(np.degrees(np.arctan2(gradient_y, gradient_x)) / 45)
    angle[gradient_x == 0] = 0
    rising, falling = angle == 0, np.abs(angle) == 180
    up_right, down_right = _slope_lengths(image), _slope_lengths(-image)
    up_left, down_left = _slope_lengths(-image[:, ::-1])[:, ::-1], _slope_lengths(image[:, ::-1])[:, ::-1]
    # To the left of its pixel, a rising edge falls and a falling edge rises.
    width = np.where(rising, _beside(up_right, 1) + _beside(up_left, -1), 0)
    width = np.where(falling, _beside(down_right, 1) + _beside(down_left, -1), width)
    width[~_thin_vertical_edges(image)] = 0
    width[[0, -1]] = 0
    width[:, [0, -1]] = 0
    return width


def _slope_lengths(image: np.ndarray) -> np.ndarray:
    """For how many px from each pixel to the right the grey level keeps rising, counting the pixel itself."""
    length = np.ones(image.shape)
    rises = image[:, 1:] > image[:, :-1]
    for x in range(image.shape[1] - 2, -1, -1):
        length[:, x] = np.where(rises[:, x], length[:, x + 1] + 1, 1)
    return np.minimum(length, MAX_SLOPE)


def _beside(lengths: np.ndarray, step: int) -> np.ndarray:
    """The value of each pixel's right (1) or left (-1) neighbour."""
    return np.roll(lengths, -step, axis=1)


def _thin_vertical_edges(image: np.ndarray) -> np.ndarray:
    """Sobel edges across columns, above twice the root of the mean strength, thinned to local maxima; bool (H, W)."""
    strength = np.square(cv2.Sobel(image, cv2.CV_64F, 1, 0, ksize=3, scale=1 / 8, borderType=cv2.BORDER_REFLECT))
    strength[strength <= 2 * np.sqrt(strength.mean())] = 0
    padded = np.pad(strength, 1)
    in_row = (strength > padded[1:-1, :-2]) & (strength > padded[1:-1, 2:])
    in_column = (strength > padded[:-2, 1:-1]) & (strength > padded[2:, 1:-1])
    return in_row | in_column
