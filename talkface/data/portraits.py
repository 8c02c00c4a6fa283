"""Portraits as training clips of one frame: the same face with its mouth shut serves as the photo."""

from __future__ import annotations

import functools

import numpy as np
import torch

from talkface.config import SIZE
from talkface.model.lips import TOUCHING, with_opening
from talkface.model.lipwarp import LipWarp, warp

OVERLAP = -0.05  # opening to which the lips are carried, so that no tooth is left in the seam


def shut_mouth(picture: np.ndarray, lips: np.ndarray, direction: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """An aligned face with its lips carried together, and its lip points.

    Args:
        picture: uint8 (256, 256, 3).
        lips: float32 (40, 2) px.
        direction: (40, 2) px, of `talkface.model.lips.opening_direction`.
    """
    points = torch.from_numpy(lips)[None]
    shut, overlapping = (with_opening(points, torch.tensor([gap]), direction) for gap in (TOUCHING, OVERLAP))
    flow, _ = _lip_warp()(points, overlapping - points)
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    carried = warp(planes, flow)[0].permute(1, 2, 0).round().clamp(0, 255)
    return carried.byte().numpy(), shut[0].numpy()


@functools.cache
def _lip_warp() -> LipWarp:
    return LipWarp(SIZE, SIZE)
