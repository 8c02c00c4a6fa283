"""The Jensen-Shannon estimate of mutual information (paper Eq. 7, 8) from scores of a trained statistics network T."""

from __future__ import annotations

import numpy as np


def information_sums(joint: np.ndarray, marginal: np.ndarray) -> np.ndarray:
    """What one clip adds to the estimate.

    Args:
        joint: (N,) scores T(f_i, a_i) of frames with their own sound.
        marginal: (N,) scores T(f_j, a_k) of frames with the sound of other frames.

    Returns:
        float64 (2,): sum of -softplus(-T_joint) - softplus(T_marginal), and N.
    """
    joint, marginal = joint.astype(np.float64), marginal.astype(np.float64)
    return np.array([-np.logaddexp(0, -joint).sum() - np.logaddexp(0, marginal).sum(), len(joint)])


def other_moments(frames: int, seed: int) -> np.ndarray:
    """A partner for each frame, never itself, each used once: whose sound it is scored with. (frames,) int64."""
    if frames < 2:
        return np.zeros(frames, np.int64)
    order = np.random.default_rng(seed).permutation(frames)
    partner = np.empty(frames, np.int64)
    partner[order] = np.roll(order, 1)
    return partner
