"""The arithmetic of a training step: batches in, better networks and named losses out. Knows no files."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from talkface.data.augment import as_float, distort_sound, recolour
from talkface.data.batches import FrameBatch
from talkface.model.attention import attention_rate
from talkface.train.networks import EMA, Networks
from talkface.train.options import StageProgress
from talkface.train.presets import Stage, TrainConfig
from talkface.train.processes import Processes

WARM_UP = 100  # steps
FROM_REAL = 0.25  # share of the sequences that begin with a real frame before them, not with the photo


class NotFinite(Exception):
    """A loss is no number: nothing can be learned from it. Says which loss."""


class Learner:
    """The networks, their optimisers, and what one step does to them.

    Args:
        config: what is learned.
        processes: this process and its device.
    """

    def __init__(self, config: TrainConfig, processes: Processes) -> None:
        self.config, self.processes, self.device = config, processes, processes.device
        torch.manual_seed(config.seed)
        self.networks = Networks(config).to(self.device)
        self.average = EMA(self.networks.generator, config.ema)
        self.adversary_optimiser = torch.optim.AdamW(
            self.networks.adversaries(), config.adversaries_learning_rate, (0.5, 0.99)
        )
        self.optimiser: torch.optim.Optimizer | None = None
        self.ddp_networks: nn.Module = self.networks

    def start_from(self, generator: dict[str, Tensor]) -> None:
        """Takes these weights of a generator in place of random ones."""
        self.networks.generator.load_state_dict(generator)
        self.average = EMA(self.networks.generator, self.config.ema, random=False)

    def join(self, compiled: bool) -> None:
        """Once the weights are in place: learn together with the other processes, and compile the generator."""
        if self.processes.world > 1:
            self.ddp_networks = DistributedDataParallel(self.networks, find_unused_parameters=True)
        if compiled:
            self.networks.generator.step = torch.compile(self.networks.generator.step)

    def begin(self, stage: Stage, state: dict[str, Any] | None) -> None:
        """A stage starts with a fresh optimiser, or with the state that a checkpoint inside it has kept.

        The statistics network begins with what the generator has learned to see and hear until then.
        """
        if stage.lesson == "full" and not self.adversary_optimiser.state:
            self.networks.objective.statistics.start_from(self.networks.generator)
        self.optimiser = torch.optim.AdamW(self.networks.learners(stage.lesson), stage.learning_rate, (0.9, 0.99))
        if state:
            self.optimiser.load_state_dict(state)

    def learn(self, place: StageProgress, step: int, batch: Any) -> dict[str, Tensor]:
        """One step of every network that the stage trains; the loss terms by name, averaged over the processes.

        Raises:
            NotFinite: a loss is no number. Found out at once on a CPU, where the gradient of a warp by NaN would crash.
        """
        torch.manual_seed(self.config.seed * 1_000_003 + step)
        progress = place.progress(step)
        for group in self.optimiser.param_groups:
            group["lr"] = place.stage.learning_rate * lr_scale(progress, place.stage.steps)
        self.networks.train()
        if place.stage.lesson in ("visemes", "sound"):
            terms = self._audio_step(place.stage, batch)
        else:
            terms = self._gan_step(place.stage, progress, self._prepared(batch))
        return self.processes.mean(terms)

    def finite(self) -> bool:
        """Whether every weight is a number."""
        return all(bool(torch.isfinite(parameter).all()) for parameter in self.networks.parameters())

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on."""
        return {
            "networks": self.networks.state_dict(),
            "average": self.average.network.state_dict(),
            "updates": self.average.updates,
            "optimiser": self.optimiser.state_dict() if self.optimiser else None,
            "adversary_optimiser": self.adversary_optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a state, but for the stage's optimiser: see `begin`."""
        self.networks.load_state_dict(state["networks"])
        self.average.network.load_state_dict(state["average"])
        self.average.updates = state["updates"]
        self.adversary_optimiser.load_state_dict(state["adversary_optimiser"])

    def _prepared(self, batch: FrameBatch) -> FrameBatch:
        """This process's share, distorted as it would be in the joint batch."""
        batch = as_float(batch.to(self.device))
        if self.config.augment:
            batch = recolour(batch, self.processes.part)
            batch.windows = distort_sound(batch.windows, self.processes.part)
        return batch

    def _audio_step(self, stage: Stage, batch: Any) -> dict[str, Tensor]:
        windows, *targets = (self.processes.mine(part) for part in batch)
        windows = distort_sound(windows, self.processes.part) if self.config.augment else windows
        self._own_dropout()
        terms = self.ddp_networks(stage.lesson, *(part.to(self.device) for part in (windows, *targets)))
        self._optimizer_step(self.optimiser, terms)
        return terms

    def _gan_step(self, stage: Stage, progress: float, batch: FrameBatch) -> dict[str, Tensor]:
        """The step of the GAN: generator first, its adversaries frozen; then they, on the same frames."""
        adversaries = stage.lesson == "full"
        rate, from_real, given = self._drawn(stage, progress, len(batch.identity_frame))
        self._own_dropout()
        with self._autocast():
            made = self.ddp_networks("rollout", batch, rate, from_real, given[..., 0], stage.lesson != "lips")
            terms = self.networks.objective.generator_terms(batch, made, adversaries)
        self._optimizer_step(self.optimiser, terms)
        if adversaries:
            with self._autocast():
                against = self.ddp_networks("adversaries", batch, made)
            if against:
                self._optimizer_step(self.adversary_optimiser, against)
                terms |= against
        return terms

    def _drawn(self, stage: Stage, progress: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Attention rates by the schedule (paper 3.3); which sequences start from a real frame; which get true lips."""
        low, high = (1.0, 1.0)
        if self.config.attention_schedule and stage.lesson == "full":
            low, high = attention_rate(progress)
        rate, start, given = (self.processes.mine(row) for row in torch.rand(3, count * self.processes.world))
        rate, share = low + (high - low) * rate, self.config.teacher_forcing if stage.lesson == "full" else 1.0
        return tuple(x.to(self.device)[:, None, None, None] for x in (rate, start < FROM_REAL, given < share))

    def _own_dropout(self) -> None:
        """What was drawn so far is the same in all processes; dropout differs."""
        if self.processes.rank:
            torch.manual_seed(torch.initial_seed() + (self.processes.rank << 40))

    def _optimizer_step(self, optimiser: torch.optim.Optimizer, terms: dict[str, Tensor]) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss = sum(terms.values())
        if self.device.type == "cpu" and not torch.isfinite(loss):
            bad = next(name for name, value in terms.items() if not torch.isfinite(value))
            raise NotFinite(f"the loss {bad!r} is {terms[bad].item()}")
        loss.backward()
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        clip_grad_norm_(parameters, self.config.clip_norm)
        optimiser.step()

    def _autocast(self) -> contextlib.AbstractContextManager:
        return torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else contextlib.nullcontext()


def lr_scale(progress: float, steps: int) -> float:
    """The learning rate's share of its peak: a warm-up, then half a cosine down to a twentieth."""
    warm = min(1.0, (progress * steps + 1) / min(WARM_UP, max(steps // 10, 1)))
    return warm * (0.05 + 0.475 * (1 + math.cos(math.pi * progress)))
