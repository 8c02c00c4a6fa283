"""`talkface render`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from talkface import console
from talkface.cli.options import DEVICE, QUIET, box_of


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
        Any, typer.Option(parser=box_of, metavar="X,Y,W,H", help="Where the face is, in pixels, if it is not found.")
    ] = None,
    landmarks: Annotated[
        Literal["mesh", "fan"], typer.Option(help="What finds the points of the face; fan needs talkface\\[fan].")
    ] = "mesh",
    weights: Annotated[Path | None, typer.Option(help="A generator's .safetensors. Default: the bundled one.")] = None,
    device: DEVICE = "auto",
    mark: Annotated[bool, typer.Option(help="Say in the video's metadata that it is synthetic.")] = True,
    json: Annotated[Path | None, typer.Option(help="Write what was done: hashes, versions, times.")] = None,
    expression: Annotated[
        float, typer.Option(help="How far the lips move; 1, which eval measures, is less than life.")
    ] = 1.2,
    seed: Annotated[int, typer.Option(help="For generators that draw random numbers.")] = 0,
    quiet: QUIET = False,
) -> None:
    """Write an mp4 in which the face of PHOTO says what is in SPEECH.

    An existing video of that name is replaced when the new one is complete. Names that begin with a dash go after --.
    """
    from talkface.rendering import render as make

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
            expression=expression,
            seed=seed,
            on_step=on_step,
            on_note=lambda note: console.say(note, quiet=quiet),
        )
    size = f"{report.width}x{report.height}"
    speed = f"{report.frames_per_second:.1f} frames/s, {report.seconds['total']:.1f} s in all"
    console.say(f"{report.out}: {report.frames} frames, {size}, {speed}", quiet=quiet)
