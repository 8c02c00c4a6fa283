"""Landmark indices and measures on landmarks.

Functions accept two schemes and tell them apart by the number of points: the 468 points of MediaPipe's mesh, and the 68
points of iBUG (300-W), which `--landmarks fan` produces. Left and right are those of the image, not of the person.

Shapes: points (..., 468, 2) or (..., 68, 2) in pixels, with any number of leading dimensions.
"""

from __future__ import annotations

import numpy as np

# Outlines of the lips, from the left corner along the lower lip to the right corner and back along the upper lip.
LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
LIPS_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
LIPS = LIPS_OUTER + LIPS_INNER

EYES = (33, 133, 362, 263)  # corners: outer and inner of the left eye, inner and outer of the right
STABLE = (*EYES, 168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 327)  # eye corners and nose, which speech hardly moves

# The 68 points of iBUG: jaw, brows, nose, eyes, outer and inner lips.
FROM_468_TO_68 = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 40, 37, 0, 267, 270, 291, 321, 405, 17, 181, 91),
    *(78, 81, 13, 311, 308, 402, 14, 178),
)
NOSE_BASE_68 = slice(31, 36)
EYES_68 = (36, 39, 42, 45)
STABLE_68 = (*EYES_68, *range(27, 36))

# Outputs of the mesh's region networks in their order. Each ring: its lower half from the left, then its upper half.
LIPS_REGION = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
    *(76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408),
    *(62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407),
)
LEFT_EYE_REGION = (
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    *(130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190),
    *(226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189),
    *(35, 124, 46, 53, 52, 65),
    *(143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193),
)
RIGHT_EYE_REGION = (
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
    *(359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414),
    *(446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413),
    *(265, 353, 276, 283, 282, 295),
    *(372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336, 285, 417),
)


def _lips_from_20() -> np.ndarray:
    """Return (40, 20): weights that interpolate the 40 lip points linearly along the outlines of iBUG's 20 points."""
    weights = np.zeros((40, 20))
    for ring, first, outline in ((LIPS_OUTER, 0, FROM_468_TO_68[48:60]), (LIPS_INNER, 12, FROM_468_TO_68[60:])):
        known = sorted((ring.index(point), first + number) for number, point in enumerate(outline))
        start = 20 * (first > 0)
        for (here, at), (there, to) in zip(known, [*known[1:], (known[0][0] + 20, known[0][1])], strict=True):
            for step in range(here, there):
                share = (step - here) / (there - here)
                weights[start + step % 20, at] += 1 - share
                weights[start + step % 20, to] += share
    return weights


_LIPS_FROM_20 = _lips_from_20()


def to_68(points: np.ndarray) -> np.ndarray:
    """Convert points to iBUG's scheme, (..., 68, 2). Points already in that scheme are returned unchanged."""
    return points if points.shape[-2] == 68 else points[..., FROM_468_TO_68, :]


def lips(points: np.ndarray) -> np.ndarray:
    """Return the lips, (..., 40, 2): the outer, then the inner outline, each 20 points in the order of LIPS_OUTER.

    With 68 points, the points between iBUG's 20 are interpolated.
    """
    if points.shape[-2] == 68:
        return (_LIPS_FROM_20 @ points[..., 48:, :]).astype(points.dtype)
    return points[..., LIPS, :]


def stable(points: np.ndarray) -> np.ndarray:
    """Return the points that speech hardly moves: (..., 16, 2) of the mesh, (..., 13, 2) of 68 points."""
    return points[..., STABLE_68 if points.shape[-2] == 68 else STABLE, :]


def nose_base(points: np.ndarray) -> np.ndarray:
    """Return the base of the nose, the mean of the points 31 to 35 of 68, float32 (..., 2)."""
    return to_68(points)[..., NOSE_BASE_68, :].mean(-2).astype(np.float32)


def eye_centres(points: np.ndarray) -> np.ndarray:
    """Return the centres of the left and the right eye, (..., 2, 2): the mean of each eye's two corners."""
    corners = points[..., EYES_68 if points.shape[-2] == 68 else EYES, :]
    return (corners[..., 0::2, :] + corners[..., 1::2, :]) / 2


def eye_distance(points: np.ndarray) -> np.ndarray:
    """Return the distance between the eye centres in pixels, (...)."""
    centres = eye_centres(points)
    return np.linalg.norm(centres[..., 1, :] - centres[..., 0, :], axis=-1)


def mouth_opening(lips40: np.ndarray, eye_distance: np.ndarray | float) -> np.ndarray:
    """Return the gap between the lips over the eye distance, (...): 0 for a closed mouth, about 0.3 for a wide "ah".

    The gap is the mean over the three middle pairs of the inner outline (82-87, 13-14, 312-317).

    Args:
        lips40: (..., 40, 2) as `lips` returns them.
        eye_distance: in the same pixels, (...) or a scalar.
    """
    bottom, top = lips40[..., (24, 25, 26), :], lips40[..., (36, 35, 34), :]
    return np.linalg.norm(bottom - top, axis=-1).mean(-1) / eye_distance
