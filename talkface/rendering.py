"""Renders a video in which the face of a photo says what is in a recording (paper 3.1, 3.3).

photo      -> detected face -> aligned 256x256 face and its transform -> identity features, encoded once
recording  -> speech recogniser's features at each video frame (or 20x13 windows of MFCC) -> lip points
frames     -> (identity, lip points, previous frame and mask) -> next frame -> paste-back -> one ffmpeg pipe with audio

Frame k is shown at exactly k / fps seconds. The generator is trained at 25 frames per second. At another rate each
frame still gets the audio around its own time, and the previous frame is the one 1 / fps before.

One frame is in memory at a time, so memory does not grow with the length of the recording.
"""

from __future__ import annotations

import itertools
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from talkface._version import __version__
from talkface.config import SIZE, SOUND_RATE, weights_dir
from talkface.device import one_thread, seed_torch, torch_threads
from talkface.errors import TalkfaceError
from talkface.face.align import warp
from talkface.face.networks import OnnxFaceNetworks
from talkface.face.paste import Paster
from talkface.face.select import SelectedFace, select_face
from talkface.files import STDIN_NAMES, check_output_files, is_folder, repeatable, sha256, write_json
from talkface.graphs import thread_count
from talkface.media.audio import Speech, load_speech
from talkface.media.decode import stream_audio
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.media.image import load_photo
from talkface.media.timing import frame_count
from talkface.media.video import VideoWriter
from talkface.media.windows import iterate_windows
from talkface.model.backend import Backend, choose_backend, load_any_generator, load_any_speech_encoder
from talkface.model.hearing import stream_features, stream_vectors
from talkface.model.inference import AlignedFace, OutputFrame
from talkface.model.onnx_engine import OnnxGenerator
from talkface.model.talking import animate, takes_mfcc
from talkface.pipeline import Beside
from talkface.render_options import RenderOptions

if TYPE_CHECKING:
    from talkface.model.checkpoint import AnyGenerator

OnStep = Callable[[int, int], None]
OnNote = Callable[[str], None]
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov")
MANIFEST_OPTIONS = ("crf", "crop", "max_size", "mark", "seed", "expression", "landmarks", "track")


@dataclass
class Report:
    """What `render` did."""

    out: Path
    """The video."""
    frames: int
    width: int
    height: int
    seconds: dict[str, float]
    """Time per stage: photo, speech, weights, frames, encoding; and total. Paste-back and the encoder run beside the
    network: "frames" is the network's time, and "encoding" is what it waited for them."""
    notes: list[str] = field(default_factory=list)
    """What the user should know, for example which of several faces was used."""
    manifest: dict[str, Any] = field(default_factory=dict)
    """The content of the --json file; empty without one, because the hashes in it take time."""

    @property
    def frames_per_second(self) -> float:
        """Frames generated, pasted back and encoded per second, not counting the time before the first frame."""
        return self.frames / max(self.seconds["frames"] + self.seconds["encoding"], 1e-9)


def render(
    photo: str | Path,
    speech: str | Path,
    out: str | Path | None = None,
    options: RenderOptions | None = None,
    *,
    on_step: OnStep | None = None,
    on_note: OnNote | None = None,
    **changes: Any,
) -> Report:
    """Write an mp4 in which the face of `photo` says what is in `speech`.

    Args:
        photo: an image of any common format.
        speech: anything that ffmpeg can take audio from, also a pipe; "-" is standard input. Its audio is copied into
            the video unchanged if it is AAC or MP3.
        out: the video. Default: PHOTO_SPEECH.mp4 in the current folder; a folder means that name inside it. An existing
            video is replaced once the new one is complete; an input is never replaced.
        options: how to render. Default: RenderOptions().
        on_step: called with (frames done, frames in total) after every frame.
        on_note: called with each of the report's notes as soon as it is known.
        changes: fields of `options` by name, as in render("a.jpg", "b.wav", "o.mp4", crop=True).

    Raises:
        TalkfaceError: an input cannot be used, there is no face, or the video cannot be written. No partial file is
            left then, and an existing video is unchanged.
    """
    started = time.perf_counter()
    options = replace(options or RenderOptions(), **changes)
    out = _output(Path(photo), Path(speech), out)
    _check_outputs(out, photo, speech, options)
    with repeatable(photo, "a photo") as photo_file, repeatable(speech, "a recording") as speech_file:
        scene = _prepare(photo_file, speech_file, options, on_note)
        seconds = scene.seconds
        writer = VideoWriter(
            out,
            scene.width,
            scene.height,
            options.rate,
            speech_file,
            audio_track=scene.speech.track,
            crf=options.crf,
            mark=options.mark,
        )
        seconds["encoding"] = 0.0
        paste, numbers = scene.paster(), itertools.count(1)

        def advance(finished: int) -> None:
            for _ in range(finished):
                number = next(numbers)
                if on_step:
                    on_step(number, scene.frame_count)

        def write(frame: OutputFrame) -> None:
            writer.write(paste(frame))

        with _timed(seconds, "frames"), Beside(write) as beside, writer:
            for frame in scene.generated():
                with _timed(seconds, "encoding"):
                    finished = beside.put(frame)
                advance(finished)
            with _timed(seconds, "encoding"):
                finished = beside.finish()
            advance(finished)
        seconds["frames"] -= seconds["encoding"]
        seconds["total"] = time.perf_counter() - started
        report = Report(out, scene.frame_count, scene.width, scene.height, seconds, scene.notes)
        if options.json is not None:
            inputs = {"photo": (photo, photo_file), "speech": (speech, speech_file)}
            report.manifest = _manifest(report, scene, inputs)
            write_json(options.json, report.manifest)
    return report


def stream(
    photo: str | Path,
    speech: str | Path,
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
    with repeatable(photo, "a photo") as photo_file, repeatable(speech, "a recording") as speech_file:
        return _prepare(photo_file, speech_file, options, on_note).frames()


@dataclass
class _Scene:
    """Everything that is needed to generate the frames."""

    photo: np.ndarray  # uint8 (H, W, 3), as large as the video
    transform: np.ndarray  # float64 (2, 3), pixels of `photo` to pixels of the aligned face
    aligned: AlignedFace
    face: SelectedFace
    speech: Speech
    backend: Backend
    generator: AnyGenerator | OnnxGenerator
    options: RenderOptions
    notes: list[str]
    seconds: dict[str, float]

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
        paste = self.paster()
        for frame in self.generated():
            yield paste(frame)

    def paster(self) -> Callable[[OutputFrame], np.ndarray]:
        """The function that makes the video's frame from the generator's."""
        return _aligned_face if self.options.crop else Paster(self.photo, self.transform).paste_frame

    def generated(self) -> Iterator[OutputFrame]:
        """The generator's frames; on a CPU PyTorch has one thread while one is made, but not while the caller uses it.

        The networks are too small to gain from more of PyTorch's threads.
        """
        frames, limited = self._generate(), self.backend == Backend("torch", "cpu", self.backend.note)
        while True:
            with one_thread() if limited else nullcontext():
                frame = next(frames, None)
            if frame is None:
                return
            yield frame

    def _generate(self) -> Iterator[OutputFrame]:
        """Run the generator: one output per video frame, on the aligned face."""
        rate, count = self.options.rate, self.frame_count
        if takes_mfcc(self.generator):
            features = iterate_windows(self.speech.mfcc, count, rate)
        else:
            blocks = stream_audio(self.speech.path, SOUND_RATE, self.options.track)
            times = (float((k + Fraction(1, 2)) / rate) for k in range(count))
            features = stream_features(stream_vectors(load_any_speech_encoder(self.backend), blocks), times)
        expression, picture = self.options.expression, self.options.crop
        return animate(self.generator, self.aligned, features, expression, float(rate), picture)


def _aligned_face(frame: OutputFrame) -> np.ndarray:
    return frame.face


def _prepare(photo: Path, speech: Path, options: RenderOptions, on_note: OnNote | None) -> _Scene:
    """Read the inputs, those that are checked fastest first, and detect the face."""
    seconds: dict[str, float] = {}
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        if on_note:
            on_note(text)

    backend = choose_backend(options.backend, options.device, options.weights)
    if backend.note:
        note(backend.note)
    with _timed(seconds, "photo"):
        image = load_photo(photo, on_note=note)
        face = select_face(
            image,
            str(photo),
            number=options.face,
            box=options.box,
            landmarks=options.landmarks,
            device=backend.device,
            networks=OnnxFaceNetworks() if backend.name == "onnx" else None,
        )
        aligned = AlignedFace(warp(image, face.transform), face.lips, face.nose, face.reach)
        fitted, transform = fit(image, face.transform, options.max_size)
    for text in face.notes:
        note(text)
    with _timed(seconds, "speech"):
        audio = load_speech(speech, options.track)
    for text in audio.notes:
        note(text)
    with _timed(seconds, "weights"):
        if backend.name == "torch":
            seed_torch(options.seed)
        generator = load_any_generator(backend, options.weights)
    return _Scene(fitted, transform, aligned, face, audio, backend, generator, options, notes, seconds)


def _describe(weights: str | Path | AnyGenerator | OnnxGenerator | None) -> dict[str, str]:
    """Path and SHA-256 of the generator's weights."""
    if isinstance(weights, OnnxGenerator):
        weights = weights.weights
    if weights is not None and not isinstance(weights, str | Path):
        return {"path": "a Generator in memory"}
    file = Path(weights) if weights else weights_dir() / "generator.safetensors"
    return {"path": str(weights or "bundled"), "sha256": sha256(file)}


def fit(image: np.ndarray, transform: np.ndarray, max_size: int) -> tuple[np.ndarray, np.ndarray]:
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


def _output(photo: Path, speech: Path, out: str | Path | None) -> Path:
    """Return the path of the video: PHOTO_SPEECH.mp4, unless the caller names a file."""
    photo_name, speech_name = ("stdin" if str(path) in STDIN_NAMES else path.stem for path in (photo, speech))
    name = f"{photo_name}_{speech_name}.mp4"
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


def _check_outputs(out: Path, photo: str | Path, speech: str | Path, options: RenderOptions) -> None:
    outputs = {"--out": out} | ({} if options.json is None else {"--json": Path(options.json)})
    inputs = [path for path in (photo, speech, options.weights) if isinstance(path, str | Path)]
    check_output_files(outputs, inputs)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started


def _manifest(report: Report, scene: _Scene, inputs: dict[str, tuple[str | Path, Path]]) -> dict[str, Any]:
    """Describe what was done, in values that JSON can hold.

    Args:
        inputs: for each input its name, as it was given, and the file that was read.
    """
    libraries = ("torch", "onnxruntime", "numpy", "safetensors")
    threads = thread_count() if scene.backend.name == "onnx" else torch_threads()
    files = {kind: {"path": str(name), "sha256": sha256(file)} for kind, (name, file) in inputs.items()}
    audio = {"seconds": scene.speech.duration, "level_db": round(scene.speech.level_db, 1), "track": scene.speech.track}
    options = {"fps": str(scene.options.rate)} | {name: getattr(scene.options, name) for name in MANIFEST_OPTIONS}
    return {
        "talkface": __version__,
        "out": {"path": str(report.out), "sha256": sha256(report.out)},
        "photo": files["photo"],
        "speech": files["speech"] | audio,
        "weights": _describe(scene.options.weights),
        "face": scene.face.to_dict(),
        "options": options,
        "backend": scene.backend.name,
        "device": scene.backend.device,
        "threads": threads,
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
