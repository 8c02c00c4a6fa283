"""Frame discriminator (paper 3.1, Eq. 9): does this frame belong to this sound?

Shapes: B batch, C windows, S side of the window. Pictures are float32 in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from talkface.config import MFCC_COEFFS, MFCC_STEPS
from talkface.model.encoders import conv
from talkface.model.generator import GeneratorConfig


class FrameDiscriminator(nn.Module):
    """Image CNN, audio FC, and a classifier on the two, flattened and joined.

    Args:
        config: of the generator whose frames it judges; its window and context are used.
        width: channels after the first convolution.
    """

    def __init__(self, config: GeneratorConfig, width: int = 24) -> None:
        super().__init__()
        side = config.window[2] // 16
        self.image = nn.Sequential(
            conv(3, width, 2), conv(width, 2 * width, 2), conv(2 * width, 4 * width, 2), conv(4 * width, 4 * width, 2)
        )
        self.audio = nn.Sequential(
            nn.Linear(len(config.audio_offsets) * MFCC_STEPS * MFCC_COEFFS, 256),
            nn.LeakyReLU(0.2),
            nn.Linear(256, 128),
            nn.LeakyReLU(0.2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(4 * width * side * side + 128, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1)
        )

    def forward(self, frame: Tensor, windows: Tensor) -> Tensor:
        """(B, 3, S, S), (B, C, 20, 13) -> (B,) logits; high where frame and sound are real and belong together."""
        joined = torch.cat([self.image(frame).flatten(1), self.audio(windows.flatten(1))], 1)
        return self.classifier(joined).squeeze(1)
