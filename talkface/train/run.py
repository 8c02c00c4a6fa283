"""A training run: its data, its files, its clock. The arithmetic is in `learner`."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from talkface.data.augment import as_float
from talkface.data.batches import ClipBatches, ahead
from talkface.data.reader import open_dataset
from talkface.data.visemes import VisemeBatches
from talkface.errors import TalkfaceError
from talkface.model.checkpoint import load_generator, save_network
from talkface.train.checkpoint import newest_checkpoint, save_checkpoint
from talkface.train.learner import Learner, NotFinite
from talkface.train.log import RunLog
from talkface.train.options import Diverged, StageProgress, Step, TrainOptions
from talkface.train.presets import TrainConfig
from talkface.train.processes import join
from talkface.train.samples import sample_sheet

EXPLODED = 1e4  # a loss beyond this is no longer a loss
ASK_STEPS = 10  # between two questions whether another process wants to stop
RELATIVE_STEP_COST = {
    "visemes": 1.0,
    "sound": 4.0,
    "lips": 150.0,
    "full": 500.0,
}  # of one frame or window; for the time left


class Run:
    """The state of a training run, and its files.

    Args:
        options: where and how long.
        config: what is learned.
        begun: when, by `time.monotonic`.
    """

    def __init__(self, options: TrainOptions, config: TrainConfig, begun: float) -> None:
        self.options, self.config, self.begun = options, config, begun
        self.processes = join(options.device, config)
        self.leads, self.device = self.processes.rank == 0, self.processes.device
        self.step, self.stage_state, self.stopping, self.saved_step = 0, None, False, None
        datasets = [open_dataset(name, options.split) for name in options.data]
        shape = config.generator
        self.clips = ClipBatches(
            datasets, shape.window, shape.audio_offsets, config.seed, options.workers, mirror=config.augment
        )
        self.learner = Learner(config, self.processes)
        self.weights = options.out / "generator.safetensors"
        self._resume()
        self.learner.join(options.compile)
        self.log = RunLog(options.out, self.step) if self.leads else None
        self.saved = time.monotonic()
        self._restart_clock()

    def __enter__(self) -> Run:
        main = threading.current_thread() is threading.main_thread()
        self.handlers = {s: signal.signal(s, self._stop) for s in (signal.SIGINT, signal.SIGTERM)} if main else {}
        return self

    def __exit__(self, *error: object) -> None:
        self._restore_handlers()
        if self.log:
            self.log.close()
        self.processes.leave()

    def stages_left(self) -> Iterator[StageProgress]:
        """The stages that are not done, in order."""
        begin = 0
        for stage in self.config.stages:
            if self.step < begin + stage.steps:
                self.learner.begin(stage, self.stage_state if self.step > begin else None)
                yield StageProgress(stage, begin)
            begin += stage.steps

    def batches(self, place: StageProgress) -> Iterator[Any]:
        """The batches of a stage that are left, prepared ahead."""
        stage, config = place.stage, self.config
        if stage.lesson == "visemes":
            speech = VisemeBatches(None, config.seed)
            make: Callable[[int], Any] = lambda step: speech.batch(step, stage.batch)  # noqa: E731
        elif stage.lesson == "sound":
            make = lambda step: self.clips.sound(step, stage.batch)  # noqa: E731
        else:
            self._fill_memory()
            make = lambda step: self.clips.frames(step, stage.batch, stage.rollout, self.processes.part)  # noqa: E731
        self._restart_clock()
        return ahead(make, self.step, place.begin + stage.steps)

    def learn(self, place: StageProgress, batch: Any) -> dict[str, Tensor]:
        """One step of learning; the loss terms by name.

        Raises:
            Diverged: a loss is no number.
        """
        try:
            return self.learner.learn(place, self.step, batch)
        except NotFinite as error:
            raise self._diverged(str(error)) from error

    def after_step(
        self, place: StageProgress, losses: dict[str, Tensor], on_step: Callable[[Step], None] | None
    ) -> None:
        """Averages, counts, checks, logs, saves."""
        options, lesson = self.options, place.stage.lesson
        self.learner.average.update(self.learner.networks.generator)
        self.step += 1
        due = self._checkpoint_due()
        told = self.step % options.log_steps == 0
        if told or due or self.device.type == "cpu":
            values = {name: value.item() for name, value in losses.items()}  # the GPU is waited for here
            self._check(values)
            if told and self.leads:
                self._report(place, values, on_step)
        if due:
            self.checkpoint()
        if self.leads and self.step % options.sample_steps == 0 and lesson in ("lips", "full"):
            batch = as_float(self.clips.frames(0, 4, 5))
            sheet = sample_sheet(self.learner.average.network, batch, self.device, lesson == "lips")
            self.log.picture("sample", sheet, self.step)

    def must_stop(self) -> bool:
        """Whether time is up or a signal asked for an end; one answer for all processes."""
        late = self.options.minutes is not None and time.monotonic() - self.begun > 60 * self.options.minutes
        if self.processes.world > 1 and self.step % ASK_STEPS:
            return False
        return self.processes.any(late or self.stopping)

    def checkpoint(self) -> None:
        """Writes what is needed to resume, and the weights as they are now, whole or not at all.

        Raises:
            TalkfaceError: a weight is not a number, or the disk is full; the last good checkpoint stays.
        """
        self.saved = time.monotonic()
        if not self.leads or self.saved_step == self.step:
            return
        if not self.learner.finite():
            raise self._diverged("a weight is not a number")
        out = self.options.out
        state = self.learner.state_dict() | {"learned_from": self.options.learned_from}
        save_checkpoint(out, self.step, state, self.config, self.options.keep)
        about = {"step": self.step, "of": self.config.total_steps, "data": list(self.options.data)}
        save_network(self.learner.average.network, "generator", self.weights, about=about)
        statistics = self.learner.networks.objective.statistics
        save_network(statistics, "estimator", out / "estimator.safetensors", about=about)
        self.saved_step = self.step

    def _resume(self) -> None:
        found = newest_checkpoint(self.options.out, self.config, self.device)
        if found:
            self.step, state = found
            self._check_same_clips(state["learned_from"])
            self.learner.load_state_dict(state)
            self.stage_state = state["optimiser"]
        elif self.options.init:
            weights = load_generator(self.options.init).state_dict()
            try:
                self.learner.start_from(weights)
            except RuntimeError as error:
                raise TalkfaceError(
                    f"--init {self.options.init} is a generator of another shape than the preset's.",
                    "Use the preset that it was trained with.",
                ) from error

    def _check_same_clips(self, before: str) -> None:
        if before != self.options.learned_from:
            raise TalkfaceError(
                f"{self.options.out} holds a run on {before}, not on {self.options.learned_from}.",
                "Give another --out, or the same --data and --split as before.",
            )

    def _fill_memory(self) -> None:
        """All pictures onto the device, where that is wanted and they fit into half of what is free."""
        wanted, on_gpu = self.options.in_memory, self.device.type == "cuda"
        if self.clips.pictures is not None or wanted == "no" or (wanted == "auto" and not on_gpu):
            return
        needed, free = self.clips.memory_needed(), _free_memory(self.device)
        if needed <= free / 2:
            self.clips.keep_in_memory(self.device)
        elif wanted == "yes":
            raise TalkfaceError(
                f"--in-memory yes: the pictures take {needed / 2**30:.1f} GiB, half of the free memory is "
                f"{free / 2**31:.1f} GiB.",
                "Leave --in-memory out; the pictures are then decoded when they are needed.",
            )

    def _checkpoint_due(self) -> bool:
        by_steps = self.options.checkpoint_steps and self.step % self.options.checkpoint_steps == 0
        return bool(by_steps) or time.monotonic() - self.saved > 60 * self.options.checkpoint_minutes

    def _check(self, values: dict[str, float]) -> None:
        bad = {name: value for name, value in values.items() if not abs(value) < EXPLODED}
        if bad:
            name, value = next(iter(bad.items()))
            raise self._diverged(f"the loss {name!r} is {value}")

    def _diverged(self, what: str) -> Diverged:
        return Diverged(
            f"Training stopped at step {self.step}: {what}. The last good checkpoint is in {self.options.out}.",
            f"Go on from its weights with a smaller learning rate: --init {self.weights} --out ANOTHER_FOLDER "
            "--set full.learning_rate=5e-5",
        )

    def _report(self, place: StageProgress, values: dict[str, float], on_step: Callable[[Step], None] | None) -> None:
        now, stage = time.monotonic(), place.stage
        seconds = (now - self.clock) / (self.step - self.clock_step)
        told = Step(
            lesson=stage.lesson,
            step=self.step,
            total=self.config.total_steps,
            losses=values,
            frames_per_second=stage.batch * stage.rollout / max(seconds, 1e-9),
            seconds_left=self._seconds_left(place, seconds, now),
        )
        self._restart_clock()
        self.log.line(told)
        if on_step:
            on_step(told)

    def _seconds_left(self, place: StageProgress, seconds: float, now: float) -> float:
        """From the pace of this stage, and what frames of the later ones cost beside its own."""
        begin, left = 0, 0.0
        here = RELATIVE_STEP_COST[place.stage.lesson] * place.stage.batch * place.stage.rollout
        for stage in self.config.stages:
            steps = stage.steps - min(max(self.step - begin, 0), stage.steps)
            left += steps * seconds * RELATIVE_STEP_COST[stage.lesson] * stage.batch * stage.rollout / here
            begin += stage.steps
        if self.options.minutes is None:
            return left
        return min(left, max(self.begun + 60 * self.options.minutes - now, 0.0))

    def _restart_clock(self) -> None:
        self.clock, self.clock_step = time.monotonic(), self.step

    def _stop(self, *_: object) -> None:
        """The first signal ends the run with a checkpoint after the step; a second one ends it at once."""
        self.stopping = True
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.handlers = {}


def _free_memory(device: torch.device) -> int:
    """Bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0
