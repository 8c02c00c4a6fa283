"""Batches: many videos with one command, several at a time.

    jobs = folder_jobs(Path("photos"), Path("speech.wav"), RenderOptions())
    report = render_batch(Batch(jobs, out_dir=Path("out")))

The jobs come from folders or a CSV file (`jobs`). An engine (`local_engine`, `ray_engine`) distributes them to
processes (`work`), each of which loads the networks once. A job that fails does not stop the others. What is complete
is recorded in the folder of the videos (`state`), so that a later batch can pass over it and overwrites nothing else.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from talkface.batch.jobs import Job, folder_jobs, read_jobs
from talkface.batch.local_engine import run_local
from talkface.batch.report import Row, write_report
from talkface.batch.state import Record, State, job_key, opened
from talkface.batch.work import Result, Task, render_job
from talkface.errors import TalkfaceError
from talkface.files import check_writable_file, check_writable_folder, make_folder, same_file
from talkface.workers import Failed, Finished

__all__ = ["Batch", "Job", "Report", "Row", "folder_jobs", "read_jobs", "render_batch"]

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Batch:
    """What to render, where to, and how the jobs are distributed."""

    jobs: tuple[Job, ...]

    out_dir: Path
    """Folder of the videos; it is created if it does not exist."""

    resume: bool = False
    """Whether jobs are passed over whose video is complete, and whose inputs, options and weights are unchanged."""

    report: Path | None = None
    """CSV file with one row for each job."""

    engine: Literal["local", "ray"] = "local"
    """local: processes on this machine; ray: a Ray cluster (pip install "talkface[ray]")."""

    workers: int = 0
    """Number of jobs at a time; 0 for one per core of this machine or of the Ray cluster, at most 4 on a GPU."""


@dataclass(frozen=True)
class Report:
    """The result of a batch."""

    rows: list[Row]
    """One for each job, in their order."""

    seconds: float
    workers: int

    counts: Counter[str] = field(default_factory=Counter)
    """Number of jobs by status: done, unchanged or failed."""

    @property
    def jobs_per_minute(self) -> float:
        """Videos written per minute, of all processes together."""
        return 60 * self.counts["done"] / max(self.seconds, 1e-9)


def render_batch(
    batch: Batch,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    on_row: Callable[[Row], None] = lambda row: None,
) -> Report:
    """Render all jobs. A job that fails is reported in its row, and the others go on.

    A file that no batch has written is never overwritten: its job fails. A video that a batch has written, and that
    was not changed since, is replaced when the new one is complete.

    Args:
        batch: the jobs.
        on_step: called with (jobs ended, jobs in total) after each job.
        on_row: called with the row of each job as soon as it has ended.

    Raises:
        TalkfaceError: nothing can be rendered at all: a folder or report that cannot be written, no such engine, no
            jobs, or another batch is writing to the folder.
    """
    _check(batch)
    begun = time.monotonic()
    rows = [Row(job) for job in batch.jobs]
    ended = 0

    def end(row: Row) -> None:
        nonlocal ended
        ended += 1
        on_row(row)
        on_step(ended, len(rows))

    make_folder(batch.out_dir)
    try:
        with opened(batch.out_dir) as state:
            to_do = _to_do(rows, state, batch.resume, end)
            workers = _render(to_do, state, batch, end) if to_do else 0
    finally:
        # Also after Ctrl-C: the jobs that have not ended are "left".
        if batch.report is not None:
            write_report(batch.report, rows)
    return Report(rows, time.monotonic() - begun, workers, Counter(row.status for row in rows))


def _check(batch: Batch) -> None:
    if not batch.jobs:
        raise TalkfaceError("There are no jobs.", "Name a folder of photos or recordings, or --jobs FILE.")
    if batch.engine not in ENGINES:
        raise TalkfaceError(f"--engine {batch.engine} is not a valid engine.", f"Choose {' or '.join(ENGINES)}.")
    if batch.workers < 0:
        raise TalkfaceError(f"--workers {batch.workers} is too small.", "Give at least 1, or 0 for one per core.")
    check_writable_folder("--out-dir", batch.out_dir)
    if batch.report is None:
        return
    check_writable_file("--report", batch.report)
    for job in batch.jobs:
        for path in (job.photo, job.speech, batch.out_dir / job.out):
            if same_file(batch.report, path):
                raise TalkfaceError(f"--report {batch.report} is a file of job {job.number}.", "Give another name.")


def _to_do(rows: list[Row], state: State, resume: bool, end: Callable[[Row], None]) -> list[Row]:
    """Return the rows of the jobs that must be rendered; the others end here."""
    waiting = []
    for row in rows:
        try:
            record = state.record(row.job.out) if resume else None
            if record and state.is_complete(row.job.out) and job_key(row.job) == record.key:
                row.unchanged(record)
                end(row)
                continue
            state.check_free(row.job.out)
            waiting.append(row)
        except TalkfaceError as error:
            row.failed(Failed(str(error), error.fix))
            end(row)
    return waiting


def _render(rows: list[Row], state: State, batch: Batch, end: Callable[[Row], None]) -> int:
    """Render jobs with an engine; returns the number of its workers."""
    tasks = [Task(row.job, state.new_part(row.job.out)) for row in rows]

    def on_end(number: int, outcome: Finished | Failed) -> None:
        row, part = rows[number], tasks[number].part
        if isinstance(outcome, Finished):
            result: Result = outcome.result
            made = (result.sha256, result.key, result.frames, result.seconds, result.notes)
            record = Record(row.job.out.as_posix(), *made)
            try:
                state.publish(part, record)
                row.done(record)
            except TalkfaceError as error:
                outcome = Failed(str(error), error.fix)
        if isinstance(outcome, Failed):
            row.failed(outcome)
            part.unlink(missing_ok=True)
        end(row)

    if batch.engine == "ray":
        from talkface.batch.ray_engine import run_ray as run
    else:
        run = run_local
    return run(render_job, [(task,) for task in tasks], batch.workers, on_end)
