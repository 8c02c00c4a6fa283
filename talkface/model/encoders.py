"""Encoders shared by the generator and the mutual information estimator (paper 3.1, 3.2).

Shapes: B batch, C windows of context, D audio features, S side of the window on the aligned face, R = S / 2.
All pictures are float32 in [0, 1].
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkface.config import MFCC_COEFFS, MFCC_STEPS


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution and leaky ReLU."""
    return nn.Sequential(kaiming_init(nn.Conv2d(inputs, outputs, 3, stride, 1)), nn.LeakyReLU(0.2, inplace=True))


def kaiming_init(layer: nn.Conv2d) -> nn.Conv2d:
    """Initial weights that keep the signal's size: PyTorch's own let it fade to a fiftieth over seven layers."""
    nn.init.kaiming_normal_(layer.weight, 0.2)
    nn.init.zeros_(layer.bias)
    return layer


class ResidualStep(nn.Module):
    """Two 1-D convolutions over time with a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(width, width, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv1d(width, width, 3, padding=1),
        )

    def forward(self, x_BWT: Tensor) -> Tensor:
        return F.leaky_relu(x_BWT + self.body(x_BWT), 0.2)


class WindowEncoder(nn.Module):
    """One 20x13 MFCC window to a vector (paper 3.1, Audio Encoder): 1-D convolutions over the 20 steps."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(MFCC_COEFFS, width, 5, padding=2),
            nn.LeakyReLU(0.2, inplace=True),
            ResidualStep(width),
            nn.Conv1d(width, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            ResidualStep(width),
        )
        self.out = nn.Linear(width * MFCC_STEPS // 2, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, windows: Tensor) -> Tensor:
        """(N, 20, 13) -> (N, width)."""
        hidden = self.body(windows.transpose(1, 2))  # (N, width, 10)
        return F.leaky_relu(self.out(self.dropout(hidden.flatten(1))), 0.2)


class AudioEncoder(nn.Module):
    """The MFCC windows around a frame to one feature vector.

    The paper's encoder sees one window of 0.2 s. Here it may see more of them, from before and after the frame, each
    encoded by the same window encoder.

    Args:
        width: channels of the window encoder.
        features: D, length of the output.
        windows: C, how many it sees; 1 is the paper's.
        dropout: share of hidden features that training leaves out.
    """

    def __init__(self, width: int, features: int, windows: int, dropout: float) -> None:
        super().__init__()
        self.window = WindowEncoder(width, dropout)
        self.mix = nn.Sequential(
            nn.Linear(width * windows, features), nn.LeakyReLU(0.2, inplace=True), nn.Dropout(dropout)
        )
        self.out = nn.Linear(features, features)

    def forward(self, windows: Tensor) -> Tensor:
        """(B, C, 20, 13) -> (B, D)."""
        batch, count = windows.shape[:2]
        each = self.window(windows.flatten(0, 1)).reshape(batch, count * self.window.out.out_features)
        hidden = self.mix(each)
        return hidden + self.out(hidden)


class ImageEncoder(nn.Module):
    """A picture to feature maps at R, R/2, R/4, R/8 (paper 3.1: the Identity Encoder and the Image Encoder).

    Args:
        channels: of the picture, mask included.
        widths: channels at each of the four resolutions.
        fold: how many pixels side by side become channels before the first convolution.
    """

    def __init__(self, channels: int, widths: tuple[int, ...], fold: int) -> None:
        super().__init__()
        self.fold = fold
        self.first = conv(channels * fold * fold, widths[0])
        pairs = pairwise(widths)
        self.down = nn.ModuleList(nn.Sequential(conv(a, b, stride=2), conv(b, b)) for a, b in pairs)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """(B, channels, S, S) -> maps from fine to coarse."""
        centred = 2 * picture - 1
        x = self.first(F.pixel_unshuffle(centred, self.fold) if self.fold > 1 else centred)
        maps = [x]
        for layer in self.down:
            maps.append(layer(maps[-1]))
        return maps


def conv_weights_channels_last(network: nn.Module) -> nn.Module:
    """Convolution weights in channels_last order: a fifth faster on CPUs, more on tensor cores."""
    return network.to(memory_format=torch.channels_last)
