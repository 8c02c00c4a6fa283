"""The report of an evaluation: rows pooled over clips with intervals, as a table, as JSON and as CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from talkface.evaluate.metrics_table import DEFINITIONS, DETECTOR, PAPER_NOTE, Column, columns_of
from talkface.evaluate.score import ClipScore
from talkface.files import atomic_write, write_json

DECIMALS = 6  # in JSON and CSV: more than the printed table, fewer than differ between machines


@dataclass
class Report:
    """The result of `evaluate`: `rows` has the scores, `scores` the sums of each clip that they are computed from."""

    dataset: str
    split: str | None
    weights: str | None
    """Name and SHA-256 of the generator's weights; None if there is no generator."""

    metrics: tuple[str, ...]
    scores: list[ClipScore]
    paper: dict[str, float] | None = None
    """The paper's figures; None leaves the row out."""

    notes: list[str] = field(default_factory=list)
    """What a reader of the table must know."""

    seed: int = 0
    """Seed of the bootstrap."""

    facts: dict[str, object] = field(default_factory=dict)
    """More entries of the JSON, such as the identity frame."""

    rows: dict[str, dict[str, Any]] = field(init=False)
    """For each row the score (float) by column name, and its interval [low, high] as `<name>_ci95`. Missing: NaN."""

    def __post_init__(self) -> None:
        self.columns = columns_of(self.metrics)
        names = dict.fromkeys(score.row for score in self.scores)
        self.rows = {name: self._pool([s for s in self.scores if s.row == name]) for name in names}
        if self.paper is not None:
            self.rows["paper"] = dict(self.paper)

    @property
    def clips(self) -> int:
        """Number of clips that were scored."""
        return len({score.clip for score in self.scores})

    @property
    def frames(self) -> int:
        """Number of real frames that each row was scored against."""
        return self._count("frames")

    @property
    def lost(self) -> dict[str, int]:
        """Number of frames without a detected face: of the real clips ("real"), and of each row."""
        rows = {name: sum(s.lost for s in self.scores if s.row == name) for name in self.rows if name != "paper"}
        return {"real": self._count("real_lost"), **rows}

    def definitions(self) -> dict[str, str]:
        """The definition of each column, with the detector and the number of frames."""
        by = {True: f"Detector: {DETECTOR}; {sum(self.lost.values())} frames without a face. ", False: ""}
        clips = f"{self.clips} clip{'s' * (self.clips != 1)}"
        one_row = [score for score in self.scores if score.row == self.scores[0].row]
        found = {}
        for column in self.columns:
            definition = DEFINITIONS[column.name].replace("{seed}", str(self.seed))
            found[column.name] = f"{definition} {by[column.landmarks]}{column.frames(one_row):,} frames of {clips}."
        return found

    def table(self) -> list[list[str]]:
        """Header and rows as text. A score is "score [low, high]", or "-" if there is none."""
        arrows = {"up": " ↑", "down": " ↓", "": ""}
        header = ["", *(c.name + arrows[c.better] for c in self.columns)]
        return [header, *([name, *(_cell(row, c) for c in self.columns)] for name, row in self.rows.items())]

    def as_json(self) -> dict[str, Any]:
        """The report as plain data, in the order of the JSON file."""
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
            "notes": [*self.notes, *([PAPER_NOTE] if self.paper else [])],
            **self.facts,
        }
        return _plain(found)

    def write_json(self, path: Path) -> None:
        """Write `as_json` to a file.

        Raises:
            TalkfaceError: it cannot be written there.
        """
        write_json(path, self.as_json())

    def _count(self, what: str) -> int:
        return sum({score.clip: getattr(score, what) for score in self.scores}.values())

    def _pool(self, scores: list[ClipScore]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for column in self.columns:
            pooled = column.pooled(scores, self.seed)
            if pooled is not None:
                row[column.name], interval = pooled
                row[f"{column.name}_ci95"] = list(interval)
        return row


@contextmanager
def clip_table(path: Path | None, metrics: tuple[str, ...]) -> Iterator[Callable[[ClipScore], object]]:
    """A function that adds a line to a CSV file for each score. It does nothing if `path` is None.

    Raises:
        TalkfaceError: the file cannot be written there.
    """
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


def _line(score: ClipScore, columns: tuple[Column, ...]) -> list[object]:
    values = [column.of_clip(score) for column in columns]
    cells = ["" if math.isnan(value) else round(value, DECIMALS) for value in values]
    return [score.clip, score.speaker, score.row, score.frames, score.lost, score.real_lost, *cells]


def _cell(row: dict[str, Any], column: Column) -> str:
    value = row.get(column.name, math.nan)
    if math.isnan(value):
        return "-"
    text = f"{value:.{column.digits}f}"
    low, high = row.get(f"{column.name}_ci95", (math.nan, math.nan))
    return text if math.isnan(low) else f"{text} [{low:.{column.digits}f}, {high:.{column.digits}f}]"


def _plain(value: Any) -> Any:
    """The same data with rounded numbers, and None for NaN."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, DECIMALS)
    return value
