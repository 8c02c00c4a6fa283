"""Everything that is trained, as one module: several processes can train it together and one file can resume it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkface.model.encoders import conv_weights_channels_last
from talkface.model.generator import LIP_UNIT, Generator
from talkface.train.losses import lip_shape_loss
from talkface.train.objective import Batch, Generated, Objective, Rollout
from talkface.train.presets import TrainConfig

VISEME_CLASSES = 14
WARM_EMA_UPDATES = 1_000_000  # updates that weights count as having had which come from a file


class Networks(nn.Module):
    """Generator, discriminator, statistics network, and the mouth-class layer of the first lesson.

    `forward` takes a task's name, because DistributedDataParallel sees only what passes through `forward`.
    """

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        self.generator = conv_weights_channels_last(Generator(config.generator))
        self.rollout = Rollout(self.generator, detach_lips=bool(config.audio_lip_weight))
        self.objective = conv_weights_channels_last(Objective(config))
        self.viseme_head = nn.Linear(config.generator.audio_width, VISEME_CLASSES)

    def forward(self, task: str, *inputs: Any) -> Any:
        """Runs one task.

        "visemes" (windows, classes) and "sound" (windows, lips px, mean lips px) give loss terms, "rollout" (batch,
        rate, from_real, given, hears) gives Generated, "adversaries" (batch, generated) gives loss terms.
        """
        return getattr(self, f"_{task}")(*inputs)

    def learners(self, lesson: str) -> list[nn.Parameter]:
        """The parameters that a lesson trains, the adversaries' apart."""
        net = self.generator
        by_lesson = {
            "visemes": [net.audio_encoder.window, self.viseme_head],
            "sound": [net.audio_encoder, net.lip_head, net.photo_lips],
            "full": [net],
        }
        if lesson in by_lesson:
            return [p for module in by_lesson[lesson] for p in module.parameters()]
        hearing = {id(p) for part in (net.audio_encoder, net.lip_head, net.audio_detail) for p in part.parameters()}
        return [p for p in net.parameters() if id(p) not in hearing]

    def adversaries(self) -> list[nn.Parameter]:
        """The parameters of discriminator and statistics network."""
        return [*self.objective.discriminator.parameters(), *self.objective.statistics.parameters()]

    def _visemes(self, windows: Tensor, classes: Tensor) -> dict[str, Tensor]:
        return {"visemes": F.cross_entropy(self.viseme_head(self.generator.audio_encoder.window(windows)), classes)}

    def _sound(self, windows: Tensor, lips: Tensor, clip_mean_lips: Tensor) -> dict[str, Tensor]:
        net, true = self.generator, (lips - clip_mean_lips) / LIP_UNIT
        heard = net.lip_head(net.audio_encoder(windows)).unflatten(1, lips.shape[1:])
        return {"audio_lip": lip_shape_loss(heard, true), "neutral_lip": lip_shape_loss(net.photo_lips(lips), true)}

    def _rollout(self, batch: Batch, rate: Tensor, from_real: Tensor, given: Tensor, hears: bool) -> Generated:
        return self.rollout(batch, rate, from_real, given, hears)

    def _adversaries(self, batch: Batch, made: Generated) -> dict[str, Tensor]:
        return self.objective.adversary_terms(batch, made)


class EMA:
    """Exponential moving average of the generator's weights; what is published.

    Args:
        generator: the network to follow.
        decay: weight of the past.
        random: the weights are random, and soon to be forgotten: `decay` is reached gradually.
    """

    def __init__(self, generator: Generator, decay: float, random: bool = True) -> None:
        self.network = copy.deepcopy(generator).requires_grad_(False)
        self.decay, self.updates = decay, 0 if random else WARM_EMA_UPDATES

    @torch.no_grad()
    def update(self, generator: Generator) -> None:
        """One step towards the present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        new = list(generator.parameters())
        torch._foreach_lerp_(list(self.network.parameters()), new, 1 - decay)
