"""Frame discriminator (paper 3.1, Eq. 9): does this frame belong to this sound?

Shapes: B batch, H x W the picture. Pictures are float32 in [0, 1].
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from talkface.config import MFCC_COEFFS, MFCC_STEPS
from talkface.model.blocks import conv, leaky

STRIDES = 4  # convolutions of stride 2 for a mouth's crop; larger pictures get more


class FrameDiscriminator(nn.Module):
    """Image CNN, audio FC, and a classifier on the two, flattened and joined.

    Args:
        height: H, px.
        width: W, px.
        channels: after the first convolution.
    """

    def __init__(self, height: int, width: int, channels: int = 24) -> None:
        super().__init__()
        strides = max(STRIDES, math.ceil(math.log2(max(height, width) / 6)))
        sizes = [3, *(min(channels * 2**k, 4 * channels) for k in range(strides))]
        self.image = nn.ModuleList(conv(a, b, 3, 2) for a, b in pairwise(sizes))
        self.audio = nn.Sequential(
            nn.Linear(MFCC_STEPS * MFCC_COEFFS, 256), nn.LeakyReLU(0.2), nn.Linear(256, 128), nn.LeakyReLU(0.2)
        )
        flat = sizes[-1] * math.ceil(height / 2**strides) * math.ceil(width / 2**strides)
        self.classifier = nn.Sequential(nn.Linear(flat + 128, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))

    def forward(self, frame: Tensor, windows: Tensor) -> Tensor:
        """(B, 3, H, W), (B, 20, 13) -> (B,) logits; high where frame and sound are real and belong together."""
        x = 2 * frame - 1
        for layer in self.image:
            x = leaky(layer(x))
        return self.classifier(torch.cat([x.flatten(1), self.audio(windows.flatten(1))], 1)).squeeze(1)
