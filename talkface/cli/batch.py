"""The batches of `talkface render`: their options, and how they are run and reported."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import typer

from talkface import console
from talkface.errors import TalkfaceError
from talkface.render_options import RenderOptions

PANEL = "Many videos"
SHOWN_ROWS = 50  # of a longer batch only the jobs that failed are shown; --report has all

OUT_DIR = Annotated[
    Path | None,
    typer.Option(help="Folder of the videos, called PHOTO_SPEECH.mp4.", rich_help_panel=PANEL),
]
JOBS = Annotated[
    Path | None,
    typer.Option(
        help="CSV file with one video per line: columns photo, speech, and if wanted out and options such as crop or "
        "max_size. Paths are relative to the file, those in the column out to --out-dir.",
        rich_help_panel=PANEL,
    ),
]
RESUME = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Pass over videos that are complete, if inputs, options and weights are unchanged.",
        rich_help_panel=PANEL,
    ),
]
REPORT = Annotated[
    Path | None, typer.Option("--report", help="Write a CSV file with one row per job.", rich_help_panel=PANEL)
]
ENGINE = Annotated[
    Literal["local", "ray"],
    typer.Option(help="local: this machine; ray: a Ray cluster, needs talkface\\[ray].", rich_help_panel=PANEL),
]
WORKERS = Annotated[
    int,
    typer.Option(help="Number of jobs at a time; 0 for one per core, at most 4 on a GPU.", rich_help_panel=PANEL),
]


@dataclass(frozen=True)
class Settings:
    """The options of batches, as given."""

    out_dir: Path | None = None
    jobs: Path | None = None
    resume: bool = False
    report: Path | None = None
    engine: Literal["local", "ray"] = "local"
    workers: int = 0

    @property
    def wanted(self) -> bool:
        """Whether this is a batch, and not a single video."""
        return self.out_dir is not None or self.jobs is not None

    def refuse_if_given(self, context: typer.Context) -> None:
        """End with a usage error if an option of batches is given with a single video."""
        for field in fields(self):
            if getattr(self, field.name) != field.default:
                context.fail(f"--{field.name.replace('_', '-')} needs --out-dir FOLDER or --jobs FILE.")


def run(
    context: typer.Context,
    photo: Path | None,
    speech: Path | None,
    out: Path | None,
    options: RenderOptions,
    settings: Settings,
    *,
    quiet: bool,
) -> None:
    """Render a batch, show its table, and end with code 1 if a job has failed."""
    from talkface.batch import Batch, Report, Row, folder_jobs, read_jobs, render_batch

    if out is not None:
        context.fail("--out names one video; the folder of many is named with --out-dir, and their names with --jobs.")
    if options.json is not None:
        context.fail("--json describes one video; --report describes many.")
    if settings.jobs is not None:
        if photo is not None:
            context.fail(f"Got an unexpected argument {photo}: with --jobs the file names photos and recordings.")
        jobs = read_jobs(settings.jobs, options)
    else:
        if photo is None or speech is None:
            context.fail(f"Missing argument '{'PHOTO' if photo is None else 'SPEECH'}'.")
        jobs = folder_jobs(photo, speech, options, lambda note: console.say(note, quiet=quiet))
    out_dir = settings.out_dir or Path()
    batch = Batch(jobs, out_dir, settings.resume, settings.report, settings.engine, settings.workers)

    def show(row: Row) -> None:
        if row.status == "failed":
            console.say(f"Job {row.job.number}, {row.job.out}, failed:")
            console.show_error(TalkfaceError(row.problem, row.fix))
            if row.trace:
                console.say(row.trace)

    with console.progress("Rendering", "jobs", quiet=quiet) as on_step:
        report: Report = render_batch(batch, on_step, show)
    if not quiet:
        console.show_table(_table(report.rows))
        console.say(_summary(report.counts, report.seconds, report.jobs_per_minute, report.workers))
    if report.counts["failed"]:
        raise typer.Exit(1)


def _table(rows: list) -> list[list[str]]:
    """Return the rows of the table, of a long batch only those of the jobs that failed."""
    shown = rows if len(rows) <= SHOWN_ROWS else [row for row in rows if row.status == "failed"]
    cells = [
        [f"{row.job.number} {row.job.out}", row.status, str(row.frames or ""), f"{row.seconds:.1f}"] for row in shown
    ]
    return [["video", "", "frames", "seconds"], *cells]


def _summary(counts: dict[str, int], seconds: float, per_minute: float, workers: int) -> str:
    parts = [f"{counts[status]} {status}" for status in ("done", "unchanged", "failed") if counts[status]]
    speed = f" ({per_minute:.1f} videos/min, {workers} at a time)" if counts["done"] else ""
    return f"{sum(counts.values())} jobs: {', '.join(parts)} in {seconds:.1f} s{speed}"
