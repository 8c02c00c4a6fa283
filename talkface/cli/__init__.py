"""The door: parse, call one function of the library, report. One module per command.

Nothing heavy is imported until a command runs, so that `talkface --help` answers at once.
"""

from __future__ import annotations

import signal
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from talkface import console
from talkface._version import __version__
from talkface.cli import study
from talkface.cli.ablate import ablate
from talkface.cli.data import preprocess, visemes
from talkface.cli.evaluate import evaluate
from talkface.cli.render import render
from talkface.cli.train import train
from talkface.errors import TalkfaceError

INTERRUPTED = 130
TERMINATED = 143


class Commands(TyperGroup):
    """Shows the user's errors without a traceback; a bug keeps its own.

    It stands in `invoke` because Typer carries its own copy of Click since 0.26, and knows no other's exceptions.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TalkfaceError as error:
            console.show_error(error)
            raise typer.Exit(1) from error
        except ImportError as error:
            if "libGL" not in str(error) and "libgthread" not in str(error):
                raise
            console.show_error(_without_libgl(error))
            raise typer.Exit(1) from error
        except KeyboardInterrupt as stop:
            console.say("Stopped. Nothing half-written was left behind.")
            raise typer.Exit(INTERRUPTED) from stop


def _without_libgl(error: ImportError) -> TalkfaceError:
    """opencv-python, which another package may have brought along, wants a graphics library that servers lack."""
    return TalkfaceError(
        f"OpenCV cannot be loaded: {error}.",
        "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python-headless",
    )


_studies = typer.Typer(no_args_is_help=True)
_studies.command()(study.make)
_studies.command()(study.tally)

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The entry point of `talkface` and `python -m talkface`."""
    signal.signal(signal.SIGTERM, _terminate)
    app(prog_name="talkface")


def _terminate(number: int, frame: Any) -> None:
    """Ends by way of the clean-up that Ctrl-C gets: temporary files go, children end."""
    raise SystemExit(TERMINATED)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"talkface {__version__}")
        raise typer.Exit


@app.callback()
def talkface(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Make a photo speak, and train and measure what makes it speak."""


app.command()(render)
app.command()(preprocess)
app.command()(visemes)
app.command()(train)
app.command()(ablate)
app.command("eval")(evaluate)
app.add_typer(
    _studies, name="study", help="The paper's user study: a page that asks people, and the table of their answers."
)
