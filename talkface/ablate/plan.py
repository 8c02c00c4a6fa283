"""How many steps a budget of minutes buys."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from talkface.data.shards import write_json
from talkface.errors import TalkfaceError
from talkface.files import make_folder
from talkface.train import TrainOptions, train
from talkface.train.presets import TrainConfig, scaled

PROBE = 8  # steps of each lesson that are timed; the first ones warm up and do not count
WARM = 3
FLAGS = {
    "config": "another preset or other settings",
    "minutes": "another --budget",
    "data": "other --data",
    "init": "another --init",
    "test_data": "other --test-data",
    "test_split": "another --test-split",
    "limit": "another --limit",
}


def within_budget(
    training: TrainOptions,
    config: TrainConfig,
    minutes: float,
    measured_on: dict[str, str | int | None],
    note: Callable[[str], None] | None = None,
) -> TrainConfig:
    """`config` with as many steps as fit into `minutes`, as planned when the study began.

    Args:
        training: data, folder and the weights that rows start from.
        config: of the full model.
        minutes: of training for each row.
        measured_on: what rows are measured on, by the names in `FLAGS`.
        note: told the steps.

    Raises:
        TalkfaceError: the folder holds a study of another configuration, budget, data or way of measuring, or it cannot
            be written; or the budget buys nothing.
    """
    if not minutes > 0:
        raise TalkfaceError(f"--budget {minutes} is not above 0.", "Give the minutes that each row may train.")
    path = training.out / "plan.json"
    asked = {
        "config": json.loads(json.dumps(asdict(config))),
        "minutes": minutes,
        "data": list(training.data),
        "init": str(training.init.resolve()) if training.init else None,
        **measured_on,
    }
    if path.is_file():
        planned = json.loads(path.read_text(encoding="utf-8"))
        _check_same(planned["asked"], asked, training.out)
    else:
        seconds = measured(training, config)
        whole = sum(stage.steps * pace for stage, pace in zip(config.stages, seconds, strict=True))
        planned = {"asked": asked, "seconds_per_step": seconds, "scale": 60 * minutes / whole}
        make_folder(training.out)
        write_json(path, planned)
    found = scaled(config, planned["scale"])
    if note:
        steps = ", ".join(f"{stage.steps} of {stage.lesson}" for stage in found.stages)
        note(f"Each row: {minutes:g} minutes by the pace of the full model, that is steps {steps}.")
    return found


def measured(training: TrainOptions, config: TrainConfig) -> list[float]:
    """Seconds of a step of each lesson."""
    with tempfile.TemporaryDirectory() as folder:
        return [_seconds(training, replace(config, stages=(stage,)), Path(folder)) for stage in config.stages]


def _seconds(training: TrainOptions, config: TrainConfig, folder: Path) -> float:
    stage, times = config.stages[0], []
    probe = replace(config, stages=(replace(stage, steps=PROBE),))
    quiet = replace(training, out=folder / stage.lesson, minutes=None, log_steps=1, sample_steps=10**9)
    report = train(quiet, probe, lambda step: times.append(time.monotonic()))
    if not report.finished:
        raise KeyboardInterrupt
    return statistics.median(b - a for a, b in zip(times[WARM:], times[WARM + 1 :], strict=False))


def _check_same(there: dict, asked: dict, out: Path) -> None:
    for name, wanted in asked.items():
        if there.get(name) != wanted:
            raise TalkfaceError(
                f"{out} holds an ablation with {FLAGS[name]}.",
                "Give another --out, or remove the folder to start afresh.",
            )
