"""Lip points of an aligned face as in a mirror."""

from __future__ import annotations

import numpy as np

from talkface.config import SIZE

# Lip point i of either ring of 20 becomes point (10 - i) mod 20.
MIRRORED_RING = (10 - np.arange(20)) % 20
MIRRORED_LIPS = np.concatenate([MIRRORED_RING, 20 + MIRRORED_RING])


def mirrored_lips(points: np.ndarray) -> np.ndarray:
    """Lip points (..., 40, 2) px of an aligned face as in a mirror, float32."""
    swapped = points[..., MIRRORED_LIPS, :]
    return np.stack([SIZE - 1 - swapped[..., 0], swapped[..., 1]], -1).astype(np.float32)
