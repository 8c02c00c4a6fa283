"""A training run: its data, its files, its clock. What a stage is made of is in `curriculum`."""

from __future__ import annotations

import copy
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from talkface.config import SPLITS
from talkface.data.reader import ClipDataset, open_dataset
from talkface.data.visemes import find_visemes
from talkface.device import cores
from talkface.errors import TalkfaceError
from talkface.model.checkpoint import load_estimator, load_generator, save_network
from talkface.train.checkpoint import newest_checkpoint, save_checkpoint
from talkface.train.curriculum import Curriculum, Networks, RunningStage
from talkface.train.log import RunLog
from talkface.train.optimizing import NotFinite
from talkface.train.options import Diverged, StageProgress, Step, TrainOptions
from talkface.train.presets import Stage, TrainConfig
from talkface.train.processes import join

STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
EXPLODED = 1e4  # a loss beyond this is taken for divergence
ASK_STEPS = 10  # between two questions whether another process wants to stop
# Cost of a frame (a moment of sound) in each stage beside the others, for the time left.
RELATIVE_STEP_COST = {"visemes": 1.0, "lips": 1.0, "mouth": 60.0, "estimator": 20.0, "full": 150.0}


class _Steps(Dataset):
    """The joint batch of each step of a stage, for a DataLoader."""

    def __init__(self, batch: Callable[[int], Any], count: int) -> None:
        self.batch, self.count = batch, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, step: int) -> Any:
        return self.batch(step)


class Run:
    """The state of a training run, and its files.

    Args:
        options: where and how long.
        config: what is learned.
        begun: when, by `time.monotonic`.
        on_note: see `talkface.train.train`.
    """

    def __init__(
        self, options: TrainOptions, config: TrainConfig, begun: float, on_note: Callable[[str], None]
    ) -> None:
        self.options, self.config, self.begun, self.on_note = options, config, begun, on_note
        self.processes = join(options.device, config)
        self.leads, self.device = self.processes.rank == 0, self.processes.device
        self.step, self.stopping = 0, False
        self.stage_state: dict[str, Any] | None = None
        self.saved_step: int | None = None
        self.best: tuple[float, dict[str, Tensor]] | None = None
        datasets, synthetic = _training_sets(options)
        self.networks = Networks.build(config, self.device)
        validation = _validation_sets(options)
        self.curriculum = Curriculum(
            config,
            self.networks,
            datasets,
            validation,
            synthetic,
            options.workers,
            self.device,
            self.processes.synchronise,
        )
        self.weights = options.out / "generator.safetensors"
        self._resume()
        if options.compile:
            generator = self.networks.generator
            for part in (generator.identity_encoder, generator.image_encoder, generator.frame_decoder):
                part.compile()  # of this network alone: averaged copies stay as they are
        self.log = RunLog(options.out, self.step) if self.leads else None
        self.running: RunningStage | None = None
        self.saved = time.monotonic()
        self._restart_clock()

    def __enter__(self) -> Run:
        main = threading.current_thread() is threading.main_thread()
        numbers = [getattr(signal, name) for name in STOP_SIGNALS if main and hasattr(signal, name)]  # Windows: no HUP
        heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]  # nohup ignores SIGHUP
        self.handlers = {number: signal.signal(number, self._stop) for number in heeded}
        return self

    def __exit__(self, *error: object) -> None:
        self._restore_handlers()
        if self.log:
            self.log.close()
        self.processes.leave()

    def stages_left(self) -> Iterator[StageProgress]:
        """The stages that are not done, in order, each built when it begins."""
        begin = 0
        for stage in self.config.stages:
            if self.step < begin + stage.steps:
                state = self.stage_state if self.step > begin else None
                torch.manual_seed(self._seed(begin) + (1 << 32))  # of its adversaries: the same in all processes
                self.running = self.curriculum.build(stage, state is None)
                if state is not None:
                    self.running.trainer.load_state_dict(state)
                else:
                    self.best = None
                yield StageProgress(stage, begin)
            begin += stage.steps

    def batches(self, place: StageProgress) -> Iterator[Any]:
        """The joint batches of a stage that are left, prepared in the background."""
        assert self.running is not None
        first, count = self.step - place.begin, place.stage.steps
        workers = min(self.options.workers, cores()) if self.device.type != "mps" else 0
        loader = DataLoader(
            _Steps(self.running.batch, count),
            batch_size=None,
            sampler=range(first, count),
            num_workers=min(workers, 1) if place.stage.name in ("visemes", "lips") else workers,
            multiprocessing_context="fork" if workers and hasattr(os, "fork") else None,
            pin_memory=self.device.type == "cuda",
        )
        self._restart_clock()
        return iter(loader)

    def learn(self, place: StageProgress, batch: Any) -> dict[str, Tensor]:
        """One step of learning; the loss terms by name.

        Raises:
            Diverged: a loss is NaN or infinite.
        """
        assert self.running is not None
        torch.manual_seed(self._seed(self.step) + (self.processes.rank << 40))
        try:
            trainer, inside = self.running.trainer, self.step - place.begin
            losses = trainer.step(inside, place.progress(self.step), self.processes.share(batch))
        except NotFinite as error:
            raise self._diverged(str(error), place.stage) from error
        return self.processes.mean(losses)

    def after_step(
        self, place: StageProgress, losses: dict[str, Tensor], on_step: Callable[[Step], None] | None
    ) -> None:
        """Counts, checks, logs, validates, ends the stage, saves."""
        self.step += 1
        due, logged = self._checkpoint_due(), self.step % self.options.log_steps == 0
        if logged or due or self.device.type == "cpu":
            values = {name: value.item() for name, value in losses.items()}  # the GPU is waited for here
            self._check(values, place.stage)
            if logged and self.leads:
                self._report(place, values, on_step)
        inside = self.step - place.begin
        if inside % self.options.validation_steps == 0 or inside == place.stage.steps:
            self._validate(place)
        if inside == place.stage.steps:
            self._finish_stage()
        if due:
            self.checkpoint(place.stage)

    def must_stop(self) -> bool:
        """Whether time is up or a signal asked for an end; one answer for all processes."""
        late = self.options.minutes is not None and time.monotonic() - self.begun > 60 * self.options.minutes
        if self.processes.world > 1 and self.step % ASK_STEPS:
            return False
        return self.processes.any(late or self.stopping)

    def checkpoint(self, stage: Stage | None = None) -> None:
        """Writes what is needed to resume, and the weights as they are now, whole or not at all.

        Raises:
            TalkfaceError: a weight is not a number, or the disk is full; the last good checkpoint stays.
        """
        self.saved = time.monotonic()
        if not self.leads or self.saved_step == self.step:
            return
        networks = (self.networks.generator, self.networks.statistics)
        if not all(bool(torch.isfinite(p).all()) for network in networks for p in network.parameters()):
            raise self._diverged("a weight is not a number", stage or self._stage())
        out = self.options.out
        state = {
            "networks": self.networks.state_dict(),
            "stage": self.running.trainer.state_dict() if self.running else None,
            "best": self.best,
            "learned_from": self.options.learned_from,
        }
        save_checkpoint(out, self.step, state, self.config, self.options.keep)
        about = {"step": self.step, "of": self.config.total_steps, "data": list(self.options.data)}
        generator, statistics = self._published()
        save_network(generator, self.weights, about=about)
        save_network(statistics, out / "estimator.safetensors", about=about)
        self.saved_step = self.step

    def _published(self) -> tuple[torch.nn.Module, torch.nn.Module]:
        """Generator and statistics network with what the running stage would leave."""
        published = [self.networks.generator, self.networks.statistics]
        if not self.running:
            return published[0], published[1]
        weights = self._averaged()
        for index, network in enumerate(published):
            part = self.running.network
            names = [name for name, module in network.named_modules() if module is part]
            if names:
                published[index] = copy.deepcopy(network)
                target = published[index].get_submodule(names[0]) if names[0] else published[index]
                target.load_state_dict(weights)
        return published[0], published[1]

    def _averaged(self) -> dict[str, Tensor]:
        """The stage's best validated weights, else its present average."""
        assert self.running is not None
        return self.best[1] if self.best else self.running.trainer.ema.network.state_dict()

    def _finish_stage(self) -> None:
        """The averaged weights, the best of them by validation, take the place of the last ones."""
        assert self.running is not None
        self.running.network.load_state_dict(self._averaged())
        self.processes.take_over(self.running.network)
        self.running, self.best = None, None

    def _validate(self, place: StageProgress) -> None:
        """Figures on unseen people into the log; the best average so far is kept."""
        running = self.running
        if running is None or running.validate is None or not self.leads:
            return
        network = running.trainer.ema.network
        figures = running.validate(network)
        score = float(running.score(figures))
        if self.best is None or not score >= self.best[0]:  # a score that is not a number is replaced
            self.best = score, {name: tensor.clone() for name, tensor in network.state_dict().items()}
        assert self.log is not None
        self.log.validation(place.stage.name, self.step, figures)
        self._restart_clock()

    def _resume(self) -> None:
        found = newest_checkpoint(self.options.out, self.config, self.device, self.on_note)
        if found:
            self.step, state = found
            self.on_note(f"{self.options.out}: the run goes on at step {self.step} of {self.config.total_steps}.")
            self._check_same_clips(state["learned_from"])
            self.networks.load_state_dict(state["networks"])
            self.stage_state, self.best = state["stage"], state["best"]
            return
        if self.options.init:
            start_from(self.networks.generator, load_generator(self.options.init), f"--init {self.options.init}")
        if self.options.init_estimator:
            given = load_estimator(self.options.init_estimator)
            start_from(self.networks.statistics, given, f"--init-estimator {self.options.init_estimator}")

    def _check_same_clips(self, before: str) -> None:
        if before != self.options.learned_from:
            raise TalkfaceError(
                f"{self.options.out} holds a run on {before}, not on {self.options.learned_from}.",
                "Give another --out, or the same --data and --split as before.",
            )

    def _checkpoint_due(self) -> bool:
        by_steps = self.options.checkpoint_steps and self.step % self.options.checkpoint_steps == 0
        return bool(by_steps) or time.monotonic() - self.saved > 60 * self.options.checkpoint_minutes

    def _seed(self, step: int) -> int:
        """Of all random draws in the networks after `step` steps."""
        return self.config.seed * 1_000_003 + step

    def _check(self, values: dict[str, float], stage: Stage) -> None:
        bad = {name: value for name, value in values.items() if not abs(value) < EXPLODED}
        if bad:
            name, value = next(iter(bad.items()))
            raise self._diverged(f"the loss {name!r} is {value}", stage)

    def _diverged(self, what: str, stage: Stage) -> Diverged:
        rate = "estimator_learning_rate" if stage.name == "estimator" else "learning_rate"
        smaller = getattr(getattr(self.config, self.config.field_of(stage.name)), rate) / 4
        setting = f"--set {stage.name}.{rate}={smaller:g}"
        problem = f"Training stopped at step {self.step}, in stage {stage.name}: {what}."
        if not self.weights.is_file():
            return Diverged(f"{problem} No checkpoint was written before.", f"Use a smaller learning rate: {setting}")
        return Diverged(
            f"{problem} The last good checkpoint is in {self.options.out}.",
            "Go on from its weights with a smaller learning rate: "
            f"--init {self.weights} --out ANOTHER_FOLDER {setting}",
        )

    def _stage(self) -> Stage:
        """The stage that the last step belonged to."""
        done = 0
        for stage in self.config.stages:
            done += stage.steps
            if self.step <= done:
                return stage
        return self.config.stages[-1]

    def _report(self, place: StageProgress, values: dict[str, float], on_step: Callable[[Step], None] | None) -> None:
        now, stage = time.monotonic(), place.stage
        seconds = (now - self.clock) / max(self.step - self.clock_step, 1)
        frames = stage.batch * stage.rollout * stage.moments
        step = Step(
            stage=stage.name,
            step=self.step,
            total=self.config.total_steps,
            losses=values,
            frames_per_second=frames / max(seconds, 1e-9),
            seconds_left=self._seconds_left(place, seconds, now),
        )
        self._restart_clock()
        assert self.log is not None
        self.log.line(step)
        if on_step:
            on_step(step)

    def _seconds_left(self, place: StageProgress, seconds: float, now: float) -> float:
        """From the speed of this stage, and what frames of the later ones cost beside its own."""
        begin, left = 0, 0.0
        here = RELATIVE_STEP_COST[place.stage.name] * place.stage.batch * place.stage.rollout * place.stage.moments
        for stage in self.config.stages:
            steps = stage.steps - min(max(self.step - begin, 0), stage.steps)
            cost = RELATIVE_STEP_COST[stage.name] * stage.batch * stage.rollout * stage.moments
            left += steps * seconds * cost / here
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


def start_from(network: torch.nn.Module, given: torch.nn.Module, name: str) -> None:
    """Takes over weights.

    Raises:
        TalkfaceError: the networks differ in shape; `name` is the option and its file.
    """
    try:
        network.load_state_dict(given.state_dict())
    except RuntimeError as error:
        raise TalkfaceError(
            f"{name} is a network of another shape than the preset's.", "Use the preset that it was trained with."
        ) from error


def _training_sets(options: TrainOptions) -> tuple[list[ClipDataset], Path | None]:
    """The clips to train on, and the folder of synthetic speech if there is one."""
    found = {name: find_visemes(name) for name in options.data}
    folders = [folder for folder in found.values() if folder]
    if len(folders) > 1:
        raise TalkfaceError(
            f"--data names more than one set of synthetic speech: {', '.join(map(str, folders))}.", "Name one of them."
        )
    datasets = [open_dataset(name, options.split) for name, folder in found.items() if folder is None]
    return datasets, next(iter(folders), None)


def _validation_sets(options: TrainOptions) -> list[ClipDataset]:
    """The split "val" of the data sets that have one; those that the user names must have it."""
    if options.validation is not None:
        return [open_dataset(name, SPLITS[1]) for name in options.validation]
    found = []
    for name in options.data:
        try:
            found.append(open_dataset(name, SPLITS[1]))
        except TalkfaceError:
            continue
    return found
