"""`talkface render`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from talkface import console
from talkface.cli import batch
from talkface.cli.options import BACKEND, DEVICE, QUIET, WEIGHTS, parse_box, seed_option
from talkface.cli.text import speech_or_text
from talkface.render_options import RenderOptions

INTERRUPTED = 130
LIVE = "Live sound"


def render(
    context: typer.Context,
    photo: Annotated[
        Path | None,
        typer.Argument(
            metavar="PHOTO",
            help="A photo with a face: JPEG, PNG, WebP, TIFF, BMP, ...; or a video to dub; or a folder of photos.",
        ),
    ] = None,
    speech: Annotated[
        Path | None,
        typer.Argument(
            metavar="SPEECH",
            help="A recording, or a video with sound; - is standard input; or a folder of recordings. Default: the "
            "sound of the video to dub.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The video. Default: PHOTO_SPEECH.mp4 in the current folder.")
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(help="Frames per second, such as 25, 29.97 or 30000/1001. Default: 25, or the video's own."),
    ] = None,
    crf: Annotated[
        int, typer.Option(help="Quality of the video, from 0 (lossless) to 51 (worst).")
    ] = RenderOptions.crf,
    crop: Annotated[
        bool,
        typer.Option(
            "--crop", help="Render the aligned 256x256 face alone instead of the full photo; only its lips move."
        ),
    ] = RenderOptions.crop,
    max_size: Annotated[
        int | None,
        typer.Option(help="Maximum of the longer side in pixels. Default: 1280, or none if a video is dubbed."),
    ] = RenderOptions.max_size,
    face: Annotated[
        int | None,
        typer.Option(help="Which face, counted from 1 from left to right in each shot. Default: the largest."),
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
    weights: WEIGHTS = None,
    device: DEVICE = RenderOptions.device,
    backend: BACKEND = "auto",
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
    motion: Annotated[
        float,
        typer.Option(
            help="How much the head moves and the brows rise, from 0 to 1; less for a face that is turned, covered or "
            "near the edge."
        ),
    ] = RenderOptions.motion,
    blink: Annotated[bool, typer.Option("--blink/--no-blink", help="Whether the eyes blink.")] = RenderOptions.blink,
    seed: Annotated[int, seed_option("Seed of the movement of head and lids.")] = RenderOptions.seed,
    sound_format: Annotated[
        str | None,
        typer.Option(
            metavar="ENCODING:RATE",
            help="Render raw sound as it comes (live), such as s16le:16000; also s32le, f32le or u8, and :CHANNELS.",
            rich_help_panel=LIVE,
        ),
    ] = RenderOptions.sound_format,
    look_ahead: Annotated[
        int,
        typer.Option(
            metavar="MS",
            help="How many ms of sound a frame may depend on after its start, at most 400: less delay or better lips.",
            rich_help_panel=LIVE,
        ),
    ] = RenderOptions.look_ahead,
    video_format: Annotated[
        Literal["mp4", "rgb24"],
        typer.Option(help="mp4 with sound, or rgb24: raw frames without sound.", rich_help_panel=LIVE),
    ] = "mp4",
    skip_early: Annotated[
        bool,
        typer.Option(
            "--skip-early",
            help="Leave out the sound that comes before the first frame can be made, as for a microphone.",
            rich_help_panel=LIVE,
        ),
    ] = RenderOptions.skip_early,
    loop: Annotated[
        Literal["pingpong", "repeat", "hold"],
        typer.Option(
            help="How a video to dub goes on if the sound is longer: forwards and backwards, again, or still."
        ),
    ] = "pingpong",
    keep_sound: Annotated[
        float | None,
        typer.Option(
            metavar="DB", help="Keep the sound of a video to dub below the new one, changed by DB, as in -20."
        ),
    ] = RenderOptions.keep_sound,
    out_dir: batch.OUT_DIR = None,
    jobs: batch.JOBS = None,
    resume: batch.RESUME = False,
    report_file: batch.REPORT = None,
    engine: batch.ENGINE = "local",
    workers: batch.WORKERS = 0,
    quiet: QUIET = False,
) -> None:
    """Write an mp4 in which the face of PHOTO says what is in SPEECH, or in the text of --text.

    PHOTO may be a video: its lips are replaced, and all else stays as it is, also its size and frame rate.

    An existing video of that name is replaced when the new one is complete. Names that begin with a dash go after --.

    Many videos: with a folder as PHOTO or SPEECH and --out-dir, or with --jobs. Networks are loaded once, several jobs
    run at a time, and a job that fails does not stop the others. Files that no batch has written are kept.

    Live: talkface render photo.jpg - --sound-format s16le:16000 -o - | ffplay -
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
        backend=backend,
        mark=mark,
        c2pa=c2pa,
        c2pa_signer=c2pa_signer,
        label=label,
        srt=srt,
        burn_subtitles=burn_subtitles,
        json=json,
        expression=expression,
        motion=motion,
        blink=blink,
        seed=seed,
        sound_format=sound_format,
        look_ahead=look_ahead,
        video_format=video_format,
        skip_early=skip_early,
        loop=loop,
        keep_sound=keep_sound,
    )
    settings = batch.Settings(out_dir, jobs, resume, report_file, engine, workers)
    if settings.wanted:
        if text is not None:
            context.fail("--text is spoken in one video; the speech of many is in a folder or in the file of --jobs.")
        batch.run(context, photo, speech, out, options, settings, quiet=quiet)
        return
    settings.refuse_if_given(context)
    if photo is None:
        context.fail("Missing argument 'PHOTO'.")
    if sound_format is not None:
        if text is not None:
            context.fail("--text and --sound-format were given: give only one of them.")
        _render_live(photo, speech or Path("-"), out, options, quiet)
        return
    from talkface.rendering import render as render_video

    with speech_or_text(speech, text, voice) as sound, console.progress("Rendering", quiet=quiet) as on_step:
        report = render_video(
            photo, sound, out, options, on_step=on_step, on_note=lambda note: console.say(note, quiet=quiet)
        )
    size = f"{report.width}x{report.height}"
    speed = f"{report.frames_per_second:.1f} frames/s, {report.seconds['total']:.1f} s in total"
    kept = f", {report.frames_without_face} without a face" if report.frames_without_face else ""
    console.say(f"{report.out}: {report.frames} frames{kept}, {size}, {speed}", quiet=quiet)


def _render_live(photo: Path, speech: Path, out: Path | None, options: RenderOptions, quiet: bool) -> None:
    from talkface.live.source import SteadySource

    # Before PyTorch is loaded, so that the time at which sound comes is known from the start.
    source = SteadySource.open(speech, str(options.sound_format))
    from talkface.live.render import render_live

    report = render_live(photo, source, out, options, on_note=lambda note: console.say(note, quiet=quiet))
    size = f"{report.width}x{report.height}"
    console.say(f"{report.out}: {report.frames} frames, {size}, {report.sentence()}", quiet=quiet)
    if report.stopped:
        console.say("Stopped. The video is complete up to then.", quiet=quiet)
        raise typer.Exit(INTERRUPTED)
