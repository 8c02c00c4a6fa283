"""`talkface ablate`: the nine rows of the paper's Table 3, trained under one budget, measured, and set beside it.

Every row gets the same steps, seed and data. How many steps the budget buys is measured once, on the full model, which
is the slowest, and kept in plan.json. To continue after whatever has stopped it, run the same command again: a row that
is done is not trained again.

    OUT/plan.json                         steps of each lesson, and the seconds per step that they follow from
    OUT/ROW/                              the row's run, as `talkface train` leaves it
    OUT/ROW/figures.json                  what was measured; its appearance says that the row is done
    OUT/table.md, table.csv, table.json   the rows that are done, with the paper's figures
    OUT/strip-N.png                       the same moments of a clip as each row shows them (paper Fig. 6)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from talkface.ablate.plan import within_budget
from talkface.ablate.strips import draw_strips
from talkface.ablate.table import write_table
from talkface.data.reader import ClipDataset
from talkface.data.shards import write_json
from talkface.files import make_folder
from talkface.train import Diverged, Step, TrainOptions, train
from talkface.train.presets import ABLATIONS, TrainConfig, ablated

__all__ = ["AblateOptions", "Evaluate", "ablate"]

Evaluate = Callable[[Path | None], dict[str, float]]
"""Figures of a generator's weights by name, such as {"lmd": 1.2}; of a photo that never moves for None."""

STILL = "still"


@dataclass(frozen=True)
class AblateOptions:
    """One ablation study."""

    training: TrainOptions
    """Data, device and folder; each row has its own folder below it."""
    minutes: float
    """Of training for each row."""
    test_data: str
    """Data set that `evaluate` measures on. It, its split and the limit are those of the study, not of one call."""
    rows: tuple[str, ...] = tuple(ABLATIONS)
    """Which rows, in order."""
    test_split: str = "test"
    """Split of `test_data`."""
    limit: int | None = None
    """How many clips of it are measured; None: all."""


def ablate(
    options: AblateOptions,
    config: TrainConfig,
    evaluate: Evaluate,
    shown: ClipDataset,
    on_step: Callable[[Step], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> list[dict]:
    """Trains, measures and tabulates the rows that are not done; stops early where a signal asks for it.

    Args:
        options: what and where.
        config: of the full model; its steps are scaled to the budget.
        evaluate: measures a row on what `options` says.
        shown: clips for the strips; the first, the middle and the last are drawn.
        on_step: told of each step of training, its lesson with the row's name before it.
        on_note: told what happens, one sentence at a time.

    Returns:
        The lines of the table that are done, also in table.json.

    Raises:
        TalkfaceError: missing data, another study in the folder, a full disk.
    """
    out, note = options.training.out, on_note or (lambda text: None)
    measured_on = {name: getattr(options, name) for name in ("test_data", "test_split", "limit")}
    planned = within_budget(options.training, config, options.minutes, measured_on, note)
    figures = {STILL: _once(out / STILL / "figures.json", lambda: {"figures": evaluate(None)})}
    for row in options.rows:
        found = _row(options.training, ablated(planned, row), row, evaluate, on_step, note)
        if found is None:
            note(f"Stopped in row {row}; run the same command again to go on.")
            break
        figures[row] = found
        write_table(out, figures, planned, options.minutes)
    else:
        trained = [row for row in options.rows if "failed" not in figures[row]]
        draw_strips(out, shown, {row: out / row / "generator.safetensors" for row in trained})
    return write_table(out, figures, planned, options.minutes)


def _row(
    training: TrainOptions,
    config: TrainConfig,
    row: str,
    evaluate: Evaluate,
    on_step: Callable[[Step], None] | None,
    note: Callable[[str], None],
) -> dict | None:
    """What figures.json of a row holds: trained and measured now, where it is not there yet; None where stopped."""
    done = training.out / row / "figures.json"
    if done.is_file():
        return json.loads(done.read_text(encoding="utf-8"))
    tell = on_step and (lambda step: on_step(replace(step, lesson=f"{row}: {step.lesson}")))
    try:
        report = train(replace(training, out=done.parent, minutes=None), config, tell)
    except Diverged as error:
        note(f"{row}: {error}")
        found = {"failed": str(error)}
    else:
        if not report.finished:
            return None
        found = {"figures": evaluate(report.generator)}
        note(f"{row}: " + ", ".join(f"{k} {v:.3f}" for k, v in found["figures"].items() if isinstance(v, float)))
    return _once(done, lambda: found | {"steps": config.total_steps, "config": asdict(config)})


def _once(path: Path, make: Callable[[], dict]) -> dict:
    """What is in the file, made and written where it is not there."""
    if not path.is_file():
        make_folder(path.parent)
        write_json(path, make())
    return json.loads(path.read_text(encoding="utf-8"))
