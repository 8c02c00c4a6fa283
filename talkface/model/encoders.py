"""The Identity Encoder and the Image Encoder of the generator (paper 3.1, Fig. 2).

Shapes: B batch, H x W the crop around the mouth (64 x 88), S style numbers. Pictures are float32 in [0, 1].
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkface.model.blocks import ResBlock, conv, leaky

PLANES = 21  # channels of the image encoder's input: previous frame and mask, and 17 of `Conditions.planes`


class IdentityEncoder(nn.Module):
    """The attended photo and its mouth map to style numbers (Identity Encoder of paper 3.1); runs once per video."""

    def __init__(self, style: int) -> None:
        super().__init__()
        widths = (4, 24, 48, 96)
        self.down = nn.ModuleList(conv(a, b, 3, 2) for a, b in pairwise(widths))
        self.last = conv(96, 96)
        self.out = nn.Linear(96, style)

    def forward(self, attended: Tensor, mouth: Tensor) -> Tensor:
        """(B, 3, H, W), (B, 1, H, W) -> (B, S)."""
        x = torch.cat([attended * 2 - 1, mouth], 1)
        for layer in (*self.down, self.last):
            x = leaky(layer(x))
        return self.out(x.mean((2, 3)))


class ImageEncoder(nn.Module):
    """The previous frame, its mask and the carried photo to maps at 1/2, 1/4 and 1/8 (Image Encoder of paper 3.1)."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.first = conv(4 * PLANES, fine)
        self.fine = ResBlock(fine)
        self.to_middle = conv(fine, middle, 3, 2)
        self.middle = ResBlock(middle)
        self.to_coarse = conv(middle, coarse, 3, 2)

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 21, H, W) -> maps (B, w, H/2, W/2), (B, w, H/4, W/4), (B, w, H/8, W/8)."""
        fine = self.fine(leaky(self.first(F.pixel_unshuffle(planes, 2))))
        middle = self.middle(leaky(self.to_middle(fine)))
        return fine, middle, leaky(self.to_coarse(middle))
