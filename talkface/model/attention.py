"""Dynamic attention on the lip area (paper 3.3).

The photo tells who speaks, the previous frame and the sound tell the lips. A coarse mask covers the lip area of the
photo and an attention rate says how much of it the identity encoder may see. The generator predicts the fine mask of
each next frame from the last mask and frame; the rate stays unchanged within a clip.
"""

from __future__ import annotations

from torch import Tensor

from talkface.config import EYE_DISTANCE

LIP_RADII = (0.62 * EYE_DISTANCE, 0.46 * EYE_DISTANCE)  # px of the aligned face
INNER_CORNERS = (20, 30)  # of the 40 lip points


def coarse_mask(lips: Tensor, position: Tensor) -> Tensor:
    """The initial mask area: an ellipse with a soft edge around the mouth.

    Args:
        lips: (B, 40, 2) px.
        position: (1, 2, H, W) px, the x and y of each pixel in the same coordinates.

    Returns:
        float32 (B, 1, H, W) in [0, 1].
    """
    centre = lips[:, INNER_CORNERS].mean(1)[:, :, None, None]
    x, y = ((position - centre)[:, axis] / radius for axis, radius in enumerate(LIP_RADII))
    return ((1.15 - (x**2 + y**2).sqrt()) / 0.3).clamp(0, 1)[:, None]


def attend(photo: Tensor, mask: Tensor, rate: Tensor | float) -> Tensor:
    """The photo with the lip area dimmed to `rate`: rate 1 shows it all, 0 hides the lips.

    Args:
        photo: (B, 3, H, W) in [0, 1].
        mask: (B or 1, 1, H, W) in [0, 1].
        rate: scalar or (B, 1, 1, 1) in [0, 1].
    """
    return photo * (1 - mask * (1 - rate))


def attention_rate(progress: float) -> tuple[float, float]:
    """The range that the attention rate is drawn from at a point of training (paper 3.3).

    High (0.7 to 0.9) for the first 40 %, falling to low (0.1 to 0.3) until 70 %, low until 85 %, then 1. The paper
    gives the rates and their order; the times are ours.

    Args:
        progress: share of training that is done, in [0, 1].
    """
    if progress >= 0.85:
        return 1.0, 1.0
    falling = min(max((progress - 0.4) / 0.3, 0.0), 1.0)
    return 0.7 - 0.6 * falling, 0.9 - 0.6 * falling
