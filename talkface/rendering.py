"""Renders a video in which the face of a photo, or of another video, says what is in a recording (paper 3.1, 3.3).

photo      -> detected face -> aligned 256x256 face and its transform -> identity features, encoded once
recording  -> speech recogniser's features at each video frame (or 20x13 windows of MFCC) -> lip points
frames     -> (identity, lip points, previous frame and mask) -> next frame -> paste-back -> one ffmpeg pipe with audio

Frame k is shown at exactly k / fps seconds. The generator is trained at 25 frames per second. At another rate each
frame still gets the audio around its own time, and the previous frame is the one 1 / fps before.

One frame is in memory at a time, so memory does not grow with the length of the recording. Videos are dubbed by
`talkface.dubbing`, which keeps the points of a face for every frame.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from talkface._version import __version__
from talkface.config import SIZE
from talkface.device import pick_device
from talkface.dubbing.prepare import VideoScene, prepare_video
from talkface.errors import TalkfaceError
from talkface.face.align import warp
from talkface.face.paste import Paster
from talkface.face.select import SelectedFace, select_face
from talkface.files import STDIN_NAMES, check_output_files, is_folder, repeatable, sha256, write_json
from talkface.media.audio import Speech, load_speech
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.media.image import load_photo
from talkface.media.kind import is_video
from talkface.media.timing import frame_count
from talkface.media.video import VideoWriter
from talkface.model.checkpoint import AnyGenerator
from talkface.model.inference import AlignedFace, OutputFrame
from talkface.model.talking import animate
from talkface.render_options import PHOTO_SIZE, RenderOptions
from talkface.render_steps import OnNote, OnStep, in_one_thread, open_generator, speech_features, timed

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov")
MANIFEST_OPTIONS = ("crf", "crop", "max_size", "mark", "seed", "expression", "landmarks", "track", "loop", "keep_sound")


@dataclass
class Report:
    """What `render` did."""

    out: Path
    """The video."""
    frames: int
    width: int
    height: int
    seconds: dict[str, float]
    """Time per stage: photo or video (the first pass), speech, weights, frames (network and paste-back), encoding; and
    total."""
    notes: list[str] = field(default_factory=list)
    """What the user should know, for example which of several faces was used."""
    manifest: dict[str, Any] = field(default_factory=dict)
    """The content of the --json file; empty without one, because the hashes in it take time."""
    frames_without_face: int = 0
    """Frames that keep the picture of a dubbed video, because they have no face that can be animated."""

    @property
    def frames_per_second(self) -> float:
        """Frames generated, pasted back and encoded per second, not counting the time before the first frame."""
        return self.frames / max(self.seconds["frames"] + self.seconds["encoding"], 1e-9)


def render(
    photo: str | Path,
    speech: str | Path | None = None,
    out: str | Path | None = None,
    options: RenderOptions | None = None,
    *,
    on_step: OnStep | None = None,
    on_note: OnNote | None = None,
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
        changes: fields of `options` by name, as in render("a.jpg", "b.wav", "o.mp4", crop=True).

    Raises:
        TalkfaceError: an input cannot be used, there is no face, or the video cannot be written. No partial file is
            left then, and an existing video is unchanged.
    """
    started = time.perf_counter()
    options = replace(options or RenderOptions(), **changes)
    out = _output(Path(photo), speech if speech is None else Path(speech), out)
    _check_outputs(out, [photo] if speech is None else [photo, speech], options)
    with ExitStack() as files:
        photo_file, speech_file = _open_inputs(files, photo, speech)
        scene = _prepare_any(photo_file, speech_file, options, on_note, on_step)
        sound, track = files.enter_context(scene.sound())
        seconds = scene.seconds
        writer = VideoWriter(
            out,
            scene.width,
            scene.height,
            scene.rate,
            sound,
            audio_track=track,
            crf=options.crf,
            mark=options.mark,
        )
        with timed(seconds, "frames"), writer as video:
            for done, frame in enumerate(scene.frames(), start=1):
                with timed(seconds, "encoding"):
                    video.write(frame)
                if on_step:
                    on_step(scene.steps_before + done, scene.steps_before + scene.frame_count)
        seconds["frames"] -= seconds["encoding"]
        seconds["total"] = time.perf_counter() - started
        report = Report(out, scene.frame_count, scene.width, scene.height, seconds, scene.notes)
        report.frames_without_face = scene.kept
        if options.json is not None:
            inputs = {scene.kind: (photo, photo_file), "speech": (speech or photo, speech_file or photo_file)}
            report.manifest = _manifest(report, scene, inputs)
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
        return _prepare_any(*_open_inputs(files, photo, speech), options, on_note).frames()


def _open_inputs(files: ExitStack, photo: str | Path, speech: str | Path | None) -> tuple[Path, Path | None]:
    """Give files that can be read repeatedly until `files` is closed."""
    photo_file = files.enter_context(repeatable(photo, "a photo or a video"))
    return photo_file, None if speech is None else files.enter_context(repeatable(speech, "a recording"))


@dataclass
class _Scene:
    """Everything that is needed to generate the frames of a photo."""

    photo: np.ndarray  # uint8 (H, W, 3), as large as the video
    transform: np.ndarray  # float64 (2, 3), pixels of `photo` to pixels of the aligned face
    aligned: AlignedFace
    face: SelectedFace
    speech: Speech
    generator: AnyGenerator
    weights: dict[str, str]  # path and sha256
    device: torch.device
    options: RenderOptions
    notes: list[str]
    seconds: dict[str, float]

    kind = "photo"
    steps_before = 0  # frames of a first pass
    kept = 0  # frames without a face

    @property
    def rate(self) -> Fraction:
        return self.options.rate

    def sound(self) -> AbstractContextManager[tuple[Path, int | None]]:
        """The file with the sound of the video, and the number of its track."""
        return nullcontext((self.speech.path, self.speech.track))

    @property
    def width(self) -> int:
        return SIZE if self.options.crop else self.photo.shape[1]

    @property
    def height(self) -> int:
        return SIZE if self.options.crop else self.photo.shape[0]

    @property
    def frame_count(self) -> int:
        return frame_count(self.speech.duration, self.options.rate)

    def frames(self) -> Iterator[np.ndarray]:
        """Yield the video's frames, uint8 RGB (height, width, 3)."""
        generated = in_one_thread(self._generate(), self.device)
        if self.options.crop:
            yield from (frame.face for frame in generated)
            return
        paster = Paster(self.photo, self.transform)
        for frame in generated:
            yield paster.paste_frame(frame)

    def _generate(self) -> Iterator[OutputFrame]:
        """Run the generator: one output per video frame, on the aligned face."""
        rate = self.options.rate
        features = speech_features(self.generator, self.speech, self.frame_count, rate, self.options.track, self.device)
        return animate(self.generator, self.aligned, features, self.options.expression, float(rate))


def _prepare_any(
    photo: Path, speech: Path | None, options: RenderOptions, on_note: OnNote | None, on_step: OnStep | None = None
) -> _Scene | VideoScene:
    """Read the inputs, whether the first is a photo or a video."""
    if is_video(photo):
        return prepare_video(photo, speech, options, on_note, on_step)
    if speech is None:
        raise TalkfaceError(
            f"{photo.name} is a photo, and there is no speech for it.", "Give a recording after the photo."
        )
    if options.keep_sound is not None:
        raise TalkfaceError(
            f"--keep-sound {options.keep_sound:g}: {photo.name} is a photo, which has no sound.", "Leave it out."
        )
    return _prepare(photo, speech, options, on_note)


def _prepare(photo: Path, speech: Path, options: RenderOptions, on_note: OnNote | None) -> _Scene:
    """Read the inputs, those that are checked fastest first, and detect the face."""
    device = pick_device(options.device)
    seconds: dict[str, float] = {}
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        if on_note:
            on_note(text)

    with timed(seconds, "photo"):
        image = load_photo(photo, on_note=note)
        face = select_face(
            image,
            str(photo),
            number=options.face,
            box=options.box,
            landmarks=options.landmarks,
            device=device,
        )
        aligned = AlignedFace(warp(image, face.transform), face.lips, face.nose, face.reach)
        fitted, transform = _fit(image, face.transform, options.max_size or PHOTO_SIZE)
    for text in face.notes:
        note(text)
    with timed(seconds, "speech"):
        audio = load_speech(speech, options.track)
    for text in audio.notes:
        note(text)
    with timed(seconds, "weights"):
        torch.manual_seed(options.seed)
        generator, weights = open_generator(options.weights, device)
    return _Scene(fitted, transform, aligned, face, audio, generator, weights, device, options, notes, seconds)


def _fit(image: np.ndarray, transform: np.ndarray, max_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the photo at the size of the video (longer side at most `max_size`, even sides) and its alignment.

    A photo that is small enough keeps its pixels; an odd side loses its last row or column.
    """
    height, width = image.shape[:2]
    scale = min(1.0, max_size / max(height, width))
    if scale < 1:
        width, height = max(2, round(width * scale)), max(2, round(height * scale))
        step_x, step_y = image.shape[1] / width, image.shape[0] / height
        # Pixel centres have whole coordinates, so the edge of the first pixel is at -0.5.
        enlarge = np.array([[step_x, 0, (step_x - 1) / 2], [0, step_y, (step_y - 1) / 2], [0, 0, 1]])
        transform = transform @ enlarge
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    if height % 2 or width % 2:
        image = np.ascontiguousarray(image[: height - height % 2, : width - width % 2])
    return image, transform


def _output(photo: Path, speech: Path | None, out: str | Path | None) -> Path:
    """Return the path of the video: PHOTO_SPEECH.mp4, unless the caller names a file."""
    first, second = (
        "stdin" if str(path) in STDIN_NAMES else path.stem
        for path in (photo, Path("dubbed") if speech is None else speech)
    )
    name = f"{first}_{second}.mp4"
    if out is None:
        return Path(name)
    out = Path(out)
    if is_folder("--out", out):
        return out / name
    if out.suffix.lower() not in VIDEO_SUFFIXES:
        raise TalkfaceError(
            f"--out {out} does not end in {', '.join(VIDEO_SUFFIXES)}: the video is an mp4.",
            f"Use {out.stem or 'out'}.mp4.",
        )
    return out


def _check_outputs(out: Path, given: list[str | Path], options: RenderOptions) -> None:
    outputs = {"--out": out} | ({} if options.json is None else {"--json": Path(options.json)})
    inputs = [path for path in (*given, options.weights) if isinstance(path, str | Path)]
    check_output_files(outputs, inputs)


def _manifest(report: Report, scene: _Scene | VideoScene, inputs: dict[str, tuple[str | Path, Path]]) -> dict[str, Any]:
    """Describe what was done, in values that JSON can hold.

    Args:
        inputs: for each input its name, as it was given, and the file that was read.
    """
    libraries = ("torch", "numpy", "librosa", "safetensors")
    files = {kind: {"path": str(name), "sha256": sha256(file)} for kind, (name, file) in inputs.items()}
    audio = {"seconds": scene.speech.duration, "level_db": round(scene.speech.level_db, 1), "track": scene.speech.track}
    options = {"fps": str(scene.rate)} | {name: getattr(scene.options, name) for name in MANIFEST_OPTIONS}
    return {
        "talkface": __version__,
        "out": {"path": str(report.out), "sha256": sha256(report.out)},
        scene.kind: files[scene.kind],
        "speech": files["speech"] | audio,
        "weights": scene.weights,
        "face": scene.face.to_dict(),
        "options": options,
        "device": str(scene.device),
        "threads": torch.get_num_threads(),
        "frames": report.frames,
        "width": report.width,
        "height": report.height,
        "seconds": {stage: round(value, 3) for stage, value in report.seconds.items()},
        "frames_per_second": round(report.frames_per_second, 2),
        "notes": report.notes,
        "versions": {"python": platform.python_version(), "opencv": cv2.__version__}
        | {name: metadata.version(name) for name in libraries},
        "ffmpeg": ffmpeg_exe(),
        "platform": platform.platform(),
    }
