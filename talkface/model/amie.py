"""Asymmetric Mutual Information Estimator (paper 3.2).

The statistics network T scores pairs of a frame and a sound. Its mean scores on joint pairs (f_i, a_i) and marginal
pairs (f_j, a_k) bound their mutual information: Donsker-Varadhan (Eq. 6) or Jensen-Shannon (Eq. 7, 8). T is trained on
real frames only and then asked about generated ones: that is the asymmetry.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkface.model.encoders import AudioEncoder, ImageEncoder
from talkface.model.generator import Generator, GeneratorConfig


class StatisticsNetwork(nn.Module):
    """T_theta: an image encoder and an audio encoder of the generator's architecture and a 3-layer classifier.

    Args:
        config: of the generator; gives widths, window and context.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = ImageEncoder(3, config.widths, fold=2)
        self.audio_encoder = AudioEncoder(
            config.audio_width, config.audio_features, len(config.audio_offsets), config.audio_dropout
        )
        side = config.window[2] // 16
        self.image_vector = nn.Linear(config.widths[3] * side * side, config.audio_features)
        self.classifier = nn.Sequential(
            nn.Linear(2 * config.audio_features, 256),
            nn.LeakyReLU(0.2),
            nn.Linear(256, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, 1),
        )

    def start_from(self, generator: Generator) -> None:
        """Takes the generator's encoders of photo and sound, which are of the same shape, in place of random ones."""
        self.image_encoder.load_state_dict(generator.identity_encoder.state_dict())
        self.audio_encoder.load_state_dict(generator.audio_encoder.state_dict())

    def forward(self, frame: Tensor, windows: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1], (B, C, 20, 13) -> (B,) scores."""
        return self.score(self.encode_frame(frame), self.audio_encoder(windows))

    def encode_frame(self, frame: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, D)."""
        return F.leaky_relu(self.image_vector(self.image_encoder(frame)[-1].flatten(1)), 0.2)

    def score(self, image_BD: Tensor, audio_BD: Tensor) -> Tensor:
        """Encoded frames and sounds -> (B,) scores."""
        return self.classifier(torch.cat([image_BD, audio_BD], 1)).squeeze(1)

    def joint_and_marginal(self, frame: Tensor, windows: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of (f_i, a_i) and of (f_j, a_k), with k = partner[j]; each picture and sound is encoded once.

        Args:
            frame: (B, 3, S, S).
            windows: (B, C, 20, 13).
            partner: (B,) int64, whose sound each frame is paired with.
        """
        image, audio = self.encode_frame(frame), self.audio_encoder(windows)
        return self.score(image, audio), self.score(image, audio[partner])


def js_mutual_information(joint_B: Tensor, marginal_B: Tensor) -> Tensor:
    """Jensen-Shannon estimate of the mutual information of frames and speech (Eq. 7, 8). Maximise it.

        I = E_joint[-softplus(-T)] - E_marginal[softplus(T)]

    Args:
        joint_B: scores T(f_i, a_i) of frames with their own speech.
        marginal_B: scores T(f_j, a_k) of frames with the speech of other frames.

    Returns:
        A scalar in (-inf, 0]: -2 ln 2 when T cannot tell pairs apart, 0 when it always can.
    """
    return -F.softplus(-joint_B).mean() - F.softplus(marginal_B).mean()


def dv_mutual_information(joint_B: Tensor, marginal_B: Tensor) -> Tensor:
    """Donsker-Varadhan lower bound of the mutual information in nats (Eq. 6, MINE). Maximise it.

        I = E_joint[T] - log E_marginal[exp T]

    Returns:
        A scalar: 0 when T cannot tell pairs apart; unbounded above.
    """
    return joint_B.mean() - (torch.logsumexp(marginal_B, 0) - math.log(marginal_B.numel()))


ESTIMATES = {"js": js_mutual_information, "dv": dv_mutual_information}
