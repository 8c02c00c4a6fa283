"""The stage "full": the paper's objective (Eq. 13).

One GAN step reads top to bottom in `FullStage.step`: rollout, discriminator and statistics network, generator. The
adversaries are updated first, so that the generator is judged by the updated estimator (paper 3.2).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from talkface.config import SIZE
from talkface.data.sequences import SequenceBatch
from talkface.metrics.perceptual import PerceptualFeatures
from talkface.model.amie import ESTIMATES, StatisticsNetwork, other_moments
from talkface.model.attention import attention_rate
from talkface.model.blocks import conv_weights_channels_last
from talkface.model.generator import HEIGHT, WIDTH, Generator
from talkface.model.paper import PaperGenerator
from talkface.train import losses
from talkface.train.discriminator import FrameDiscriminator
from talkface.train.lips_stage import lip_shape_loss
from talkface.train.optimizing import EMA, Synchronise, frozen, mixed_precision, optimizer_step
from talkface.train.presets import ObjectiveConfig
from talkface.train.rollout import roll_out

BETAS = (0.5, 0.99)


class FullStage:
    """Generator, frame discriminator, statistics network and their optimisers.

    Args:
        generator: what is trained, all four parts.
        statistics: the statistics network T.
        config: weights and rates.
        moments: moments of each clip in a batch.
        device: where the networks are.
        synchronise: averages gradients over the processes that train together.
    """

    def __init__(
        self,
        generator: Generator | PaperGenerator,
        statistics: StatisticsNetwork,
        config: ObjectiveConfig,
        moments: int,
        device: torch.device | str = "cpu",
        synchronise: Synchronise | None = None,
    ) -> None:
        self.generator, self.statistics, self.config, self.moments = generator, statistics, config, moments
        self.device, self.synchronise = torch.device(device), synchronise
        size = (SIZE, SIZE) if isinstance(generator, PaperGenerator) else (HEIGHT, WIDTH)
        self.discriminator = conv_weights_channels_last(FrameDiscriminator(*size)).to(device)
        self.features = conv_weights_channels_last(PerceptualFeatures()).to(device)
        self.optimizer = torch.optim.Adam(generator.parameters(), config.learning_rate, BETAS)
        self.discriminator_optimizer, self.statistics_optimizer = (
            torch.optim.Adam(adversary.parameters(), config.adversary_learning_rate, BETAS)
            for adversary in (self.discriminator, self.statistics)
        )
        self.ema = EMA(generator, config.ema, trained=isinstance(generator, Generator))  # the paper's starts here

    def step(self, step: int, progress: float, batch: SequenceBatch) -> dict[str, Tensor]:
        """One step of discriminator and statistics network, then of the generator; the loss terms by name.

        Args:
            step: of this stage.
            progress: share of the stage that is done, for the attention schedule.
            batch: real sequences.
        """
        config, windows = self.config, batch.own_windows.flatten(0, 1)
        self.generator.train()
        real = batch.frames.flatten(0, 1)
        with mixed_precision(self.device):
            generated = roll_out(self.generator, batch, self._rate(progress, len(batch.photo)))
        fake = generated.frames.float()

        against = {"discriminator": self._discriminator_loss(real, fake.detach(), windows)}
        optimizer_step(self.discriminator_optimizer, against, config.clip_norm, synchronise=self.synchronise)
        learned_from = real if config.asymmetric else fake.detach()
        estimate: dict[str, Tensor] = {}
        if config.estimate != "none":
            estimate = {"statistics": -self.mutual_information(learned_from, batch)}
            optimizer_step(self.statistics_optimizer, estimate, config.clip_norm, synchronise=self.synchronise)

        with frozen(self.discriminator), frozen(self.statistics):
            terms = {
                "gan": config.gan_weight * losses.generator_gan_loss(self.discriminator(fake, windows)),
                "perceptual": config.perceptual_weight * losses.perceptual_loss(self.features, real, fake),
                "lip": config.lip_weight * losses.lip_loss(real, fake),
            }
            if config.estimate != "none":
                terms["mi"] = -config.mi_weight * self.mutual_information(fake, batch)
            if config.audio_lip_weight and generated.lips is not None:
                distance = lip_shape_loss(generated.lips, batch.lips).mean()
                terms["audio_lip"] = config.audio_lip_weight * distance
            optimizer_step(self.optimizer, terms, config.clip_norm, synchronise=self.synchronise)
        self.ema.update(self.generator)
        return {name: value.detach() for name, value in (terms | against | estimate).items()}

    def mutual_information(self, frames: Tensor, batch: SequenceBatch) -> Tensor:
        """Estimate of the information that frames (B * K, 3, H, W) and their sound share (Eq. 6 or 7)."""
        clips = len(batch.photo) // self.moments
        partner = other_moments(clips, self.moments, batch.frames.shape[1]).to(frames.device)
        scores = self.statistics.joint_and_marginal(frames, batch.own_windows.flatten(0, 1), partner)
        return ESTIMATES[self.config.estimate](*scores)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on, but for the generator and the statistics network themselves."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "statistics_optimizer": self.statistics_optimizer.state_dict(),
            "ema": self.ema.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a state."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        self.statistics_optimizer.load_state_dict(state["statistics_optimizer"])
        self.ema.load_state_dict(state["ema"])

    def _discriminator_loss(self, real: Tensor, fake: Tensor, windows: Tensor) -> Tensor:
        return losses.discriminator_loss(self.discriminator(real, windows), self.discriminator(fake, windows))

    def _rate(self, progress: float, count: int) -> Tensor:
        """Attention rates by the schedule (paper 3.3), (B, 1, 1, 1); one for all moments of a clip."""
        low, high = attention_rate(progress) if self.config.attention_schedule else (1.0, 1.0)
        rates = low + (high - low) * torch.rand(count // self.moments, 1, 1, 1)
        return rates.repeat_interleave(self.moments, 0).to(self.device)
