"""The stage "mouth": the decoder learns what is between the lips, on true lip shapes, without sound.

One step reads top to bottom in `MouthStage.step`: rollout, discriminator, generator.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from talkface.data.mouths import MouthBatch
from talkface.model.blocks import conv_weights_channels_last
from talkface.model.generator import Frame, Generator, Identity
from talkface.model.lipwarp import MouthShape
from talkface.train import mouth_loss as losses
from talkface.train.optimizing import EMA, Synchronise, frozen, optimizer_step
from talkface.train.presets import MouthConfig

PENALTY_EVERY = 8  # steps between two gradient penalties
BALANCE_EVERY = 20  # steps between two measurements of the gradients that the adversarial weight follows
BETAS = (0.5, 0.99)


class Rollout(NamedTuple):
    """K consecutive frames of B sequences, generated one after the other; all in one row (B * K)."""

    identity: Identity
    frames: list[Frame]
    shapes: list[MouthShape]
    painted: list[losses.Painted]

    @property
    def shape(self) -> MouthShape:
        """The maps of all frames, (B * K, 1, H, W)."""
        return MouthShape(*(torch.cat(maps) for maps in zip(*self.shapes, strict=True)))

    @property
    def over_real(self) -> losses.Painted:
        """All generated mouths in the real surroundings, (B * K, ...)."""
        return losses.Painted(*(torch.cat(maps) for maps in zip(*self.painted, strict=True)))


def roll_out(generator: Generator, batch: MouthBatch, rate: Tensor | float) -> Rollout:
    """Generates the frames of each sequence from true lips, feeding back frame and mask (paper 3.1, 3.3).

    A generated frame is fed back without gradient: each frame answers for itself.
    """
    identity = generator.encode_identity(batch.photo, batch.photo_lips, batch.photo_nose, rate)
    previous, mask = batch.photo, generator.first_mask(identity)
    rollout = Rollout(identity, [], [], [])
    for moment, shift in enumerate(batch.head_shifts.unbind(1)):
        conditions = generator.conditions(identity, batch.lips[:, moment], shift)
        frame = generator.step(identity, conditions, previous, mask)
        rollout.frames.append(frame)
        rollout.shapes.append(conditions.shape)
        rollout.painted.append(losses.paint_over_real(identity, frame, conditions.shape, batch.frames[:, moment]))
        with torch.no_grad():
            previous, mask = generator.compose(identity, frame), frame.mask.detach()
    return rollout


class MouthStage:
    """The mouth generator, its discriminator and their optimisers.

    Args:
        generator: what is trained.
        config: weights, rates and sizes.
        device: where the networks are.
        synchronise: averages gradients over the processes that train together.
    """

    def __init__(
        self,
        generator: Generator,
        config: MouthConfig,
        device: torch.device | str = "cpu",
        synchronise: Synchronise | None = None,
    ) -> None:
        self.generator, self.config, self.device = generator, config, torch.device(device)
        self.synchronise = synchronise
        self.discriminator = conv_weights_channels_last(losses.MouthDiscriminator()).to(device)
        parameters = [p for part in generator.picture_parts() for p in part.parameters()]
        self.optimizer = torch.optim.Adam(parameters, config.learning_rate, BETAS)
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), config.discriminator_learning_rate, BETAS
        )
        self.ema = EMA(generator, config.ema)
        self.gan_weight = 0.0

    def step(self, step: int, progress: float, batch: MouthBatch) -> dict[str, Tensor]:
        """One step of the generator and, after the first `l1_steps`, of the discriminator; the loss terms by name.

        Args:
            step: of this stage, from 0; the discriminator's penalty and the balance follow it.
            progress: share of the stage that is done, for the learning rates.
            batch: real sequences with their true lips.
        """
        config, rates = self.config, self._rates(progress)
        self.generator.train()
        learns = not config.l1_steps <= step < config.l1_steps + config.warmup_steps
        with torch.set_grad_enabled(learns):
            rollout = roll_out(self.generator, batch, self._attention_rate(len(batch.photo)))
        real, shape, painted = batch.frames.transpose(0, 1).flatten(0, 1), rollout.shape, rollout.over_real
        terms = {"mouth_l1": config.l1_weight * losses.mouth_l1_loss(real, painted)}
        log: dict[str, Tensor] = {}
        if step >= config.l1_steps:
            log |= self._discriminator_step(step, rates[1], real, painted.over_real.detach(), shape)
        if step >= config.l1_steps + config.warmup_steps:
            with frozen(self.discriminator):
                with torch.no_grad():
                    real_logits, real_features = self.discriminator(losses.judged(real, shape))
                logits, features = self.discriminator(_packed(losses.judged(painted.over_real, shape)))
                matching = losses.feature_matching_loss(features, real_features, shape)
                terms["feature_matching"] = config.feature_matching_weight * matching
                adversarial = losses.relativistic_loss(logits, real_logits, shape)
                if step % BALANCE_EVERY == 0 or not self.gan_weight:
                    self._balance(sum(terms.values(), real.new_zeros(())), adversarial, painted.over_real)
                terms["mouth_gan"] = self.gan_weight * adversarial
        if learns:
            optimizer_step(self.optimizer, terms, config.clip_norm, rates[0], self.synchronise)
        self.ema.update(self.generator, self._ema_decay(progress))
        return {name: value.detach() for name, value in (terms | log).items()}

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on, but for the generator itself."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "ema": self.ema.state_dict(),
            "gan_weight": self.gan_weight,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a state."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        self.ema.load_state_dict(state["ema"])
        self.gan_weight = state["gan_weight"]

    def _discriminator_step(
        self, step: int, learning_rate: float, real: Tensor, fake: Tensor, shape: MouthShape
    ) -> dict[str, Tensor]:
        """The discriminator learns to tell real from painted mouths."""
        penalised = step % PENALTY_EVERY == 0
        crops = _packed(torch.cat([losses.judged(real, shape), losses.judged(fake, shape)]))
        crops.requires_grad_(penalised)
        logits, _ = self.discriminator(crops)
        real_logits, fake_logits = ([half[i] for half in (z.chunk(2) for z in logits)] for i in (0, 1))
        terms = {"mouth_discriminator": losses.relativistic_loss(real_logits, fake_logits, shape)}
        if penalised:
            patches = [losses.open_patches(shape, z).repeat(2, 1, 1, 1) for z in real_logits]
            penalty = losses.gradient_penalty(logits, crops, patches)
            terms["mouth_penalty"] = PENALTY_EVERY * self.config.penalty_weight / 2 * penalty
        norm = self.config.discriminator_clip_norm
        optimizer_step(self.discriminator_optimizer, terms, norm, learning_rate, self.synchronise)
        return {"mouth_discriminator": terms["mouth_discriminator"].detach()}

    def _balance(self, others: Tensor, adversarial: Tensor, picture: Tensor) -> None:
        """Lets the adversarial term pull `gan_ratio` times as hard at the picture as all others together."""
        wanted, theirs = (
            torch.autograd.grad(loss, picture, retain_graph=True)[0].norm() for loss in (others, adversarial)
        )
        weight = min(self.config.gan_ratio * (wanted / theirs.clamp(min=1e-8)).item(), self.config.gan_weight_limit)
        self.gan_weight = 0.8 * self.gan_weight + 0.2 * weight if self.gan_weight else weight

    def _attention_rate(self, count: int) -> Tensor:
        """1 for most sequences; for the rest a low rate, so that the decoder can do without the photo's mouth."""
        share, rate = torch.rand(2, count, 1, 1, 1, device=self.device)
        return torch.where(share < self.config.low_attention_share, 0.3 * rate, 1.0)

    def _rates(self, progress: float) -> tuple[float, float]:
        factor = 1 - (1 - self.config.final_rate) * min(progress, 1.0)
        return factor * self.config.learning_rate, factor * self.config.discriminator_learning_rate

    def _ema_decay(self, progress: float) -> float:
        """Slower towards the end: single steps swing between all teeth and all dark."""
        return self.config.ema if progress < self.config.slow_ema_from else self.config.slow_ema


def _packed(crops: Tensor) -> Tensor:
    return crops.contiguous(memory_format=torch.channels_last)
