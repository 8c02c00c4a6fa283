"""Landmark distance of the mouth (Chen et al., "Lip Movements Generation at a Glance", ECCV 2018).

Shapes: N frames; points are float (N, P, 2) in pixels of the aligned face. The points of both faces must come from the
same landmark detector: on the lips, detectors differ from each other by about 1 % of the eye distance.
"""

from __future__ import annotations

import numpy as np

MOUTH_68 = slice(48, 68)
"""The 20 mouth points of the 68-point scheme: outer lip 48 to 59, inner lip 60 to 67."""


def landmark_distance(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """LMD of each frame: mean Euclidean distance of mouth points after each mouth's own centroid is subtracted.

    Scale and rotation are not removed. The mean is over the points, as in the definition; the code that Chen et al.
    released lacks this division, but their published figures have it.

    Args:
        real: (N, 20, 2) mouth points of the real frames.
        fake: (N, 20, 2) of the generated ones.

    Returns:
        float64 (N,) in the unit of the points. It is proportional to the resolution: at 256 px twice that at 128 px.

    Raises:
        ValueError: the two differ in shape, or are not (N, P, 2).

    Example:
        >>> square = np.array([[[0, 0], [2, 0], [2, 2], [0, 2]]])
        >>> landmark_distance(square, 2 * square).round(4).item()  # each corner moves by sqrt(2)
        1.4142
    """
    if real.shape != fake.shape or real.ndim != 3 or real.shape[2] != 2:
        raise ValueError(f"expected two arrays (N, P, 2) of one shape, got {real.shape} and {fake.shape}")
    return np.linalg.norm(_centred(real) - _centred(fake), axis=2).mean(axis=1)


def collapsed_mouth_distance(real: np.ndarray) -> np.ndarray:
    """The `landmark_distance` of a mouth shrunk to a point: the penalty for a frame in which no face is found.

    A generated frame without a face is a failure. If it were left out, the worst frames of a system would improve its
    score.

    Args:
        real: (N, P, 2) mouth points of the real frames.

    Returns:
        float64 (N,) in the unit of the points.
    """
    return np.linalg.norm(_centred(real), axis=2).mean(axis=1)


def _centred(points: np.ndarray) -> np.ndarray:
    points = points.astype(np.float64)
    return points - points.mean(axis=1, keepdims=True)
