"""`talkface render`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from talkface import console
from talkface.cli.options import DEVICE, QUIET, parse_box, seed_option
from talkface.cli.text import speech_or_text
from talkface.render_options import RenderOptions


def render(
    context: typer.Context,
    photo: Annotated[
        Path, typer.Argument(metavar="PHOTO", help="A photo with a face: JPEG, PNG, WebP, TIFF, BMP, ...")
    ],
    speech: Annotated[
        Path | None,
        typer.Argument(metavar="SPEECH", help="A recording, or a video with sound; - is standard input."),
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
        bool,
        typer.Option(
            help="Whether an XMP packet and the video's metadata say that it is synthetic; talkface verify reads them."
        ),
    ] = RenderOptions.mark,
    c2pa: Annotated[
        bool, typer.Option("--c2pa", help="Add signed content credentials; needs talkface\\[c2pa].")
    ] = RenderOptions.c2pa,
    c2pa_signer: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.pem",
            help="Private key and certificates that sign them. Default: a new certificate, whose signer validators "
            "report as unknown.",
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help='A visible label in the lower left corner, such as "AI-generated".')
    ] = RenderOptions.label,
    text: Annotated[
        str | None,
        typer.Option(help="Speak this text, in place of SPEECH. Needs eSpeak NG: talkface\\[text], or its library."),
    ] = None,
    voice: Annotated[
        str, typer.Option(help="Voice of --text: a language of eSpeak NG and a variant, such as en+f3 or ar.")
    ] = "en-us",
    srt: Annotated[
        Path | None, typer.Option(help="Subtitles, .srt or .vtt: a track that players can switch on.")
    ] = None,
    burn_subtitles: Annotated[
        bool, typer.Option("--burn-subtitles", help="Draw the subtitles of --srt into the picture instead.")
    ] = RenderOptions.burn_subtitles,
    json: Annotated[
        Path | None, typer.Option(help="Write a description of the result: hashes, versions, options, times.")
    ] = None,
    expression: Annotated[
        float, typer.Option(help="Factor on the opening of the mouth; 1 is what eval measures.")
    ] = RenderOptions.expression,
    seed: Annotated[
        int, seed_option("Seed for generators that draw random numbers; the bundled one draws none.")
    ] = RenderOptions.seed,
    quiet: QUIET = False,
) -> None:
    """Write an mp4 in which the face of PHOTO says what is in SPEECH, or in the text of --text.

    An existing video of that name is replaced when the new one is complete. Names that begin with a dash go after --.
    """
    if context.args:
        name = context.args[0]
        context.fail(f"Got an unexpected argument {name}. The video is named with -o: -o {name}")
    from talkface.rendering import render as render_video

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
        c2pa=c2pa,
        c2pa_signer=c2pa_signer,
        label=label,
        srt=srt,
        burn_subtitles=burn_subtitles,
        json=json,
        expression=expression,
        seed=seed,
    )
    with speech_or_text(speech, text, voice) as sound, console.progress("Rendering", quiet=quiet) as on_step:
        report = render_video(
            photo, sound, out, options, on_step=on_step, on_note=lambda note: console.say(note, quiet=quiet)
        )
    size = f"{report.width}x{report.height}"
    speed = f"{report.frames_per_second:.1f} frames/s, {report.seconds['total']:.1f} s in total"
    console.say(f"{report.out}: {report.frames} frames, {size}, {speed}", quiet=quiet)
