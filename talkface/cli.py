"""The door: parse, call one function of the library, report.

Nothing heavy is imported until a command runs, so that `talkface --help` answers at once.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from talkface import __version__, console
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
            console.say("Stopped. No unfinished file was left behind.")
            raise typer.Exit(INTERRUPTED) from stop


def _without_libgl(error: ImportError) -> TalkfaceError:
    """opencv-python, which another package may have brought along, wants a graphics library that servers lack."""
    return TalkfaceError(
        f"OpenCV cannot be loaded: {error}.",
        "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python-headless",
    )


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


def _box(text: str) -> tuple[float, ...]:
    """x,y,w,h as four numbers."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 4:
        raise typer.BadParameter(f"{text!r} is not four numbers x,y,w,h, as in 120,80,300,300.")
    return numbers


QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Show errors alone.")]
DEVICE = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


@app.command()
def render(
    photo: Annotated[
        Path, typer.Argument(metavar="PHOTO", help="A photo with a face: JPEG, PNG, WebP, TIFF, BMP, ...")
    ],
    speech: Annotated[Path, typer.Argument(metavar="SPEECH", help="A recording, or a video whose sound is taken.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The video. Default: PHOTO_SPEECH.mp4 in this folder.")
    ] = None,
    fps: Annotated[str, typer.Option(help="Frames per second, such as 25, 29.97 or 30000/1001.")] = "25",
    crf: Annotated[int, typer.Option(help="Quality of the video, 0 (lossless) to 51.")] = 18,
    crop: Annotated[bool, typer.Option("--crop", help="The 256x256 face alone, not the full photo.")] = False,
    max_size: Annotated[int, typer.Option(help="Pixels of the video's long side, at most.")] = 1280,
    face: Annotated[
        int | None, typer.Option(help="Which face, from left to right, the first being 1. Default: the largest.")
    ] = None,
    box: Annotated[
        Any, typer.Option(parser=_box, metavar="X,Y,W,H", help="Where the face is, in pixels, if it is not found.")
    ] = None,
    landmarks: Annotated[
        Literal["mesh", "fan"], typer.Option(help="What finds the points of the face; fan needs talkface\\[fan].")
    ] = "mesh",
    weights: Annotated[Path | None, typer.Option(help="A generator's .safetensors. Default: the bundled one.")] = None,
    device: DEVICE = "auto",
    mark: Annotated[bool, typer.Option(help="Say in the video's metadata that it is synthetic.")] = True,
    json: Annotated[Path | None, typer.Option(help="Write what was done: hashes, versions, times.")] = None,
    seed: Annotated[int, typer.Option(help="For generators that draw random numbers.")] = 0,
    quiet: QUIET = False,
) -> None:
    """Write an mp4 in which the face of PHOTO says what is in SPEECH.

    An existing video of that name is replaced when the new one is complete. Names that begin with a dash go after --.
    """
    from talkface.render import render as make

    with console.progress("Rendering", quiet=quiet) as on_step:
        report = make(
            photo,
            speech,
            out,
            fps=fps,
            crf=crf,
            crop=crop,
            max_size=max_size,
            face=face,
            box=box,
            landmarks=landmarks,
            weights=weights,
            device=device,
            mark=mark,
            json=json,
            seed=seed,
            on_step=on_step,
            on_note=lambda note: console.say(note, quiet=quiet),
        )
    size = f"{report.width}x{report.height}"
    speed = f"{report.frames_per_second:.1f} frames/s, {report.seconds['total']:.1f} s in all"
    console.say(f"{report.out}: {report.frames} frames, {size}, {speed}", quiet=quiet)
