"""The rows of a batch, one for each job, and the CSV file with them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from talkface.batch.jobs import Job
from talkface.batch.state import Record
from talkface.files import write_bytes
from talkface.workers import Failed

COLUMNS = ("job", "photo", "speech", "out", "status", "frames", "seconds", "problem", "fix", "notes")


@dataclass
class Row:
    """What became of a job."""

    job: Job
    status: Literal["left", "done", "unchanged", "failed"] = "left"
    """left: it was not begun or not finished, because the batch was stopped."""
    frames: int = 0
    """Number of frames of the video."""
    seconds: float = 0.0
    """Time that the job took, also if an earlier batch did it."""
    problem: str = ""
    fix: str = ""
    trace: str = ""
    """The traceback, if a bug in talkface made the job fail."""
    notes: tuple[str, ...] = ()
    """What the user should know, for example which of several faces was used."""

    def done(self, record: Record) -> None:
        """The job has written its video."""
        self.status, self.frames, self.seconds, self.notes = "done", record.frames, record.seconds, record.notes

    def unchanged(self, record: Record) -> None:
        """The job was passed over, because an earlier batch did it."""
        self.done(record)
        self.status = "unchanged"

    def failed(self, failure: Failed) -> None:
        """The job has failed."""
        self.status, self.problem, self.fix, self.trace = "failed", failure.problem, failure.fix, failure.trace

    def cells(self) -> tuple[str, ...]:
        """The values of `COLUMNS`."""
        job = self.job
        names = (str(job.number), str(job.photo), str(job.speech), job.out.as_posix(), self.status)
        figures = (str(self.frames or ""), f"{self.seconds:.2f}" if self.seconds else "")
        return (*names, *figures, self.problem, self.fix, " ".join(self.notes))


def write_report(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows as CSV: UTF-8, one line for each job, columns COLUMNS.

    Raises:
        TalkfaceError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *(row.cells() for row in rows)])
    write_bytes(path, text.getvalue().encode())
