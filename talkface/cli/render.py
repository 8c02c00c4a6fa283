"""`talkface render`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from talkface import console
from talkface.cli import batch
from talkface.cli.options import DEVICE, QUIET, parse_box, seed_option
from talkface.render_options import RenderOptions


def render(
    context: typer.Context,
    photo: Annotated[
        Path | None,
        typer.Argument(
            metavar="PHOTO", help="A photo with a face: JPEG, PNG, WebP, TIFF, BMP, ...; or a folder of photos."
        ),
    ] = None,
    speech: Annotated[
        Path | None,
        typer.Argument(
            metavar="SPEECH",
            help="A recording, or a video with sound; - is standard input; or a folder of recordings.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The video. Default: PHOTO_SPEECH.mp4 in the current folder.")
    ] = None,
    fps: Annotated[str, typer.Option(help="Frames per second, such as 25, 29.97 or 30000/1001.")] = str(
        RenderOptions.fps
    ),
    crf: Annotated[
        int, typer.Option(help="Quality of the video, from 0 (lossless) to 51 (worst).")
    ] = RenderOptions.crf,
    crop: Annotated[
        bool, typer.Option("--crop", help="Render the aligned 256x256 face alone instead of the full photo.")
    ] = RenderOptions.crop,
    max_size: Annotated[
        int, typer.Option(help="Maximum of the video's longer side in pixels.")
    ] = RenderOptions.max_size,
    face: Annotated[
        int | None, typer.Option(help="Which face, counted from 1 from left to right. Default: the largest.")
    ] = RenderOptions.face,
    box: Annotated[
        Any, typer.Option(parser=parse_box, metavar="X,Y,W,H", help="Where the face is, in pixels, if it is not found.")
    ] = RenderOptions.box,
    landmarks: Annotated[
        Literal["mesh", "fan"], typer.Option(help="Detector of facial landmarks; fan needs talkface\\[fan].")
    ] = "mesh",
    track: Annotated[
        int | None,
        typer.Option(help="Which audio track of SPEECH, counted from 1. Default: the track that players choose."),
    ] = RenderOptions.track,
    weights: Annotated[Path | None, typer.Option(help="A generator's .safetensors. Default: the bundled one.")] = None,
    device: DEVICE = RenderOptions.device,
    mark: Annotated[
        bool, typer.Option(help="Whether the video's metadata say that it is synthetic.")
    ] = RenderOptions.mark,
    json: Annotated[
        Path | None, typer.Option(help="Write a description of the result: hashes, versions, options, times.")
    ] = None,
    expression: Annotated[
        float, typer.Option(help="Factor on the opening of the mouth; 1 is what eval measures.")
    ] = RenderOptions.expression,
    seed: Annotated[
        int, seed_option("Seed for generators that draw random numbers; the bundled one draws none.")
    ] = RenderOptions.seed,
    out_dir: batch.OUT_DIR = None,
    jobs: batch.JOBS = None,
    resume: batch.RESUME = False,
    report_file: batch.REPORT = None,
    engine: batch.ENGINE = "local",
    workers: batch.WORKERS = 0,
    quiet: QUIET = False,
) -> None:
    """Write an mp4 in which the face of PHOTO says what is in SPEECH.

    An existing video of that name is replaced when the new one is complete. Names that begin with a dash go after --.

    Many videos: with a folder as PHOTO or SPEECH and --out-dir, or with --jobs. Networks are loaded once, several jobs
    run at a time, and a job that fails does not stop the others. Files that no batch has written are kept.
    """
    if context.args:
        name = context.args[0]
        context.fail(f"Got an unexpected argument {name}. The video is named with -o: -o {name}")
    options = RenderOptions(
        fps=fps,
        crf=crf,
        crop=crop,
        max_size=max_size,
        face=face,
        box=box,
        landmarks=landmarks,
        track=track,
        weights=weights,
        device=device,
        mark=mark,
        json=json,
        expression=expression,
        seed=seed,
    )
    settings = batch.Settings(out_dir, jobs, resume, report_file, engine, workers)
    if settings.wanted:
        batch.run(context, photo, speech, out, options, settings, quiet=quiet)
        return
    settings.refuse_if_given(context)
    if photo is None or speech is None:
        context.fail(f"Missing argument '{'PHOTO' if photo is None else 'SPEECH'}'.")
    from talkface.rendering import render as render_video

    with console.progress("Rendering", quiet=quiet) as on_step:
        report = render_video(
            photo, speech, out, options, on_step=on_step, on_note=lambda note: console.say(note, quiet=quiet)
        )
    size = f"{report.width}x{report.height}"
    speed = f"{report.frames_per_second:.1f} frames/s, {report.seconds['total']:.1f} s in total"
    console.say(f"{report.out}: {report.frames} frames, {size}, {speed}", quiet=quiet)
