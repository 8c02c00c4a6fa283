"""Which lip points move which lip, and how much each point counts in the field that carries the lip, in numpy alone.

Points are those of `talkface.face.landmarks.LIPS`, in px. `LipWarp` computes the fields; ONNX has no operation that
solves equations, so its graph gets the weights from here.
"""

from __future__ import annotations

import numpy as np

INNER = 20  # where the inner outline begins
LOWER = (*range(11), *range(INNER, INNER + 11))
UPPER = (0, *range(10, 20), INNER, *range(INNER + 10, INNER + 20))
REACH = 16.0  # px, standard deviation of a point's kernel
RIDGE = 0.05  # share of a point's displacement that is given up for a smooth field

_LIPS = np.array([UPPER, LOWER])


def field_weights(moved: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of the points of the upper and of the lower lip in the backward flow.

    Args:
        moved: float32 (40, 2), the lips after the move; only their distances from one another count.
        moves: float32 (40, 2), displacement of each point.

    Returns:
        float32 (1, 22, 2) for each lip, as `talkface.model.lipwarp.LipWarp` takes them; NaN where `moved` has NaN.
    """
    points = moved[_LIPS].astype(np.float64)  # (2, 22, 2)
    squares = ((points[:, :, None] - points[:, None]) ** 2).sum(3)
    system = np.exp(-squares / (2 * REACH**2)) + RIDGE * np.eye(points.shape[1])
    upper, lower = np.linalg.solve(system, -moves[_LIPS].astype(np.float64)).astype(np.float32)
    return upper[None], lower[None]
