"""`render` and `stream` of a sound that is still coming."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from talkface import rendering
from talkface.config import MFCC_COEFFS
from talkface.device import one_thread
from talkface.errors import TalkfaceError
from talkface.face.paste import Paster
from talkface.files import STDIN_NAMES, check_output_files, is_folder, repeatable, write_json
from talkface.live.frames import LiveFrames
from talkface.live.output import STDOUT
from talkface.live.sound import LiveSound
from talkface.live.source import SteadySource, array_blocks, stamped
from talkface.live.write import LiveFace, LiveReport, write_live
from talkface.media.audio import Speech
from talkface.media.pcm import SoundFormat
from talkface.model.inference import OutputFrame
from talkface.render_options import RenderOptions
from talkface.rendering import OnNote, _Scene


def render_live(
    photo: str | Path,
    speech: str | Path | SteadySource,
    out: str | Path | None = None,
    options: RenderOptions | None = None,
    *,
    on_note: OnNote | None = None,
    **changes: Any,
) -> LiveReport:
    """Write a video in which the face of `photo` says what comes from `speech`, while it comes.

    It ends when the sound ends, on Ctrl-C, or when nobody reads the output any more.

    Args:
        photo: an image of any common format.
        speech: raw sound in the format `sound_format` of the options; "-" is standard input. Or a source that has been
            opened before.
        out: a new file, which plays while it grows, or "-" for standard output. Default: PHOTO_SPEECH.mp4 in the
            current folder.
        options: how to render; `sound_format` is needed.
        on_note: called with notes as soon as they are known.
        changes: fields of `options` by name.

    Raises:
        TalkfaceError: an input cannot be used, there is no face, no sound came, or the video cannot be written. A file
            without frames is deleted; frames that were written stay and can be played.
    """
    started = time.perf_counter()
    options = replace(options or RenderOptions(), **changes)
    name = speech.path if isinstance(speech, SteadySource) else speech
    out = _check_output(photo, name, out, options)
    # The sound is read from now on: what comes during the preparation keeps its time of arrival.
    source = speech if isinstance(speech, SteadySource) else SteadySource.open(speech, _sound_format(options))
    with repeatable(photo, "a photo") as photo_file:
        scene = _prepared(photo_file, name, source.sound, options, on_note)
        if options.skip_early:
            source.skip_held()
        with rendering._timed(scene.seconds, "frames"), one_thread(scene.device.type == "cpu"):
            report = write_live(
                _live_face(scene),
                source,
                out,
                fps=options.rate,
                look_ahead_ms=options.look_ahead,
                expression=options.expression,
                raw=options.video_format != "mp4",
                crf=options.crf,
                mark=options.mark,
            )
        scene.seconds["total"] = time.perf_counter() - started
        if options.json is not None:
            write_json(options.json, _manifest(report, scene, photo, photo_file))
    return report


def stream(
    photo: str | Path,
    speech: str | Path | Iterable[np.ndarray],
    options: RenderOptions | None = None,
    *,
    sound_rate: int | None = None,
    on_note: OnNote | None = None,
    **changes: Any,
) -> Iterator[np.ndarray]:
    """Yield the frames that `render` would encode, one by one, as uint8 RGB (H, W, 3).

    Arguments and errors are those of `render`; options about the file (crf, mark, json) have no effect. The inputs are
    read, and their errors raised, by the call itself; each frame is generated when it is requested.

    Live sound: `speech` may also be an iterable of blocks of sound at `sound_rate` Hz, float from -1 to 1 or int16,
    (samples,) or (samples, channels). A block is taken when a frame needs it, and frame k is yielded once the sound up
    to k / fps + `look_ahead` has been taken. With the option `sound_format`, `speech` is raw sound, "-" being standard
    input, that is read as it comes, with silence in its place while none comes.
    """
    options = replace(options or RenderOptions(), **changes)
    if isinstance(speech, str | Path) and options.sound_format is None:
        return rendering.stream(photo, speech, options, on_note=on_note)
    if isinstance(speech, str | Path):
        source = SteadySource.open(speech, _sound_format(options))
        sound, blocks = source.sound, iter(source)
    elif sound_rate is None:
        raise TalkfaceError("The rate of the blocks of sound is not known.", "Give sound_rate=16000, for example.")
    else:
        sound = SoundFormat("f32le", sound_rate)
        blocks = stamped(array_blocks(speech))
    with repeatable(photo, "a photo") as photo_file:
        scene = _prepared(photo_file, STDOUT, sound, options, on_note)
    who, live = _live_face(scene), LiveSound(blocks, sound)
    ahead = options.look_ahead / 1000
    frames = LiveFrames(who.generator, who.face, who.show, live, options.rate, ahead, expression=options.expression)
    return _in_one_thread(iter(frames), scene.device.type == "cpu")


def _in_one_thread(frames: Iterator[np.ndarray], wanted: bool) -> Iterator[np.ndarray]:
    """The same frames; PyTorch has one thread while one is made, but not while the caller uses it."""
    while True:
        with one_thread(wanted):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


def _sound_format(options: RenderOptions) -> str:
    if options.sound_format is None:
        raise TalkfaceError("The format of the live sound is not known.", "Give sound_format, such as s16le:16000.")
    return options.sound_format


def _check_output(photo: str | Path, speech: str | Path, out: str | Path | None, options: RenderOptions) -> str | Path:
    """Return where the video goes, after the checks that need no work."""
    if {str(photo), str(speech)} <= set(STDIN_NAMES):
        raise TalkfaceError("Photo and sound are both standard input.", "Give the photo as a file.")
    if str(out) == STDOUT:
        if options.json is not None:
            check_output_files({"--json": Path(options.json)}, [photo])
        return STDOUT
    path = rendering._output(Path(photo), Path(speech), out if options.video_format == "mp4" else None)
    if options.video_format != "mp4":
        path = path.with_suffix(f".{options.video_format}")
        path = path if out is None else Path(out) / path if is_folder("--out", Path(out)) else Path(out)
    rendering._check_outputs(path, photo, speech, options)
    return path


def _prepared(
    photo: Path, speech: str | Path, sound: SoundFormat, options: RenderOptions, on_note: OnNote | None
) -> _Scene:
    """The face and the networks; of the sound only the format is known."""
    unheard = Speech(np.zeros((0, MFCC_COEFFS), np.float32), 0.0, 0.0, Path(speech), sound.rate, sound.channels)
    return rendering._prepare(photo, unheard, options, on_note)


def _live_face(scene: _Scene) -> LiveFace:
    show = _face_alone if scene.options.crop else Paster(scene.photo, scene.transform).paste_frame
    return LiveFace(scene.generator, scene.aligned, show, scene.width, scene.height)


def _face_alone(frame: OutputFrame) -> np.ndarray:
    return frame.face


def _manifest(report: LiveReport, scene: _Scene, photo: str | Path, photo_file: Path) -> dict[str, Any]:
    """The manifest of `render`, with what is known of the live sound."""
    seconds = scene.seconds | {"encoding": 0.0}
    whole = rendering.Report(Path(report.out), report.frames, scene.width, scene.height, seconds, scene.notes)
    described = rendering._manifest(whole, scene, {"photo": (photo, photo_file), "speech": (scene.speech.path, None)})
    described["speech"] = {
        "path": str(scene.speech.path),
        "format": scene.options.sound_format,
        "seconds": report.sound_seconds,
    }
    described["options"] |= {"look_ahead": scene.options.look_ahead, "video_format": scene.options.video_format}
    return described | {"live": asdict(report)}
