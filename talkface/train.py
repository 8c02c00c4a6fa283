"""`talkface train`: the paper's training, in lessons, on any number of devices, resumable to the last bit on CPU.

To resume, run the same command again: the newest whole checkpoint in the run's folder is taken up. Every random draw
follows from the seed and the step, so a stopped and resumed run computes what one run would have computed.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from talkface.data.augment import as_float, distort_sound, recolour
from talkface.data.batches import ClipBatches, FrameBatch, ahead
from talkface.data.reader import open_dataset
from talkface.data.visemes import VisemeBatches
from talkface.device import pick_device
from talkface.errors import TalkfaceError
from talkface.model.attention import attention_rate
from talkface.model.checkpoint import newest_checkpoint, save_checkpoint, save_network
from talkface.model.networks import Average, Networks
from talkface.model.presets import Stage, TrainConfig
from talkface.model.samples import sample_sheet
from talkface.runlog import RunLog

EXPLODED = 1e4  # a loss beyond this is no longer a loss
WARM_UP = 100  # steps


@dataclass(frozen=True)
class TrainOptions:
    """Where and how long to train; what is learned is said by TrainConfig."""

    data: tuple[str, ...]
    """Names (or folders) of preprocessed data sets; their split "train" is used."""
    out: Path
    """Folder of the run: checkpoints, log.jsonl, samples, generator.safetensors."""
    split: str = "train"
    """Which split to learn from."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    minutes: float | None = None
    """Stop (with a checkpoint) after so long; None: when all steps are done."""
    checkpoint_minutes: float = 4.0
    """Between two checkpoints."""
    checkpoint_steps: int | None = None
    """A checkpoint every so many steps besides."""
    keep: int = 3
    """Newest checkpoints to keep."""
    sample_steps: int = 500
    """Between two sample pictures."""
    log_steps: int = 20
    """Between two lines of the log."""
    workers: int = 2
    """Threads that decode frames."""
    compile: bool = False
    """torch.compile the generator: pays on GPUs in runs of more than a few minutes."""
    init: Path | None = None
    """Weights file of a generator to start from in place of random weights."""


@dataclass
class Step:
    """What `on_step` is told."""

    lesson: str
    step: int
    """Steps done, all stages counted."""
    total: int
    losses: dict[str, float]
    frames_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Report:
    """What a call of `train` did."""

    out: Path
    step: int
    total: int
    finished: bool
    generator: Path
    seconds: float


def train(options: TrainOptions, config: TrainConfig, on_step: Callable[[Step], None] | None = None) -> Report:
    """Trains until all stages are done, time is up, or SIGINT/SIGTERM asks for an end; a checkpoint is left each time.

    Raises:
        TalkfaceError: missing data, a run folder of another configuration, or a loss that is not finite.
    """
    with Run(options, config) as run:
        begun = time.monotonic()
        for stage, first in run.stages_left():
            for batch in run.batches(stage, first):
                losses = run.learn(stage, batch)
                run.after_step(stage, losses, on_step)
                if run.must_stop(begun):
                    break
            if run.must_stop(begun):
                break
            run.end_stage()
        run.checkpoint()
        finished = run.step == config.total_steps
        return Report(options.out, run.step, config.total_steps, finished, run.weights, time.monotonic() - begun)


class Run:
    """The state of a training run, and its files."""

    def __init__(self, options: TrainOptions, config: TrainConfig) -> None:
        self.options, self.config = options, config
        self.rank, self.world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        self.device = _device(options.device)
        torch.manual_seed(config.seed)
        self.networks = Networks(config).to(self.device)
        if options.init:
            from talkface.model.checkpoint import load_generator

            self.networks.generator.load_state_dict(load_generator(options.init).state_dict())
        self.average = Average(self.networks.generator, config.ema)
        self.adversary_optimiser = torch.optim.AdamW(
            self.networks.adversaries(), config.adversaries_learning_rate, (0.5, 0.99), fused=False
        )
        self.optimiser: torch.optim.Optimizer | None = None
        self.step, self.stage_state, self.stopping = 0, None, False
        datasets = [open_dataset(name, options.split) for name in options.data]
        shape = config.generator
        self.clips = ClipBatches(datasets, shape.window, shape.audio_context, config.seed, options.workers)
        self.weights = options.out / "generator.safetensors"
        self._resume()
        self.log = RunLog(options.out, self.step) if self.rank == 0 else None
        self.saved, self.timer, self.frames_done = time.monotonic(), time.monotonic(), 0
        self.together: Any = self.networks
        if self.world > 1:
            self.together = DistributedDataParallel(self.networks, find_unused_parameters=True)
        if options.compile:
            self.networks.generator.step = torch.compile(self.networks.generator.step)

    def __enter__(self) -> Run:
        self._handlers = {s: signal.signal(s, self._stop) for s in (signal.SIGINT, signal.SIGTERM)} if _main() else {}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self.log:
            self.log.close()
        if self.world > 1:
            distributed.destroy_process_group()

    def stages_left(self) -> Iterator[tuple[Stage, int]]:
        """The stages that are not done, each with the step (within it) to begin at."""
        begin = 0
        for stage in self.config.stages:
            if self.step < begin + stage.steps:
                self._prepare(stage)
                yield stage, self.step - begin
                if self.step < begin + stage.steps:
                    return
            begin += stage.steps

    def batches(self, stage: Stage, first: int) -> Iterator[Any]:
        """The batches of a stage from its step `first` on, prepared ahead."""
        offset = self.step - first
        if stage.lesson == "visemes":
            speech = VisemeBatches(None, self.config.generator.audio_context, self.config.seed)
            make: Callable[[int], Any] = lambda step: speech.batch(step, stage.batch)  # noqa: E731
        elif stage.lesson == "sound":
            make = lambda step: self.clips.sound(step, stage.batch)  # noqa: E731
        else:
            make = lambda step: self.clips.frames(step, stage.batch, stage.rollout)  # noqa: E731
        return ahead(make, offset + first, offset + stage.steps)

    def learn(self, stage: Stage, batch: Any) -> dict[str, Tensor]:
        """One step of every network that this stage trains; the loss terms by name."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = stage.learning_rate * self._pace(stage)
        self.networks.train()
        if stage.lesson in ("visemes", "sound"):
            return self._listen(stage, batch)
        return self._speak(stage, self._prepared(batch))

    def after_step(self, stage: Stage, losses: dict[str, Tensor], on_step: Callable[[Step], None] | None) -> None:
        """Averages, counts, checks, logs, saves."""
        self.average.update(self.networks.generator)
        self.step += 1
        self.frames_done += stage.batch * stage.rollout
        if self.step % self.options.log_steps == 0 or self.device.type == "cpu":
            values = {name: value.item() for name, value in losses.items()}  # the GPU is waited for here
            self._check(values)
            if self.step % self.options.log_steps == 0 and self.rank == 0:
                self._report(stage, values, on_step)
        due = self.options.checkpoint_steps and self.step % self.options.checkpoint_steps == 0
        if due or time.monotonic() - self.saved > 60 * self.options.checkpoint_minutes:
            self.checkpoint()
        if self.step % self.options.sample_steps == 0 and self.rank == 0 and stage.lesson in ("lips", "full"):
            batch = self.clips.frames(0, 4, 5)
            sheet = sample_sheet(self.average.network, batch, self.device, stage.lesson == "lips")
            self.log.picture("sample", sheet, self.step)

    def must_stop(self, begun: float) -> bool:
        """Whether time is up or a signal asked for an end; one answer for all processes."""
        late = self.options.minutes is not None and time.monotonic() - begun > 60 * self.options.minutes
        answer = torch.tensor(float(late or self.stopping), device=self.device)
        if self.world > 1:
            distributed.all_reduce(answer, distributed.ReduceOp.MAX)
        return bool(answer)

    def end_stage(self) -> None:
        """The next stage starts with a fresh optimiser."""
        self.optimiser = None

    def checkpoint(self) -> None:
        """Writes what is needed to resume, and the weights as they are now, atomically."""
        self.saved = time.monotonic()
        if self.rank:
            return
        state = {
            "networks": self.networks.state_dict(),
            "average": self.average.network.state_dict(),
            "updates": self.average.updates,
            "optimiser": self.optimiser.state_dict() if self.optimiser else None,
            "adversary_optimiser": self.adversary_optimiser.state_dict(),
        }
        save_checkpoint(self.options.out, self.step, state, self.config, self.options.keep)
        about = {"step": self.step, "of": self.config.total_steps, "data": list(self.options.data)}
        save_network(self.average.network, "generator", self.weights, about=about)
        save_network(
            self.networks.objective.statistics, "estimator", self.options.out / "estimator.safetensors", about=about
        )

    def _resume(self) -> None:
        found = newest_checkpoint(self.options.out, self.config, self.device)
        if not found:
            return
        self.step, state = found
        self.networks.load_state_dict(state["networks"])
        self.average.network.load_state_dict(state["average"])
        self.average.updates = state["updates"]
        self.adversary_optimiser.load_state_dict(state["adversary_optimiser"])
        self.stage_state = state["optimiser"]

    def _prepare(self, stage: Stage) -> None:
        self.optimiser = torch.optim.AdamW(self.networks.learners(stage.lesson), stage.learning_rate, (0.9, 0.99))
        if self.stage_state:
            self.optimiser.load_state_dict(self.stage_state)
        self.stage_state = None

    def _stage_progress(self, stage: Stage) -> float:
        begin = sum(s.steps for s in self.config.stages[: self.config.stages.index(stage)])
        return (self.step - begin) / stage.steps

    def _pace(self, stage: Stage) -> float:
        """Warm-up, then half a cosine down to a twentieth."""
        progress = self._stage_progress(stage)
        warm = min(1.0, (progress * stage.steps + 1) / min(WARM_UP, max(stage.steps // 10, 1)))
        return warm * (0.05 + 0.475 * (1 + math.cos(math.pi * progress)))

    def _prepared(self, batch: FrameBatch) -> FrameBatch:
        """Distorted as the joint batch is, then this process's share."""
        batch = as_float(batch.to(self.device))
        if self.config.augment:
            batch = recolour(batch)
            batch.windows = distort_sound(batch.windows)
        return batch.part(self.rank, self.world) if self.world > 1 else batch

    def _listen(self, stage: Stage, batch: Any) -> dict[str, Tensor]:
        windows, target = batch if stage.lesson == "visemes" else (batch.windows, batch.lips)
        windows = distort_sound(windows) if self.config.augment else windows
        size = len(windows) // self.world
        mine = slice(self.rank * size, (self.rank + 1) * size)
        terms = self.together(stage.lesson, windows[mine].to(self.device), target[mine].to(self.device))
        self._descend(self.optimiser, sum(terms.values()))
        return self._joint(terms)

    def _speak(self, stage: Stage, batch: FrameBatch) -> dict[str, Tensor]:
        """The step of the GAN: generator first, its adversaries frozen; then they, on the same frames."""
        adversaries = stage.lesson == "full"
        rate, from_real = self._drawn(stage, len(batch.photo))
        with self._autocast():
            made = self.together("rollout", batch, rate, from_real, stage.lesson == "lips")
            terms = self.networks.objective.generator_terms(batch, made, adversaries)
        self._descend(self.optimiser, sum(terms.values()))
        if adversaries:
            with self._autocast():
                against = self.together("adversaries", batch, made)
            if against:
                self._descend(self.adversary_optimiser, sum(against.values()))
                terms |= against
        return self._joint(terms)

    def _drawn(self, stage: Stage, count: int) -> tuple[Tensor, Tensor]:
        """Attention rates by the schedule (paper 3.3), and which sequences start from a real frame."""
        low, high = (1.0, 1.0)
        if self.config.attention_schedule and stage.lesson == "full":
            low, high = attention_rate(self._stage_progress(stage))
        whole = torch.rand(2, count * self.world)[:, self.rank * count : (self.rank + 1) * count]
        rate = low + (high - low) * whole[0]
        return tuple(x.to(self.device)[:, None, None, None] for x in (rate, whole[1] < 0.4))

    def _descend(self, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        clip_grad_norm_(parameters, self.config.clip_norm)
        optimiser.step()

    def _joint(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Terms averaged over the processes."""
        detached = {name: value.detach().float() for name, value in terms.items()}
        if self.world > 1:
            row = torch.stack(list(detached.values()))
            distributed.all_reduce(row)
            detached = dict(zip(detached, row / self.world, strict=True))
        return detached

    def _autocast(self) -> contextlib.AbstractContextManager:
        return torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else contextlib.nullcontext()

    def _check(self, values: dict[str, float]) -> None:
        bad = {name: value for name, value in values.items() if not abs(value) < EXPLODED}
        if bad:
            name, value = next(iter(bad.items()))
            raise TalkfaceError(
                f"Training stopped at step {self.step}: the loss {name!r} is {value}.",
                f"The last good checkpoint is in {self.options.out}. Run again with a smaller learning rate.",
            )

    def _report(self, stage: Stage, values: dict[str, float], on_step: Callable[[Step], None] | None) -> None:
        now = time.monotonic()
        speed = self.frames_done / max(now - self.timer, 1e-9)
        seconds = (now - self.timer) / self.options.log_steps
        left = seconds * (self.config.total_steps - self.step)
        self.timer, self.frames_done = now, 0
        told = Step(stage.lesson, self.step, self.config.total_steps, values, speed, left)
        self.log.line(told)
        if on_step:
            on_step(told)

    def _stop(self, *_: object) -> None:
        self.stopping = True


def _main() -> bool:
    import threading

    return threading.current_thread() is threading.main_thread()


def _device(name: str) -> torch.device:
    """The device of this process; joins the others where `torchrun` started several."""
    device = pick_device(name)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device
