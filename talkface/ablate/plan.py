"""The number of training steps that fit into a budget of minutes."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from talkface.errors import TalkfaceError
from talkface.files import make_folder, write_json
from talkface.train import TrainOptions, train
from talkface.train.presets import TrainConfig, scaled

PROBE = 8  # steps that are timed in each stage
WARM = 3  # of these, the first steps, which are slower and do not count
DIFFERENCES = {  # what to tell the user, by the setting that differs
    "config": "another preset or other settings",
    "before": "other stages before the rows",
    "minutes": "another --budget",
    "data": "other --data",
    "init": "another --init",
    "init_estimator": "another --init-estimator",
    "test_data": "other --test-data",
    "test_split": "another --test-split",
    "limit": "another --limit",
}


def within_budget(
    training: TrainOptions,
    config: TrainConfig,
    before: TrainConfig,
    minutes: float,
    measured_on: dict[str, str | int | None],
    note: Callable[[str], None] | None = None,
) -> TrainConfig:
    """`config` with as many steps as fit into `minutes`. A resumed study keeps the steps of its first call.

    Args:
        training: data, folder and the weights that rows start from.
        config: configuration of the full model, of the stage "full" alone.
        before: the same with the stages that give the common start.
        minutes: minutes of training for each row.
        measured_on: the settings of the measurement, by the names in `DIFFERENCES`.
        note: called with a sentence that states the steps.

    Raises:
        TalkfaceError: the budget is not above 0, the folder holds a study with other settings, or the folder cannot be
            written.
    """
    if not minutes > 0:
        raise TalkfaceError(f"--budget {minutes} is not above 0.", "Give the minutes of training for each row.")
    path = training.out / "plan.json"
    asked = {
        "config": json.loads(json.dumps(asdict(config))),
        "minutes": minutes,
        "data": list(training.data),
        "init": str(training.init.resolve()) if training.init else None,
        "init_estimator": str(training.init_estimator.resolve()) if training.init_estimator else None,
        "before": json.loads(json.dumps(asdict(before)["stages"])) if training.init is None else None,
        **measured_on,
    }
    if path.is_file():
        planned = json.loads(path.read_text(encoding="utf-8"))
        _check_same(planned["asked"], asked, training.out)
    else:
        seconds = seconds_per_step(training, config)
        whole = sum(stage.steps * each for stage, each in zip(config.stages, seconds, strict=True))
        planned = {"asked": asked, "seconds_per_step": seconds, "scale": 60 * minutes / whole}
        make_folder(training.out)
        write_json(path, planned)
    found = scaled(config, planned["scale"])
    if note:
        steps = ", ".join(f"{stage.steps} of {stage.name}" for stage in found.stages)
        note(f"Each row trains for {minutes:g} minutes at the speed of the full model. Steps: {steps}.")
    return found


def seconds_per_step(training: TrainOptions, config: TrainConfig) -> list[float]:
    """The measured seconds of one step, for each stage of the curriculum."""
    with tempfile.TemporaryDirectory() as folder:
        return [_time_stage(training, replace(config, stages=(stage,)), Path(folder)) for stage in config.stages]


def _time_stage(training: TrainOptions, config: TrainConfig, folder: Path) -> float:
    """Median seconds of a step of the first stage, from a short run in `folder`."""
    stage = config.stages[0]
    times: list[float] = []
    probe = replace(config, stages=(replace(stage, steps=PROBE),))
    quiet = replace(training, out=folder / stage.name, minutes=None, log_steps=1, validation=())
    report = train(quiet, probe, lambda step: times.append(time.monotonic()))
    if not report.finished:
        raise KeyboardInterrupt
    return statistics.median(b - a for a, b in zip(times[WARM:], times[WARM + 1 :], strict=False))


def _check_same(stored: dict[str, Any], asked: dict[str, Any], out: Path) -> None:
    for name, wanted in asked.items():
        if stored.get(name) != wanted:
            raise TalkfaceError(
                f"{out} holds an ablation with {DIFFERENCES[name]}.",
                "Give another --out, or remove the folder to start again.",
            )
