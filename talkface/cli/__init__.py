"""The command line. Each command is a module that parses its options, calls one library function and reports.

Heavy packages are imported only when a command runs, so that `talkface --help` answers at once.
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
from talkface.cli.bench import bench
from talkface.cli.data import preprocess, visemes
from talkface.cli.doctor import doctor
from talkface.cli.evaluate import evaluate
from talkface.cli.export import export
from talkface.cli.render import render
from talkface.cli.serve import serve
from talkface.cli.train import train
from talkface.cli.verify import verify
from talkface.errors import TalkfaceError

INTERRUPTED = 130
SIGNALLED = 128  # added to the number of the signal, as shells do


class Commands(TyperGroup):
    """Shows errors that the user can fix without a traceback; bugs keep theirs.

    This is done in `invoke` because Typer since 0.26 contains its own copy of Click and does not handle the exceptions
    of the package click.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error that the user can fix is shown, and ends the program with code 1."""
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
            console.say("Stopped. No partial file was left behind.")
            raise typer.Exit(INTERRUPTED) from stop


def _without_libgl(error: ImportError) -> TalkfaceError:
    """Return the error for opencv-python, which some packages install and which needs a graphics library."""
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
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:  # nohup ignores it
        signal.signal(hangup, _terminate)
    app(prog_name="talkface")


def _terminate(number: int, frame: Any) -> None:
    """End with the clean-up that Ctrl-C triggers: temporary files are deleted, child processes are stopped."""
    raise SystemExit(SIGNALLED + number)


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
    """Animate a photo with a recording of speech; train and evaluate the networks that do it."""


# `render` receives unexpected arguments itself, so that it can point out -o.
app.command(context_settings={"allow_extra_args": True})(render)
app.command()(preprocess)
app.command()(visemes)
app.command()(train)
app.command()(ablate)
app.command("eval")(evaluate)
app.command()(export)
app.command()(serve)
app.command()(verify)
app.command()(doctor)
app.command()(bench)
app.add_typer(
    _studies, name="study", help="The paper's user study: a page that asks people, and the table of their answers."
)
