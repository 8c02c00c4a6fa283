"""Aligned faces: 256x256, upright, always in the same place.

An alignment M is float64 (2, 3), a similarity transform from pixels of the picture to pixels of the aligned frame; a
pixel's coordinates are those of its centre, so (0, 0) is the middle of the top-left pixel. Pasting back inverts it.
"""

from __future__ import annotations

import cv2
import numpy as np

from talkface.config import SIZE
from talkface.face import landmarks

SMOOTHED_OVER = 5  # frames
FINEST = 16  # samples to each side of a pixel, at most, when a large face is shrunk

# Where the stable points (landmarks.STABLE) lie in an aligned frame: the mean of 78 frontal frames of 29 speakers with
# level eyes, made symmetric. The eye centres are 70 px apart around (128, 105).
TEMPLATE = np.array(
    [
        *((77.4, 104.0), (108.6, 106.0), (147.4, 106.0), (178.6, 104.0)),
        *((128.0, 99.7), (128.0, 108.8), (128.0, 117.2), (128.0, 125.1), (128.0, 133.7), (128.0, 143.9)),
        *((128.0, 151.8), (128.0, 155.8), (128.0, 157.4), (128.0, 159.1), (108.8, 156.9), (147.2, 156.9)),
    ]
)
# The same for the 68 points of iBUG (landmarks.STABLE_68).
TEMPLATE_68 = np.array(
    [
        *((77.4, 104.0), (108.6, 106.0), (147.4, 106.0), (178.6, 104.0)),
        *((128.0, 99.7), (128.0, 117.2), (128.0, 133.7), (128.0, 143.9)),
        *((113.5, 155.0), (119.3, 158.8), (128.0, 159.1), (136.7, 158.8), (142.5, 155.0)),
    ]
)
EYE_WEIGHT = 3.0  # of an eye corner, where a point of the nose has 1: eyes and nose count about the same together


def fit_transform(points: np.ndarray) -> np.ndarray:
    """The alignment of a face: the similarity that brings its stable points closest to the template (least squares).

    Args:
        points: (468, 2) or (68, 2), pixels of the picture.

    Returns:
        float64 (2, 3), pixels of the picture to pixels of the aligned frame.
    """
    source = landmarks.stable(points).astype(np.float64)
    target = TEMPLATE if len(source) == len(TEMPLATE) else TEMPLATE_68
    weights = np.ones(len(source))
    weights[:4] = EYE_WEIGHT
    weights /= weights.sum()
    source_mean, target_mean = weights @ source, weights @ target
    # As complex numbers a similarity is one multiplication, and its least squares fit one quotient.
    moved, wanted = (source - source_mean) @ (1, 1j), (target - target_mean) @ (1, 1j)
    factor = (weights * wanted * moved.conj()).sum() / (weights * abs(moved) ** 2).sum()
    linear = np.array(((factor.real, -factor.imag), (factor.imag, factor.real)))
    return np.column_stack((linear, target_mean - linear @ source_mean))


def smooth_transforms(transforms: np.ndarray) -> np.ndarray:
    """Alignments of consecutive frames, each the mean of five around it, so that crops do not tremble.

    At both ends the mean is over as many frames as there are on both sides, so that nothing lags.

    Args:
        transforms: float64 (T, 2, 3).

    Returns:
        float64 (T, 2, 3).
    """
    count = len(transforms)
    sums = np.concatenate((np.zeros((1, 2, 3)), np.cumsum(transforms, axis=0, dtype=np.float64)))
    index = np.arange(count)
    reach = np.minimum(SMOOTHED_OVER // 2, np.minimum(index, count - 1 - index))
    return (sums[index + reach + 1] - sums[index - reach]) / (2 * reach + 1)[:, None, None]


def warp(image: np.ndarray, M: np.ndarray, size: int = SIZE) -> np.ndarray:
    """The aligned face, uint8 (size, size, 3); `size` other than 256 shows the same area finer or coarser.

    A face that is larger in the picture than in the aligned frame is averaged down, so that fine detail does not alias;
    a smaller one is interpolated (bicubic). Beyond the picture's edge its last pixels go on.
    """
    M = resized(M, size / SIZE)
    fine = int(np.clip(np.ceil(1 / scale(M) - 0.01), 1, FINEST))
    flags = cv2.INTER_CUBIC if scale(M) > 1 else cv2.INTER_LINEAR
    sampled = cv2.warpAffine(
        image, resized(M, fine), (size * fine, size * fine), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return sampled if fine == 1 else cv2.resize(sampled, (size, size), interpolation=cv2.INTER_AREA)


def resized(M: np.ndarray, factor: float) -> np.ndarray:
    """The alignment to a frame of `factor` times as many pixels to each side, its outer edges in the same place."""
    finer = M * factor
    finer[:, 2] += (factor - 1) / 2
    return finer


def scale(M: np.ndarray) -> float:
    """Aligned pixels per pixel of the picture."""
    return float(np.hypot(M[0, 0], M[1, 0]))


def invert(M: np.ndarray) -> np.ndarray:
    """The transform back, float64 (2, 3): from pixels of the aligned frame to pixels of the picture."""
    linear = np.linalg.inv(M[:, :2])
    return np.column_stack((linear, -linear @ M[:, 2]))


def apply(M: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 2), in their dtype, through one transform (2, 3) or as many as there are leading dimensions."""
    linear, shift = M[..., :2], M[..., None, :, 2]
    return (points @ np.swapaxes(linear, -1, -2) + shift).astype(points.dtype)
