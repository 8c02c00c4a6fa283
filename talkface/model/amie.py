"""Asymmetric Mutual Information Estimator (paper 3.2).

The statistics network T scores pairs of a frame and a sound. Its mean scores on joint pairs (f_i, a_i) and marginal
pairs (f_j, a_k) bound their mutual information: Donsker-Varadhan (Eq. 6) or Jensen-Shannon (Eq. 7, 8). j and k are
moments of one clip, so that T learns what is said and not who speaks. T is trained on real frames only and then asked
about generated ones: that is the asymmetry.

Shapes: B batch, H x W the picture, D features. Pictures are float32 in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkface.model.audio import WindowEncoder
from talkface.model.blocks import conv, leaky

APART = 0.3  # s: the least distance of the two moments of a marginal pair


@dataclass(frozen=True)
class EstimatorConfig:
    """Sizes of the statistics network."""

    height: int = 64
    """H, px."""
    width: int = 88
    """W, px."""
    widths: tuple[int, ...] = (24, 48, 96, 128)
    """Channels after each convolution of stride 2."""
    features: int = 128
    """D, of picture and of sound."""
    dropout: float = 0.2
    """Share of values that training leaves out."""


class StatisticsNetwork(nn.Module):
    """T_theta: an image encoder, an audio encoder for 20x13 MFCC windows, and a 3-layer classifier.

    Args:
        config: sizes.
    """

    def __init__(self, config: EstimatorConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = nn.ModuleList(conv(a, b, 3, 2) for a, b in pairwise((3, *config.widths)))
        height, width = (math.ceil(size / 2 ** len(config.widths)) for size in (config.height, config.width))
        self.image_vector = nn.Linear(config.widths[-1] * height * width, config.features)
        self.audio_encoder = WindowEncoder(config.features, config.dropout)
        self.classifier = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(2 * config.features, 256),
            nn.LeakyReLU(0.2),
            nn.Linear(256, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, 1),
        )

    def forward(self, frame: Tensor, windows: Tensor) -> Tensor:
        """(B, 3, H, W), (B, 20, 13) -> (B,) scores."""
        return self.score(self.encode_frame(frame), self.audio_encoder(windows))

    def encode_frame(self, frame: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D)."""
        x = 2 * frame - 1
        for layer in self.image_encoder:
            x = leaky(layer(x))
        return leaky(self.image_vector(x.flatten(1)))

    def score(self, image_BD: Tensor, audio_BD: Tensor) -> Tensor:
        """Encoded frames and sounds -> (B,) scores."""
        return self.classifier(torch.cat([image_BD, audio_BD], 1)).squeeze(1)

    def joint_and_marginal(self, frame: Tensor, windows: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of (f_i, a_i), (B,), and of (f_j, a_k) with k = partner[j], (B,) or (P * B,).

        Each picture and each sound is encoded once.

        Args:
            frame: (B, 3, H, W).
            windows: (B, 20, 13).
            partner: (B,) or (P, B) int64, whose sound each frame is paired with.
        """
        image, audio = self.encode_frame(frame), self.audio_encoder(windows)
        marginal = [self.score(image, audio[other]) for other in partner.reshape(-1, len(image))]
        return self.score(image, audio), torch.cat(marginal)


def other_moments(clips: int, moments: int, frames: int, pairs: int = 1) -> Tensor:
    """For each frame of clips x moments x frames the same frame of other moments of the clip: k of Eq. 7.

    Args:
        clips: of the batch.
        moments: of each clip, at least 2.
        frames: of each moment.
        pairs: P, other moments of each frame: the next ones, at most all.

    Returns:
        int64 (P, B).
    """
    rows = torch.arange(clips * moments * frames).reshape(clips, moments, frames)
    return torch.stack([rows.roll(-k, 1).flatten() for k in range(1, min(pairs, moments - 1) + 1)])


def js_mutual_information(joint_B: Tensor, marginal_B: Tensor) -> Tensor:
    """Jensen-Shannon estimate of the mutual information of frames and speech (Eq. 7, 8). Maximise it.

        I = E_joint[-softplus(-T)] - E_marginal[softplus(T)]

    Args:
        joint_B: scores T(f_i, a_i) of frames with their own speech.
        marginal_B: scores T(f_j, a_k) of frames with the speech of other moments.

    Returns:
        A scalar in (-inf, 0]: -2 ln 2 when T cannot tell pairs apart, 0 when it always can.
    """
    return -F.softplus(-joint_B).mean() - F.softplus(marginal_B).mean()


def dv_mutual_information(joint_B: Tensor, marginal_B: Tensor) -> Tensor:
    """Donsker-Varadhan lower bound of the mutual information in nats (Eq. 6, MINE). Maximise it.

        I = E_joint[T] - log E_marginal[exp T]

    Returns:
        A scalar: 0 when T cannot tell pairs apart; unbounded above. Computed in float32 under autocast too.
    """
    joint_B, marginal_B = joint_B.float(), marginal_B.float()
    return joint_B.mean() - (torch.logsumexp(marginal_B, 0) - math.log(marginal_B.numel()))


ESTIMATES = {"js": js_mutual_information, "dv": dv_mutual_information}
