"""Lip shapes: how far they are open, and how to open or close them.

Lip points are those of `talkface.face.landmarks.LIPS`, (..., 40, 2) px of the aligned face. An opening is the gap of
the inner lips over the eye distance, 0 where they touch; people speak at a mean of about 0.08.
"""

from __future__ import annotations

import torch
from torch import Tensor

from talkface.config import EYE_DISTANCE

INNER_LOWER_MIDDLE, INNER_UPPER_MIDDLE = [24, 25, 26], [36, 35, 34]  # the three middle pairs of the inner outline
CLOSED = 0.02  # opening under which a mouth counts as closed
TOUCHING = 0.003  # opening of a mouth that is shut
NEWTON_STEPS = 3


def opening(lips: Tensor) -> Tensor:
    """Vertical gap of the inner lips over the eye distance, (..., 40, 2) -> (...,); negative where they overlap."""
    below, above = lips[..., INNER_LOWER_MIDDLE, 1], lips[..., INNER_UPPER_MIDDLE, 1]
    return (below - above).mean(-1) / EYE_DISTANCE


def with_opening(lips: Tensor, wanted: Tensor, direction: Tensor) -> Tensor:
    """Lips moved along `direction` until their opening is `wanted`.

    Args:
        lips: (..., 40, 2) px.
        wanted: (...,) openings.
        direction: (40, 2) px by which the points move for an opening of 1, as `opening_direction` gives it.
    """
    for _ in range(NEWTON_STEPS):
        lips = lips + (wanted - opening(lips))[..., None, None] * direction
    return lips


def opening_direction(lips: list[Tensor]) -> Tensor:
    """How lip points move when the mouth opens: pooled regression on the opening within each clip, (40, 2) px.

    Args:
        lips: clips (T, 40, 2) px; each frame's centroid and each clip's mean shape are taken off.
    """
    moments, variance = torch.zeros(40, 2), torch.zeros(())
    for clip in lips:
        gap = opening(clip)
        gap = gap - gap.mean()
        shapes = clip - clip.mean(0)
        moments = moments + (gap[:, None, None] * shapes).sum(0)
        variance = variance + (gap * gap).sum()
    return moments / variance.clamp(min=1e-9)
