"""What an evaluation found: rows pooled over clips with intervals, as a table, as JSON and as CSV."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from talkface.evaluate.metrics_table import DEFINITIONS, DETECTOR, DIFFERS, Column, columns_of
from talkface.evaluate.score import ClipScore
from talkface.files import atomic_write
from talkface.metrics.bootstrap import interval

DECIMALS = 6  # of the JSON: below what differs between machines for the pictures, far below what is printed


@dataclass
class Report:
    """The result of `evaluate`. `rows` holds the figures; `scores` what each clip added to them."""

    dataset: str
    split: str | None
    weights: str | None
    """Name and SHA-256 of the generator's weights; None where two videos were compared."""

    metrics: tuple[str, ...]
    scores: list[ClipScore]
    paper: dict[str, float] | None = None
    """The published figures; None leaves the row out."""

    notes: list[str] = field(default_factory=list)
    """What a reader of the table must know."""

    seed: int = 0
    facts: dict[str, object] = field(default_factory=dict)
    """Whatever else should stand in the JSON, such as the identity frame."""

    rows: dict[str, dict[str, float]] = field(init=False)
    """For each row the mean of each column by name, and `<name>_ci95` as [low, high]; NaN where there is none."""

    def __post_init__(self) -> None:
        self.columns = columns_of(self.metrics)
        names = dict.fromkeys(score.row for score in self.scores)
        self.rows = {name: self._pool([s for s in self.scores if s.row == name]) for name in names}
        if self.paper is not None:
            self.rows["paper"] = dict(self.paper)

    @property
    def clips(self) -> int:
        """How many clips were scored."""
        return len({score.clip for score in self.scores})

    @property
    def frames(self) -> int:
        """How many frames each row was scored on."""
        return self._count("frames")

    @property
    def lost(self) -> dict[str, int]:
        """Frames without a detected face: of the real clips, and of each row."""
        rows = {name: sum(s.lost for s in self.scores if s.row == name) for name in self.rows if name != "paper"}
        return {"real": self._count("real_lost"), **rows}

    def definitions(self) -> dict[str, str]:
        """What each column means, at what resolution, by which detector and on how many frames."""
        count = f"{self.frames:,} frames of {self.clips} clip{'s' * (self.clips != 1)}."
        by = {True: f"Detector: {DETECTOR}; {sum(self.lost.values())} frames without a face. ", False: ""}
        return {c.name: f"{DEFINITIONS[c.name]} {by[c.landmarks]}{count}" for c in self.columns}

    def table(self) -> list[list[str]]:
        """Header and rows as text; figures as "mean [low, high]", "-" where there is none."""
        arrows = {"up": " ↑", "down": " ↓", "": ""}
        header = ["", *(c.name + arrows[c.better] for c in self.columns)]
        return [header, *([name, *(_cell(row, c) for c in self.columns)] for name, row in self.rows.items())]

    def as_json(self) -> dict:
        """The report as plain data, in the order in which it is written."""
        found = {
            "dataset": self.dataset,
            "split": self.split,
            "clips": self.clips,
            "frames": self.frames,
            "detector": DETECTOR,
            "weights": self.weights,
            "definitions": self.definitions(),
            "rows": self.rows,
            "frames_without_face": self.lost,
            "seed": self.seed,
            "notes": [*self.notes, *([DIFFERS] if self.paper else [])],
            **self.facts,
        }
        return _plain(found)

    def write_json(self, path: Path) -> None:
        """Writes `as_json`, the same bytes for the same figures.

        Raises:
            TalkfaceError: it cannot be written there.
        """
        with atomic_write(path) as beside:
            beside.write_text(json.dumps(self.as_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def _count(self, what: str) -> int:
        return sum({score.clip: getattr(score, what) for score in self.scores}.values())

    def _pool(self, scores: list[ClipScore]) -> dict[str, float]:
        row = {}
        for column in self.columns:
            clips = [score.sums[column.sums] for score in scores if column.sums in score.sums]
            if clips:
                stacked = np.stack(clips)
                row[column.name] = float(column.score(stacked.sum(0)))
                row[f"{column.name}_ci95"] = list(interval(stacked, column.score, self.seed))
        return row


@contextmanager
def clip_table(path: Path | None, metrics: tuple[str, ...]) -> Iterator:
    """A function that adds a line to the CSV for each ClipScore; one that does nothing where `path` is None."""
    columns = columns_of(metrics)
    with atomic_write(path) if path else nullcontext() as beside:
        if beside is None:
            yield lambda score: None
            return
        with beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            names = [column.name for column in columns]
            writer.writerow(["clip", "speaker", "row", "frames", "frames_without_face", "real_without_face", *names])
            yield lambda score: writer.writerow(_line(score, columns))


def _line(score: ClipScore, columns: tuple[Column, ...]) -> list:
    figures = [float(c.score(score.sums[c.sums])) if c.sums in score.sums else math.nan for c in columns]
    said = ["" if math.isnan(x) else round(x, DECIMALS) for x in figures]
    return [score.clip, score.speaker, score.row, score.frames, score.lost, score.real_lost, *said]


def _cell(row: dict[str, float], column: Column) -> str:
    value = row.get(column.name, math.nan)
    if math.isnan(value):
        return "-"
    text = f"{value:.{column.digits}f}"
    low, high = row.get(f"{column.name}_ci95", (math.nan, math.nan))
    return text if math.isnan(low) else f"{text} [{low:.{column.digits}f}, {high:.{column.digits}f}]"


def _plain(value: object) -> object:
    """Numbers rounded, NaN as null, everything else as it is."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, DECIMALS)
    return value
