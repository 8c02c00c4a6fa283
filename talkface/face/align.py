"""Face alignment: a similarity transform brings every face upright to the same place in a 256x256 image.

An alignment M is a float64 (2, 3) matrix that maps pixels of the image to pixels of the aligned face. Coordinates are
those of pixel centres: (0, 0) is the centre of the top-left pixel. Paste-back uses the inverse of M.
"""

from __future__ import annotations

import cv2
import numpy as np

from talkface.config import ALIGNED_STABLE, ALIGNED_STABLE_68, SIZE
from talkface.face import landmarks

SMOOTHING_FRAMES = 5
MAX_SUPERSAMPLING = 16  # samples per output pixel and axis when a large face is shrunk
EYE_WEIGHT = 3.0  # of an eye corner; a nose point has 1, so that eyes and nose have about the same total weight


def fit_transform(points: np.ndarray) -> np.ndarray:
    """Fit the alignment of a face: the similarity that maps its stable points to the template by least squares.

    Args:
        points: (468, 2) or (68, 2), pixels of the image.

    Returns:
        float64 (2, 3), pixels of the image to pixels of the aligned face.
    """
    source = landmarks.stable(points).astype(np.float64)
    target = np.array(ALIGNED_STABLE if len(source) == len(ALIGNED_STABLE) else ALIGNED_STABLE_68)
    weights = np.ones(len(source))
    weights[:4] = EYE_WEIGHT
    weights /= weights.sum()
    source_mean, target_mean = weights @ source, weights @ target
    # With points as complex numbers a similarity is one multiplication and its least-squares fit is one quotient.
    moved, wanted = (source - source_mean) @ (1, 1j), (target - target_mean) @ (1, 1j)
    factor = (weights * wanted * moved.conj()).sum() / (weights * abs(moved) ** 2).sum()
    linear = np.array(((factor.real, -factor.imag), (factor.imag, factor.real)))
    return np.column_stack((linear, target_mean - linear @ source_mean))


def smooth_transforms(transforms: np.ndarray) -> np.ndarray:
    """Replace the alignment of each frame by the mean over five frames, which removes jitter from the crops.

    The mean is always centred: near both ends it covers fewer frames, so that the result does not lag.

    Args:
        transforms: float64 (T, 2, 3), the alignments of consecutive frames.

    Returns:
        float64 (T, 2, 3).
    """
    count = len(transforms)
    sums = np.concatenate((np.zeros((1, 2, 3)), np.cumsum(transforms, axis=0, dtype=np.float64)))
    index = np.arange(count)
    reach = np.minimum(SMOOTHING_FRAMES // 2, np.minimum(index, count - 1 - index))
    return (sums[index + reach + 1] - sums[index - reach]) / (2 * reach + 1)[:, None, None]


def warp(image: np.ndarray, M: np.ndarray, size: int = SIZE) -> np.ndarray:
    """Warp an image to the aligned face.

    A face larger than in the aligned image is supersampled and averaged, which prevents aliasing; a smaller face is
    interpolated (bicubic). Beyond the edge of the image its last pixels are repeated.

    Args:
        image: uint8 (H, W, 3).
        M: float64 (2, 3), pixels of the image to pixels of the aligned face at 256x256.
        size: side of the result in px; it always covers the same area of the face.

    Returns:
        uint8 (size, size, 3).
    """
    M = resized(M, size / SIZE)
    samples = int(np.clip(np.ceil(1 / scale(M) - 0.01), 1, MAX_SUPERSAMPLING))
    flags = cv2.INTER_CUBIC if scale(M) > 1 else cv2.INTER_LINEAR
    sampled = cv2.warpAffine(
        image, resized(M, samples), (size * samples, size * samples), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return sampled if samples == 1 else cv2.resize(sampled, (size, size), interpolation=cv2.INTER_AREA)


def resized(M: np.ndarray, factor: float) -> np.ndarray:
    """Return the alignment to an aligned face with `factor` times as many pixels per side; its outer edges stay."""
    finer = M * factor
    finer[:, 2] += (factor - 1) / 2
    return finer


def scale(M: np.ndarray) -> float:
    """Return the scale of a similarity: pixels of the aligned face per pixel of the image."""
    return float(np.hypot(M[0, 0], M[1, 0]))


def invert(M: np.ndarray) -> np.ndarray:
    """Return the inverse transform, float64 (2, 3): pixels of the aligned face to pixels of the image."""
    linear = np.linalg.inv(M[:, :2])
    return np.column_stack((linear, -linear @ M[:, 2]))


def apply(M: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Transform points.

    Args:
        M: (2, 3), or (..., 2, 3) with the leading dimensions of the points.
        points: (..., N, 2).

    Returns:
        (..., N, 2) in the dtype of `points`.
    """
    linear, shift = M[..., :2], M[..., None, :, 2]
    return (points @ np.swapaxes(linear, -1, -2) + shift).astype(points.dtype)
