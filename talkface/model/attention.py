"""Dynamic attention on the lip area (paper 3.3).

The photo tells who speaks, the previous frame and the sound tell the lips. A coarse mask covers the lip area of the
photo and an attention rate says how much of it the identity encoder may see. The generator predicts the fine mask of
each next frame from the last mask and frame; the rate stays unchanged within a clip.
"""

from __future__ import annotations

import torch
from torch import Tensor

from talkface.config import EYE_CENTRE, EYE_DISTANCE

LIP_CENTRE = (EYE_CENTRE[0], EYE_CENTRE[1] + 1.06 * EYE_DISTANCE)  # px of the aligned face
LIP_RADII = (0.62 * EYE_DISTANCE, 0.46 * EYE_DISTANCE)  # px
LIP_BOX = (76, 140, 180, 220)  # x0, y0, x1, y1 in px of the aligned face: corp() of Eq. 11


def coarse_mask(window: tuple[int, int, int]) -> Tensor:
    """The initial mask area: an ellipse around the mouth of the template with a soft rim.

    Args:
        window: x, y, side of the part of the aligned face that is wanted, px.

    Returns:
        float32 (1, 1, side, side) in [0, 1].
    """
    left, top, side = window
    x = (torch.arange(side) + left + 0.5 - LIP_CENTRE[0]) / LIP_RADII[0]
    y = (torch.arange(side) + top + 0.5 - LIP_CENTRE[1]) / LIP_RADII[1]
    radius = (x[None, :] ** 2 + y[:, None] ** 2).sqrt()
    return ((1.15 - radius) / 0.3).clamp(0, 1)[None, None]


def attend(photo: Tensor, mask: Tensor, rate: Tensor | float) -> Tensor:
    """The photo with the lip area dimmed to `rate`: rate 1 shows it all, 0 hides the lips.

    Args:
        photo: (B, 3, S, S) in [0, 1].
        mask: (B or 1, 1, S, S) in [0, 1].
        rate: scalar or (B, 1, 1, 1) in [0, 1].
    """
    return photo * (1 - mask * (1 - rate))


def attention_rate(progress: float) -> tuple[float, float]:
    """The range that the attention rate is drawn from at a point of training (paper 3.3).

    High (0.7 to 0.9) for the first 40 %, falling to low (0.1 to 0.3) until 70 %, low until 85 %, then 1.

    Args:
        progress: share of training that is done, in [0, 1].
    """
    if progress >= 0.85:
        return 1.0, 1.0
    falling = min(max((progress - 0.4) / 0.3, 0.0), 1.0)
    return 0.7 - 0.6 * falling, 0.9 - 0.6 * falling
