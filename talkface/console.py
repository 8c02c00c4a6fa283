"""Output of the command line: progress bars with speed and remaining time, notes, tables, and errors.

Results are written to standard output, everything else to standard error. Rich is imported only when something is
shown, so that parsing and `--help` are fast.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from talkface.errors import TalkfaceError

if TYPE_CHECKING:
    from rich.console import Console


class OnStep(Protocol):
    """Advances a progress bar; `unit` is what is counted from now on, if it is not what the bar began with."""

    def __call__(self, done: int, total: int, unit: str = ...) -> None: ...


def error_console() -> Console:
    """Return a console on standard error; a new one each time, because `sys.stderr` may have been redirected."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def show_error(error: TalkfaceError) -> None:
    """Show an error that the user can fix: the problem and the fix."""
    from rich.text import Text

    console = error_console()
    console.print(Text.assemble(("Error", "bold red"), "  ", str(error)))
    if error.fix:
        console.print(Text.assemble(("Fix", "bold green"), "    ", error.fix))


def say(message: str, *, quiet: bool = False) -> None:
    """Write one line of information to standard error."""
    if not quiet:
        from rich.text import Text

        error_console().print(Text(message))


def show_table(rows: Sequence[Sequence[str]]) -> None:
    """Write a table to standard output, as wide as its content: the first row is the header."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for index, name in enumerate(rows[0]):
        table.add_column(Text(name), justify="right" if index else "left", no_wrap=True)
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    console = Console(highlight=False)
    unbounded = console.options.update(max_width=10_000)
    console.width = max(console.width, console.measure(table, options=unbounded).maximum)
    console.print(table)


@contextmanager
def progress(what: str, unit: str = "frames", *, quiet: bool = False) -> Iterator[OnStep]:
    """Show a progress bar with `unit`s per second and remaining time; give the function (done, total) that advances it.

    No bar is drawn if standard error is not a terminal (a log file, CI).
    """
    if quiet or not sys.stderr.isatty():
        yield lambda done, total, unit=unit: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=error_console(), transient=True) as bar:
        task = bar.add_task(what, total=None, rate="", unit=unit)

        def on_step(done: int, total: int, unit: str = unit) -> None:
            if unit != bar.tasks[task].fields["unit"]:
                bar.reset(task)  # the speed is that of the new unit
            speed = bar.tasks[task].speed
            rate = f"{speed:.1f} {unit}/s" if speed else ""
            bar.update(task, completed=done, total=total, rate=rate, unit=unit)

        yield on_step


@contextmanager
def training(*, quiet: bool = False) -> Iterator[Callable[[Any], None]]:
    """Show steps of training (`talkface.train.Step`): as a progress bar in a terminal, as lines in a log file."""
    if quiet:
        yield lambda step: None
        return
    if not sys.stderr.isatty():
        yield lambda step: say(f"{step.stage} {step.step}/{step.total}  {_losses(step)}  {_speed(step)}")
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
    )
    with Progress(*columns, console=error_console(), transient=True) as bar:
        task = bar.add_task("Starting", total=None, status="")

        def on_step(step: Any) -> None:
            status = f"{_losses(step)}  {_speed(step)}"
            bar.update(task, description=step.stage, completed=step.step, total=step.total, status=status)

        yield on_step


def _losses(step: Any) -> str:
    return " ".join(f"{name} {value:.3g}" for name, value in step.losses.items())


def _speed(step: Any) -> str:
    """Return the frames per second and the remaining time."""
    minutes, seconds = divmod(round(step.seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{step.frames_per_second:.1f} frames/s, {hours}:{minutes:02}:{seconds:02} left"
