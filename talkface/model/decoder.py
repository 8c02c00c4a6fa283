"""The Frame Decoder of the generator (paper 3.1, Fig. 2).

Shapes: B batch, H x W the crop around the mouth (64 x 88), S style numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkface.model.blocks import ResBlock, conv, faint_init, leaky, zero_bias, zero_init

COPY_REACH = 4.0  # px by which a copy of the photo may be displaced further


class FrameDecoder(nn.Module):
    """Maps and style to paint, mixture weights and flows of the copies (Frame Decoder of paper 3.1)."""

    def __init__(self, widths: tuple[int, int, int], style: int) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.coarse = nn.ModuleList(ResBlock(coarse, style) for _ in range(2))
        self.up_middle, self.join_middle = conv(coarse, middle, 1), conv(2 * middle, middle, 1)
        self.middle = ResBlock(middle, style)
        self.up_fine, self.join_fine = conv(middle, fine, 1), conv(2 * fine, fine, 1)
        self.fine = ResBlock(fine)
        self.flow_head = zero_init(nn.Conv2d(middle, 4, 1))
        self.picture_head = faint_init(nn.Conv2d(fine, 24, 3, 1, 1))
        self.smooth = zero_bias(nn.Conv2d(6, 6, 3, 1, 1))  # against the grid that pixel_shuffle leaves
        nn.init.dirac_(self.smooth.weight)

    def forward(self, maps: tuple[Tensor, Tensor, Tensor], style: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (B, 6, H, W): logits of the paint (3) and of the mixture (3); and (B, 4, H, W) px."""
        fine, middle, x = maps
        for block in self.coarse:
            x = block(x, style)
        x = F.interpolate(self.up_middle(x), scale_factor=2, mode="nearest")
        x = self.middle(leaky(self.join_middle(torch.cat([x, middle], 1))), style)
        flow = F.interpolate(COPY_REACH * torch.tanh(self.flow_head(x)), scale_factor=4, mode="bilinear")
        x = F.interpolate(self.up_fine(x), scale_factor=2, mode="nearest")
        x = self.fine(leaky(self.join_fine(torch.cat([x, fine], 1))))
        return self.smooth(F.pixel_shuffle(self.picture_head(leaky(x)), 2)), flow
