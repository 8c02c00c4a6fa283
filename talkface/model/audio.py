"""The Audio Encoder (paper 3.1): speech features and the photo's lip points to the lips of every frame.

The lips are absolute: the photo's own lips with the gap closed, moved by what is heard and toward where the person's
lips usually are. A second small network says how surely the mouth is shut, because the likeliest lips hardly ever
close.

Shapes: B sequences, T frames, F features of a frame, C channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkface.config import ALIGNED_LIPS, MFCC_COEFFS, MFCC_STEPS
from talkface.model.blocks import zero_init
from talkface.model.frames import DILATIONS, REACH
from talkface.model.lips import TOUCHING, opening, with_opening

__all__ = ["REACH", "AudioEncoder", "AudioFeatures", "Expression", "WindowEncoder", "expressive_lips"]

LIP_POINTS = 40
LIP_UNIT = 8.0  # px that count as 1 in the output
POINT_FEATURES = 32
FEATURE_LIMIT = 8.0  # standard deviations at which features are cut


class AudioFeatures(NamedTuple):
    """What the Audio Encoder says about T frames."""

    lips: Tensor
    """(B, T, 40, 2) px of the aligned face: the likeliest lips."""
    closed_logit: Tensor
    """(B, T): above 0 where the mouth is more likely shut than open."""


class Expression(NamedTuple):
    """How the likeliest lips become lips that move as in life. Chosen on the validation set `talk`."""

    gain: float = 1.3
    """Factor on the opening."""
    offset: float = 0.0
    """Opening that is taken off before."""
    open_below: float = 0.4
    """Probability of a shut mouth from which the lips begin to close."""
    shut_above: float = 0.7
    """Probability from which they are shut."""


LIFE = Expression()


class TemporalNet(nn.Module):
    """Convolutions over time with shortcuts: +-8 frames.

    Args:
        inputs: F.
        width: C.
        dropout: share of values that training leaves out.
    """

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.input = nn.Linear(inputs, width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=d, padding=d) for d in DILATIONS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, C)."""
        hidden = F.leaky_relu(self.input(self.dropout(x)), 0.2)
        for layer in self.layers:
            update = layer(self.dropout(hidden).transpose(1, 2)).transpose(1, 2)
            hidden = hidden + F.leaky_relu(update, 0.2)
        return hidden


class WindowEncoder(nn.Module):
    """One 20x13 MFCC window to a vector: 1-D convolutions over the 20 steps (Audio Encoder of paper 3.1)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(MFCC_COEFFS, width, 5, padding=2),
            nn.LeakyReLU(0.2),
            nn.Conv1d(width, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv1d(width, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv1d(width, width, 3, padding=1),
            nn.LeakyReLU(0.2),
        )
        self.out = nn.Linear(width * MFCC_STEPS // 2, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, windows: Tensor) -> Tensor:
        """(..., 20, 13) -> (..., width)."""
        flat = windows.reshape(-1, MFCC_STEPS, MFCC_COEFFS).transpose(1, 2)
        vectors = F.leaky_relu(self.out(self.dropout(self.body(flat).flatten(1))), 0.2)
        return vectors.reshape(*windows.shape[:-2], -1)


class AudioEncoder(nn.Module):
    """Speech features and the photo's lips to lips and closures.

    Args:
        features: F, numbers of one frame; 0 takes the paper's 20x13 MFCC windows in their place.
        width: channels of the lip network; the closure network has half.
        dropout: share of values that training leaves out.
        expression: how its lips become lifelike, for `expressive_lips`.
    """

    feature_mean: Tensor
    feature_scale: Tensor
    direction: Tensor
    template: Tensor

    def __init__(self, features: int, width: int = 128, dropout: float = 0.2, expression: Expression = LIFE) -> None:
        super().__init__()
        self.expression = expression
        self.windows = None if features else WindowEncoder(width, dropout)
        inputs = features or width
        self.register_buffer("feature_mean", torch.zeros(inputs))
        self.register_buffer("feature_scale", torch.ones(inputs))
        self.register_buffer("direction", torch.zeros(LIP_POINTS, 2))  # see talkface.model.lips.opening_direction
        template = torch.tensor(ALIGNED_LIPS)
        self.register_buffer("template", template - template.mean(0), persistent=False)
        self.network = TemporalNet(inputs, width, dropout)
        self.points = nn.Linear(2 * LIP_POINTS, POINT_FEATURES)
        self.place = zero_init(nn.Linear(2 * LIP_POINTS, 2 * LIP_POINTS))
        self.mix = nn.Linear(width + POINT_FEATURES, width)
        self.from_sound, self.from_points, self.from_both = (
            _faint(nn.Linear(size, 2 * LIP_POINTS)) for size in (width, POINT_FEATURES, width)
        )
        self.closure = TemporalNet(inputs, width // 2, dropout)
        self.closure_out = nn.Linear(width // 2, 1)

    def forward(self, features: Tensor, photo_lips: Tensor) -> AudioFeatures:
        """
        Args:
            features: (B, T, F), or MFCC windows (B, T, 20, 13).
            photo_lips: (B, 40, 2) px of the aligned face.
        """
        x = self.standardised(features)
        return AudioFeatures(self.lips(x, photo_lips), self.closed_logit(x))

    def standardised(self, features: Tensor) -> Tensor:
        """Features as the two networks take them, (B, T, F)."""
        if self.windows is not None:
            return self.windows(features)
        return ((features - self.feature_mean) / self.feature_scale).clamp(-FEATURE_LIMIT, FEATURE_LIMIT)

    def lips(self, x: Tensor, photo_lips: Tensor) -> Tensor:
        """Standardised features (B, T, F) and photo lips (B, 40, 2) px -> lips (B, T, 40, 2) px."""
        heard = self.network(x)
        centre = photo_lips.mean(1, keepdim=True)
        shape = (photo_lips - centre - self.template).flatten(1) / LIP_UNIT
        points = F.leaky_relu(self.points(shape), 0.2)
        both = torch.cat([heard, points[:, None].expand(-1, heard.shape[1], -1)], 2)
        moved = self.from_sound(heard) + (self.place(shape) + self.from_points(points))[:, None]
        moved = moved + self.from_both(F.leaky_relu(self.mix(both), 0.2))
        closed = self.closed_photo(photo_lips)
        closed = closed - closed.mean(1, keepdim=True) + centre
        return closed[:, None] + LIP_UNIT * moved.unflatten(2, (LIP_POINTS, 2))

    def closed_logit(self, x: Tensor) -> Tensor:
        """Standardised features (B, T, F) -> (B, T)."""
        return self.closure_out(self.closure(x))[..., 0]

    def closed_photo(self, photo_lips: Tensor) -> Tensor:
        """The photo's lips with the gap closed, (B, 40, 2) px."""
        return photo_lips - opening(photo_lips)[:, None, None] * self.direction


def expressive_lips(audio: AudioFeatures, direction: Tensor, amount: float = 1.0, how: Expression = LIFE) -> Tensor:
    """The lips that are shown, (B, T, 40, 2) px: openings stretched to life's spread, and shut where they should be.

    Args:
        audio: of the Audio Encoder.
        direction: (40, 2), its `direction`.
        amount: factor on the opening; 1 is life's spread.
        how: the constants.
    """
    gap = (amount * how.gain * (opening(audio.lips) - how.offset)).clamp(min=TOUCHING)
    shut = torch.sigmoid(audio.closed_logit)
    shut = ((shut - how.open_below) / (how.shut_above - how.open_below)).clamp(0, 1)
    return with_opening(audio.lips, gap * (1 - shut) + TOUCHING * shut, direction)


def _faint(layer: nn.Linear) -> nn.Linear:
    """A layer whose first outputs are small."""
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.bias.zero_()
    return layer
