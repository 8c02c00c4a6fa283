"""What the command line shows: progress with frames per second and time left, and the one renderer of errors.

Imports Rich only when something is shown, so that parsing and `--help` stay quick. Everything but results goes to
standard error; results, when a command prints any, go to standard output.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from talkface.errors import TalkfaceError

if TYPE_CHECKING:
    from rich.console import Console

OnStep = Callable[[int, int], None]


def error_console() -> Console:
    """A console on standard error, made anew so that it follows a redirected `sys.stderr`."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def show_error(error: TalkfaceError) -> None:
    """The renderer of every error that the user can fix: what is wrong, and what to do about it."""
    from rich.text import Text

    console = error_console()
    console.print(Text.assemble(("Error", "bold red"), "  ", str(error)))
    if error.fix:
        console.print(Text.assemble(("Fix", "bold green"), "    ", error.fix))


def say(message: str, *, quiet: bool = False) -> None:
    """One line of information on standard error."""
    if not quiet:
        from rich.text import Text

        error_console().print(Text(message))


def show_table(rows: Sequence[Sequence[str]]) -> None:
    """A result, on standard output: a header and rows of text, as wide as it needs to be."""
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
    """A progress bar with `unit`s per second and time left, as a function of (done, total) to call after each step.

    Where standard error is no terminal (a log file, CI), no bar is drawn.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=error_console(), transient=True) as bar:
        task = bar.add_task(what, total=None, rate="")

        def on_step(done: int, total: int) -> None:
            speed = bar.tasks[task].speed
            rate = f"{speed:.1f} {unit}/s" if speed else ""
            bar.update(task, completed=done, total=total, rate=rate)

        yield on_step


@contextmanager
def training(*, quiet: bool = False) -> Iterator[Callable[[Any], None]]:
    """Shows steps of training (`talkface.train.Step`): in a terminal as a bar that stays, in a log file as lines."""
    if quiet:
        yield lambda step: None
        return
    if not sys.stderr.isatty():
        yield lambda step: say(f"{step.lesson} {step.step}/{step.total}  {_losses(step)}  {_pace(step)}")
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[said]}"))
    with Progress(*columns, console=error_console(), transient=True) as bar:
        task = bar.add_task("Starting", total=None, said="")

        def on_step(step: Any) -> None:
            said = f"{_losses(step)}  {_pace(step)}"
            bar.update(task, description=step.lesson, completed=step.step, total=step.total, said=said)

        yield on_step


def _losses(step: Any) -> str:
    return " ".join(f"{name} {value:.3g}" for name, value in step.losses.items())


def _pace(step: Any) -> str:
    """Frames per second and time left."""
    minutes, seconds = divmod(round(step.seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{step.frames_per_second:.1f} frames/s, {hours}:{minutes:02}:{seconds:02} left"
