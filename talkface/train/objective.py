"""One training step's arithmetic: the rollout, the generator's objective (Eq. 13), the adversaries' own.

Shapes: B sequences, K frames of each, C windows of context, S side of the window. Pictures are float32 in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from talkface.model.amie import ESTIMATES, StatisticsNetwork
from talkface.model.generator import LIP_POINTS, LIP_UNIT, Generator
from talkface.train import losses
from talkface.train.discriminator import FrameDiscriminator
from talkface.train.perceptual import PerceptualFeatures
from talkface.train.presets import TrainConfig


class Batch(Protocol):
    """What a batch of sequences must hold; see talkface.data.batches.FrameBatch."""

    identity_frame: Tensor
    previous_frame: Tensor
    frames: Tensor
    windows: Tensor
    identity_lips: Tensor
    lips: Tensor
    clip_mean_lips: Tensor


class Generated(NamedTuple):
    """What a rollout gives, frames of all sequences in one row (B * K)."""

    frames: Tensor
    """(B * K, 3, S, S)."""
    colours: Tensor
    """(B * K, 3, S, S)."""
    masks: Tensor
    """(B * K, 1, S, S)."""
    flows: Tensor
    """(B * K, 2, S, S) px."""
    neutral_lips: Tensor
    """(B, 40, 2) lip shape read off the photo, in units of 8 px."""
    predicted_lips: Tensor | None
    """(B * K, 40, 2) in units of 8 px; None where the true lips were given."""


class Rollout(nn.Module):
    """Generates K frames of each sequence, feeding back frames and masks (paper 3.1, 3.3).

    A generated frame is fed back without gradient: each frame answers for itself.

    Args:
        generator: what is trained.
        detach_lips: a loss of their own teaches the lips heard in the sound. Pictures then do not: where lips are
            uncertain they would only make them move less.
    """

    def __init__(self, generator: Generator, detach_lips: bool = False) -> None:
        super().__init__()
        self.generator, self.detach_lips = generator, detach_lips

    def forward(self, batch: Batch, rate: Tensor, from_real: Tensor, given: Tensor, hears: bool) -> Generated:
        """
        Args:
            batch: photo (B, 3, S, S), photo_lips (B, 40, 2) px, frames (B, K, 3, S, S), windows (B, K, C, 20, 13), lips
                (B, K, 40, 2) px.
            rate: (B, 1, 1, 1) attention rate on the photo's lips.
            from_real: (B, 1, 1, 1) bool: start from the real frame before, not from the photo.
            given: (B, 1, 1) bool: the decoder gets the true lip shapes, in place of those heard in the sound and
                estimated from the photo.
            hears: the sound is heard at all; without it the true lips must be given.
        """
        net, (count, length) = self.generator, batch.frames.shape[:2]
        true = net.encode_lips(lip_offsets(batch).flatten(0, 1))
        audio, heard = true, None
        if hears:
            audio, heard = net.audio_and_lips(batch.windows.flatten(0, 1), self.detach_lips)
            shape = torch.arange(audio.shape[1], device=audio.device) < 2 * LIP_POINTS
            audio = torch.where(given.expand(-1, length, 1).flatten(0, 1) & shape, true, audio)
        audio = audio.unflatten(0, (count, length))
        identity = net.encode_identity(batch.identity_frame, batch.identity_lips, rate)
        estimate = identity.lips
        identity = identity._replace(lips=torch.where(given, photo_offsets(batch), estimate.detach()))
        previous, mask = torch.where(from_real, batch.previous_frame, batch.identity_frame), net.first_mask(count)
        shown = []
        for moment in range(length):
            frame = net.step(identity, audio[:, moment], previous, mask)
            picture = net.compose(batch.identity_frame, frame)
            previous, mask = picture.detach(), frame.mask.detach()
            shown.append((picture, frame.colour, frame.mask, frame.flow))
        pictures, colours, masks, flows = (torch.stack(each, 1).flatten(0, 1) for each in zip(*shown, strict=True))
        return Generated(pictures, colours, masks, flows, estimate, heard)


def lip_offsets(batch: Batch) -> Tensor:
    """True lips as offsets from the clip's mean in units of 8 px, (B, K, 40, 2)."""
    return (batch.lips - batch.clip_mean_lips[:, None]) / LIP_UNIT


def photo_offsets(batch: Batch) -> Tensor:
    """True lips of the photos as offsets from the clip's mean in units of 8 px, (B, 40, 2)."""
    return (batch.identity_lips - batch.clip_mean_lips) / LIP_UNIT


class Objective(nn.Module):
    """The adversaries and the perceptual features, and what they make of generated frames.

    Args:
        config: weights of the terms; a term of weight 0 is not computed.
    """

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        self.discriminator = FrameDiscriminator(config.generator)
        self.statistics = StatisticsNetwork(config.generator)
        self.features = PerceptualFeatures() if config.perceptual_weight else None

    def generator_terms(self, batch: Batch, made: Generated, adversaries: bool) -> dict[str, Tensor]:
        """The weighted terms of the generator's loss by name; their sum is minimised (Eq. 13).

        The adversaries are frozen while they judge: their parameters get no gradient.
        """
        measures = self._comparisons(batch, made) | (self._judgements(batch, made) if adversaries else {})
        weights = {name: getattr(self.config, f"{name}_weight") for name in measures}
        with frozen(self):
            return {name: weights[name] * measure() for name, measure in measures.items() if weights[name]}

    def _comparisons(self, batch: Batch, made: Generated) -> dict[str, Callable[[], Tensor]]:
        """Distances from the real frames."""
        window = self.config.generator.window
        real, lips = batch.frames.flatten(0, 1), batch.lips.flatten(0, 1)
        photo_lips = batch.identity_lips.repeat_interleave(batch.frames.shape[1], 0)
        measures = {
            "lip": lambda: losses.lip_loss(real, made.frames, window),
            "frame": lambda: (made.frames - real).abs().mean(),
        }
        if self.config.generator.head == "warp":
            measures["rgb"] = lambda: losses.masked_l1_loss(real, made.colours, made.masks)
            measures["neutral_lip"] = lambda: losses.lip_shape_loss(made.neutral_lips, photo_offsets(batch))
            measures["flow"] = lambda: losses.flow_at_lips_loss(made.flows, photo_lips, lips, window)
        measures["mask"] = lambda: losses.mask_size_loss(made.masks)
        if made.predicted_lips is not None:
            measures["audio_lip"] = lambda: losses.lip_shape_loss(made.predicted_lips, lip_offsets(batch).flatten(0, 1))
        return measures

    def _judgements(self, batch: Batch, made: Generated) -> dict[str, Callable[[], Tensor]]:
        """What other networks say about the generated frames."""
        windows = batch.windows.flatten(0, 1)
        measures = {
            "perceptual": lambda: losses.perceptual_loss(self.features, *self._looked_at(batch, made)),
            "gan": lambda: losses.generator_gan_loss(self.discriminator(made.frames, windows)),
        }
        if self.config.estimate != "none":
            measures["mi"] = lambda: -self.mutual_information(made.frames, batch.windows)
        return measures

    def _looked_at(self, batch: Batch, made: Generated) -> tuple[Tensor, Tensor]:
        """Real and generated pictures as the perceptual loss sees them, both (N, 3, h, w)."""
        config, moments = self.config, -self.config.perceptual_last_frames or None
        fake = made.frames.unflatten(0, batch.frames.shape[:2])
        both = (x[:, moments:].flatten(0, 1) for x in (batch.frames, fake))
        if config.perceptual_crop == "lips":
            both = (losses.crop_lips(x, config.generator.window) for x in both)
        return tuple(both)

    def mutual_information(self, frames: Tensor, windows: Tensor) -> Tensor:
        """Estimate of the information that frames (B * K, 3, S, S) and sound (B, K, C, 20, 13) share (Eq. 6 or 7)."""
        partner = other_sequence(*windows.shape[:2]).to(frames.device)
        scores = self.statistics.joint_and_marginal(frames, windows.flatten(0, 1), partner)
        return ESTIMATES[self.config.estimate](*scores)

    def adversary_terms(self, batch: Batch, made: Generated) -> dict[str, Tensor]:
        """The losses of discriminator (Eq. 9) and statistics network (3.2), each minimised by its own network.

        Asymmetric: the statistics network sees real frames only. Symmetric: generated ones only.
        """
        real, fake, windows = batch.frames.flatten(0, 1), made.frames.detach(), batch.windows.flatten(0, 1)
        terms = {}
        if self.config.gan_weight:
            judged = self.discriminator(real, windows), self.discriminator(fake, windows)
            terms["discriminator"] = losses.discriminator_loss(*judged)
        if self.config.estimate != "none":
            learned_from = real if self.config.asymmetric else fake
            terms["statistics"] = -self.mutual_information(learned_from, batch.windows)
        return terms


def other_sequence(sequences: int, length: int) -> Tensor:
    """For each frame of B sequences of K, the same moment of the neighbour sequence: a draw from the marginals."""
    rows = torch.arange(sequences * length).reshape(sequences, length)
    return rows.reshape(-1, 2, length).flip(1).flatten()


class frozen:
    """No gradient for the parameters of `network` inside the block; gradients still pass through it."""

    def __init__(self, network: nn.Module) -> None:
        self.parameters = [p for p in network.parameters() if p.requires_grad]

    def __enter__(self) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(False)

    def __exit__(self, *error: object) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(True)
