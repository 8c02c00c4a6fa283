"""Renders a video in which the face of a photo or of a video says what is in a recording (paper 3.1, 3.3).

photo      -> detected face -> aligned 256x256 face and its transform -> identity features, encoded once
video      -> the face of each frame, tracked in a first pass (`talkface.dubbing`)
recording  -> speech recogniser's features at each video frame (or 20x13 windows of MFCC) -> lip points
frames     -> (identity, lip points, previous frame and mask) -> next frame -> paste-back -> one ffmpeg pipe with audio

Frame k is shown at exactly k / fps seconds. The generator is trained at 25 frames per second. At another rate each
frame still gets the audio around its own time, and the previous frame is the one 1 / fps before.

A few frames are in memory at a time, so memory does not grow with the length of the recording.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from talkface.errors import TalkfaceError
from talkface.files import STDIN_NAMES, check_output_files, is_folder, repeatable, write_json
from talkface.kept import Kept
from talkface.media.kind import is_video
from talkface.media.label import Label
from talkface.media.subtitles import Subtitles, until
from talkface.media.video import VideoWriter
from talkface.photo_scene import PhotoScene, prepare_photo
from talkface.pipeline import Beside
from talkface.render_options import VIDEO_SUFFIXES, RenderOptions
from talkface.render_steps import OnNote, OnStep, timed
from talkface.report import Report, describe

if TYPE_CHECKING:
    from talkface.dubbing.prepare import VideoScene


def render(
    photo: str | Path,
    speech: str | Path | None = None,
    out: str | Path | None = None,
    options: RenderOptions | None = None,
    *,
    on_step: OnStep | None = None,
    on_note: OnNote | None = None,
    kept: Kept | None = None,
    **changes: Any,
) -> Report:
    """Write an mp4 in which the face of `photo` says what is in `speech`.

    Args:
        photo: an image of any common format, or a video, whose lips are replaced in every frame.
        speech: anything that ffmpeg can take audio from, also a pipe; "-" is standard input. Its audio is copied into
            the video unchanged if it is AAC or MP3. None: the sound of the video itself.
        out: the video. Default: PHOTO_SPEECH.mp4 in the current folder, VIDEO_dubbed.mp4 without speech; a folder means
            that name inside it. An existing video is replaced once the new one is complete; an input is never replaced.
        options: how to render. Default: RenderOptions().
        on_step: called with (frames done, frames in total) after every frame; of a video the frames of the first pass
            count too.
        on_note: called with each of the report's notes as soon as it is known.
        kept: networks and faces that earlier calls with the same object have loaded and detected are used again.
        changes: fields of `options` by name, as in render("a.jpg", "b.wav", "o.mp4", crop=True).

    Raises:
        TalkfaceError: an input cannot be used, there is no face, or the video cannot be written. No partial file is
            left then, and an existing video is unchanged.
    """
    started = time.perf_counter()
    options = replace(options or RenderOptions(), **changes)
    out = output_path(Path(photo), speech if speech is None else Path(speech), out)
    check_outputs(out, [photo] if speech is None else [photo, speech], options)
    sign = _signing(options)
    with ExitStack() as files:
        photo_file, speech_file = _open_inputs(files, photo, speech)
        scene = _prepare(photo_file, speech_file, options, on_note, on_step, kept)
        sound, track = files.enter_context(scene.sound())
        writer = VideoWriter(
            out,
            scene.width,
            scene.height,
            scene.rate,
            sound,
            audio_track=track,
            crf=options.crf,
            mark=options.mark,
            subtitles=_subtitles(options, scene.frame_count / scene.rate),
            on_complete=sign,
        )
        _write_frames(scene, writer, on_step)
        scene.seconds["total"] = time.perf_counter() - started
        report = Report(out, scene.frame_count, scene.width, scene.height, scene.seconds, scene.notes)
        report.frames_without_face = scene.frames_without_face
        if options.json is not None:
            inputs = {scene.kind: (photo, photo_file), "speech": (speech or photo, speech_file or photo_file)}
            report.manifest = describe(report, scene, inputs)
            write_json(options.json, report.manifest)
    return report


def stream(
    photo: str | Path,
    speech: str | Path | None = None,
    options: RenderOptions | None = None,
    *,
    on_note: OnNote | None = None,
    **changes: Any,
) -> Iterator[np.ndarray]:
    """Yield the frames that `render` would encode, one by one, as uint8 RGB (H, W, 3).

    Arguments and errors are those of `render`; options about the file (crf, mark, json) have no effect. The inputs are
    read, and their errors raised, by the call itself; each frame is generated when it is requested.
    """
    options = replace(options or RenderOptions(), **changes)
    with ExitStack() as files:
        scene = _prepare(*_open_inputs(files, photo, speech), options, on_note)
    return _finished(scene)


def _finished(scene: PhotoScene | VideoScene) -> Iterator[np.ndarray]:
    finish = _finisher(scene)
    for frame in scene.generated():
        yield finish(frame)


def _finisher(scene: PhotoScene | VideoScene) -> Callable[[Any], np.ndarray]:
    """The function that makes the video's frame, with its label, from a generated one."""
    finish: Callable[[Any], np.ndarray] = scene.finisher()
    if scene.options.label is None:
        return finish
    label = Label(scene.options.label, scene.width, scene.height)
    return lambda frame: label.draw(finish(frame))


def _open_inputs(files: ExitStack, photo: str | Path, speech: str | Path | None) -> tuple[Path, Path | None]:
    """Give files that can be read repeatedly until `files` is closed."""
    photo_file = files.enter_context(repeatable(photo, "a photo or a video"))
    return photo_file, None if speech is None else files.enter_context(repeatable(speech, "a recording"))


def _prepare(
    photo: Path,
    speech: Path | None,
    options: RenderOptions,
    on_note: OnNote | None,
    on_step: OnStep | None = None,
    kept: Kept | None = None,
) -> PhotoScene | VideoScene:
    """Read the inputs, whether the first is a photo or a video."""
    if is_video(photo):
        from talkface.dubbing.prepare import prepare_video  # here, because it imports PyTorch

        return prepare_video(photo, speech, options, on_note, on_step, kept)
    if speech is None:
        raise TalkfaceError(
            f"{photo.name} is a photo, and there is no speech for it.", "Give a recording after the photo."
        )
    if options.keep_sound is not None:
        raise TalkfaceError(
            f"--keep-sound {options.keep_sound:g}: {photo.name} is a photo, which has no sound.", "Leave it out."
        )
    return prepare_photo(photo, speech, options, on_note, kept)


def _write_frames(scene: PhotoScene | VideoScene, writer: VideoWriter, on_step: OnStep | None) -> None:
    """Generate the frames; finish and encode them beside the network."""
    seconds, finish, numbers = scene.seconds, _finisher(scene), itertools.count(1)
    total = scene.steps_before + scene.frame_count
    seconds["encoding"] = 0.0

    def advance(count: int) -> None:
        for number in itertools.islice(numbers, count):
            if on_step:
                on_step(scene.steps_before + number, total)

    def write(frame: Any) -> None:
        video.write(finish(frame))

    with timed(seconds, "frames"), Beside(write) as beside, writer as video:
        for frame in scene.generated():
            with timed(seconds, "encoding"):
                done = beside.put(frame)
            advance(done)
        with timed(seconds, "encoding"):
            done = beside.finish()
        advance(done)
    seconds["frames"] -= seconds["encoding"]


def output_path(photo: Path, speech: Path | None, out: str | Path | None, video_format: str = "mp4") -> Path:
    """Return the path of the video: PHOTO_SPEECH.mp4, unless the caller names a file."""
    first, second = (
        "stdin" if str(path) in STDIN_NAMES else path.stem
        for path in (photo, Path("dubbed") if speech is None else speech)
    )
    name = f"{first}_{second}.{video_format}"
    if out is None:
        return Path(name)
    out = Path(out)
    if is_folder("--out", out):
        return out / name
    if video_format == "mp4" and out.suffix.lower() not in VIDEO_SUFFIXES:
        raise TalkfaceError(
            f"--out {out} does not end in {', '.join(VIDEO_SUFFIXES)}: the video is an mp4.",
            f"Use {out.stem or 'out'}.mp4.",
        )
    return out


def _subtitles(options: RenderOptions, duration: Fraction) -> Subtitles | None:
    if options.srt is None:
        return None
    return until(float(duration), options.srt, options.burn_subtitles)


def _signing(options: RenderOptions) -> Callable[[Path], None] | None:
    """What signs the complete video, if wanted; a missing library or a wrong certificate is an error at once."""
    if not options.c2pa:
        return None
    from talkface.media.credentials import Signer  # here, because c2pa-python is optional

    return Signer(None if options.c2pa_signer is None else Path(options.c2pa_signer)).sign


def check_outputs(out: Path, given: Sequence[str | Path], options: RenderOptions) -> None:
    """Tell what cannot be read together or written, before any work.

    Args:
        out: the video.
        given: photo or video, and the recording.
        options: of the render.
    """
    if sum(str(path) in STDIN_NAMES for path in given) > 1:
        raise TalkfaceError(
            "Photo and recording are both read from standard input.", "Give the name of a file for one of them."
        )
    outputs = {"--out": out} | ({} if options.json is None else {"--json": Path(options.json)})
    read = (*given, options.weights, options.srt, options.c2pa_signer)
    inputs = [path for path in read if isinstance(path, str | Path)]
    check_output_files(outputs, inputs)
