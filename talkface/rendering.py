"""One photo and one recording make a video in which the face speaks (paper 3.1, 3.3).

photo   -> face found -> aligned 256x256 face + transform -> identity, encoded once
speech  -> MFCC of 5 kHz sound -> for each video frame 20x13 windows at `audio_offsets` (nine, for the bundled weights)
frames  -> (identity, sound, last frame, last mask) -> next frame -> back into the photo -> one ffmpeg pipe with sound

Frame k stands at exactly k / fps seconds. The generator is trained at 25 frames per second; at another rate each frame
still gets the sound around its own time, and the frame fed back is then the one 1 / fps before.

One frame is held at a time, so memory does not grow with the length of the speech.
"""

from __future__ import annotations

import json as json_format
import platform
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from talkface._version import __version__
from talkface.config import FPS, SIZE
from talkface.device import pick_device
from talkface.errors import TalkfaceError
from talkface.face.align import warp
from talkface.face.paste import Paster
from talkface.face.select import SelectedFace, select_face
from talkface.files import atomic_write, sha256
from talkface.media.audio import Speech, iterate_windows, load_speech
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.media.image import load_photo
from talkface.media.timing import exact_rate, frame_count
from talkface.media.video import VideoWriter
from talkface.model.checkpoint import load_generator, weights_hash
from talkface.model.generator import Generator
from talkface.model.inference import AlignedFace, generate_frames_in_context

OnStep = Callable[[int, int], None]
OnNote = Callable[[str], None]
FASTEST = 240  # frames per second
EXPRESSION = 1.2  # at 1 mouths move two thirds as much as real ones
LIVELIEST = 4.0
SMALLEST = 64  # px, the least --max-size
VIDEO_NAMES = (".mp4", ".m4v", ".mov")


@dataclass
class Report:
    """What `render` did."""

    out: Path
    """The video."""
    frames: int
    width: int
    height: int
    seconds: dict[str, float]
    """Time per stage: photo, speech, weights, frames (network and paste-back), encoding; and total."""
    notes: list[str] = field(default_factory=list)
    """What the user should know: which of several faces was taken, and the like."""
    manifest: dict[str, Any] = field(default_factory=dict)
    """What --json writes."""

    @property
    def frames_per_second(self) -> float:
        """Frames made, pasted back and encoded per second, start-up not counted."""
        return self.frames / max(self.seconds["frames"] + self.seconds["encoding"], 1e-9)


def render(
    photo: str | Path,
    speech: str | Path,
    out: str | Path | None = None,
    *,
    fps: float | str | Fraction = FPS,
    crf: int = 18,
    crop: bool = False,
    max_size: int = 1280,
    face: int | None = None,
    box: tuple[float, float, float, float] | None = None,
    landmarks: str = "mesh",
    weights: str | Path | Generator | None = None,
    device: str = "auto",
    mark: bool = True,
    json: str | Path | None = None,
    expression: float = EXPRESSION,
    seed: int = 0,
    on_step: OnStep | None = None,
    on_note: OnNote | None = None,
) -> Report:
    """Write an mp4 in which the face of `photo` says what is in `speech`.

    Args:
        photo: a picture of any usual format, or the path of one.
        speech: anything ffmpeg can take sound from; copied into the video as it is where it is AAC or MP3.
        out: the video. Default: PHOTO_SPEECH.mp4 in the current folder; a folder means that name inside it. An existing
            video is replaced, once the new one is complete; an input never is.
        fps: frames per second, a number or a fraction such as "30000/1001"; frame k stands at exactly k / fps.
        crf: quality of H.264, 0 (lossless) to 51.
        crop: the aligned 256x256 face alone instead of the full photo.
        max_size: px, bound of the video's long side.
        face: which face, counted from 1 from left to right. Default: the largest.
        box: x, y, w, h in px of the photo (upright, as viewers show it): a face that is not found by itself.
        landmarks: "mesh", or "fan" for face-alignment (needs talkface[fan]).
        weights: a generator's weights file, a loaded Generator (to render many videos with one), or None for the
            bundled one.
        device: auto, cpu, cuda or mps.
        mark: say in the video's metadata that it is synthetic.
        json: where to write what was done: hashes, versions, options, times.
        expression: how far the lips move; 1, which `talkface eval` measures, is less than life.
        seed: for generators that draw random numbers; the bundled one draws none, and the same input gives the same
            frames.
        on_step: called with (frames done, frames in all).
        on_note: called with each of the report's notes as soon as it is known.

    Raises:
        TalkfaceError: an input is not what it should be, there is no face, or the video cannot be written. Nothing is
            left behind then, and an existing video stays as it was.
    """
    started = time.perf_counter()
    out = _output(Path(photo), Path(speech), out)
    _check_outputs(out, json, inputs=[p for p in (photo, speech, weights) if isinstance(p, str | Path)])
    if not 0 <= crf <= 51:
        raise TalkfaceError(f"--crf {crf}: not between 0 and 51.", "Use 18 for good quality, more for smaller files.")
    scene = _prepare(
        photo, speech, fps, crop, max_size, face, box, landmarks, weights, device, seed, on_note, expression
    )
    seconds = scene.seconds
    writer = VideoWriter(out, scene.width, scene.height, scene.fps, audio=Path(speech), crf=crf, mark=mark)
    with _timed(seconds, "frames"), writer as video:
        for done, picture in enumerate(scene.play(), start=1):
            with _timed(seconds, "encoding"):
                video.write(picture)
            if on_step:
                on_step(done, scene.frames)
    seconds["frames"] -= seconds["encoding"]
    seconds["total"] = time.perf_counter() - started
    report = Report(out, scene.frames, scene.width, scene.height, seconds, scene.notes)
    options = {"fps": str(scene.fps), "crf": crf, "crop": crop, "max_size": max_size, "mark": mark, "seed": seed}
    options["expression"] = expression
    report.manifest = _manifest(report, scene, Path(photo), Path(speech), options | {"landmarks": landmarks})
    if json is not None:
        _write_json(Path(json), report.manifest)
    return report


def stream(
    photo: str | Path,
    speech: str | Path,
    *,
    fps: float | str | Fraction = FPS,
    crop: bool = False,
    max_size: int = 1280,
    face: int | None = None,
    box: tuple[float, float, float, float] | None = None,
    landmarks: str = "mesh",
    weights: str | Path | Generator | None = None,
    device: str = "auto",
    expression: float = EXPRESSION,
    seed: int = 0,
    on_note: OnNote | None = None,
) -> Iterator[np.ndarray]:
    """The frames that `render` would encode, one by one, as uint8 RGB (H, W, 3); arguments and errors are `render`'s.

    The inputs are read, and their errors raised, by the call itself; frames are made as they are asked for.
    """
    return _prepare(
        photo, speech, fps, crop, max_size, face, box, landmarks, weights, device, seed, on_note, expression
    ).play()


@dataclass
class _Scene:
    """All that the frames are made of."""

    photo: np.ndarray  # uint8 (H, W, 3), as large as the video
    portrait: AlignedFace
    choice: SelectedFace
    transform: np.ndarray  # (2, 3), px of `photo` to the aligned face
    speech: Speech
    generator: Generator
    weights: dict[str, str]  # path and sha256
    device: torch.device
    fps: Fraction
    crop: bool
    expression: float
    notes: list[str]
    seconds: dict[str, float]

    @property
    def width(self) -> int:
        return SIZE if self.crop else self.photo.shape[1]

    @property
    def height(self) -> int:
        return SIZE if self.crop else self.photo.shape[0]

    @property
    def frames(self) -> int:
        return frame_count(self.speech.duration, self.fps)

    def play(self) -> Iterator[np.ndarray]:
        """The video's frames, uint8 RGB (height, width, 3)."""
        sound = iterate_windows(self.speech.mfcc, self.frames, self.fps, self.generator.config.audio_offsets)
        spoken = generate_frames_in_context(
            self.generator, self.portrait, sound, self.device, self.expression, float(self.fps)
        )
        if self.crop:
            yield from (frame.face for frame in spoken)
            return
        paster = Paster(self.photo, self.transform)
        for frame in spoken:
            yield paster.paste(frame.colour, frame.mask, frame.flow, self.generator.config.window)


def _prepare(
    photo, speech, fps, crop, max_size, face, box, landmarks, weights, device, seed, on_note, expression
) -> _Scene:
    """Reads the inputs, the cheapest to check first, and finds the face."""
    rate = _rate(fps)
    if max_size < SMALLEST:
        raise TalkfaceError(f"--max-size {max_size}: less than {SMALLEST} px.", "Use 1280, or leave it out.")
    if not 0 <= expression <= LIVELIEST:
        raise TalkfaceError(
            f"--expression {expression}: not between 0 and {LIVELIEST:g}.", f"Use {EXPRESSION:g}, or leave it out."
        )
    where = pick_device(device)
    seconds: dict[str, float] = {}
    notes: list[str] = []
    with _timed(seconds, "photo"):
        picture = load_photo(photo)
        choice = select_face(picture, str(photo), number=face, box=box, landmarks=landmarks, device=where)
        portrait = AlignedFace(warp(picture, choice.transform), choice.lips)
        sized, transform = _fit(picture, choice.transform, max_size)
    for note in choice.notes:
        _note(note, notes, on_note)
    with _timed(seconds, "speech"):
        sound = load_speech(speech)
    with _timed(seconds, "weights"):
        torch.manual_seed(seed)
        generator, file = _generator(weights, where)
    return _Scene(
        sized, portrait, choice, transform, sound, generator, file, where, rate, crop, expression, notes, seconds
    )


def _generator(weights: str | Path | Generator | None, device: torch.device) -> tuple[Generator, dict[str, str]]:
    """The network, and which file it is."""
    if isinstance(weights, Generator):
        return weights.to(device).eval(), {"path": "a Generator in memory"}
    generator = load_generator(weights, device)
    return generator, {"path": str(weights or "bundled"), "sha256": weights_hash(weights)}


def _rate(fps: float | str | Fraction) -> Fraction:
    try:
        rate = exact_rate(fps)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 1 <= rate <= FASTEST:
        raise TalkfaceError(
            f"--fps {fps}: not a rate from 1 to {FASTEST} frames per second.",
            "Use 25, 29.97 or 30000/1001, for example.",
        )
    return rate


def _fit(picture: np.ndarray, transform: np.ndarray, max_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The photo as large as the video (long side at most `max_size`, even sides) and its transform to the aligned face.

    A photo that is small enough keeps its pixels; an odd side then loses its last row or column.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, max_size / max(height, width))
    if scale < 1:
        width, height = max(2, round(width * scale)), max(2, round(height * scale))
        step_x, step_y = picture.shape[1] / width, picture.shape[0] / height
        grow = np.array([[step_x, 0, (step_x - 1) / 2], [0, step_y, (step_y - 1) / 2], [0, 0, 1]])
        transform = transform @ grow  # px centres are at whole numbers
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    if height % 2 or width % 2:
        picture = np.ascontiguousarray(picture[: height - height % 2, : width - width % 2])
    return picture, transform


def _output(photo: Path, speech: Path, out: str | Path | None) -> Path:
    """Where the video goes: PHOTO_SPEECH.mp4 unless the caller names a file."""
    name = f"{photo.stem}_{speech.stem}.mp4"
    if out is None:
        return Path(name)
    out = Path(out)
    if _is_folder("--out", out):
        return out / name
    if out.suffix.lower() not in VIDEO_NAMES:
        raise TalkfaceError(
            f"--out {out}: the video is an mp4, its name does not say so.", f"Use {out.stem or 'out'}.mp4."
        )
    return out


def _check_outputs(out: Path, json: str | Path | None, inputs: list[str | Path]) -> None:
    """Before any work: no output is an input or the other output, and both folders can be written to."""
    outputs = {"--out": out} | ({} if json is None else {"--json": Path(json)})
    for flag, path in outputs.items():
        for given in inputs:
            if _same(path, Path(given)):
                raise TalkfaceError(f"{flag} {path} is the input {given}.", f"Give another name with {flag}.")
        _check_folder(flag, path)
    if json is not None and _same(out, Path(json)):
        raise TalkfaceError(f"--json {json} is the video itself.", "Give another name with --json.")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return one.resolve() == other.resolve()


def _is_folder(flag: str, path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise TalkfaceError(f"{flag} {path}: {error.strerror}.", f"Give another name with {flag}.") from error


def _check_folder(flag: str, path: Path) -> None:
    folder = path.parent
    if not _is_folder(flag, folder):
        kind = "is not a folder" if folder.exists() else "does not exist"
        raise TalkfaceError(f"{flag} {path}: {folder} {kind}.", "Make the folder, or name another.")
    if _is_folder(flag, path):
        raise TalkfaceError(f"{flag} {path} is a folder.", "Name a file in it.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TalkfaceError(
            f"{flag} {path}: cannot write to the folder {folder.resolve()} ({reason}).",
            f"Name another folder with {flag}, or change the folder's permissions.",
        ) from error


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started


def _note(note: str, notes: list[str], on_note: OnNote | None) -> None:
    notes.append(note)
    if on_note:
        on_note(note)


def _manifest(report: Report, scene: _Scene, photo: Path, speech: Path, options: dict[str, Any]) -> dict[str, Any]:
    """What was done, in values that JSON can hold."""
    libraries = ("torch", "numpy", "librosa", "safetensors")
    return {
        "talkface": __version__,
        "out": {"path": str(report.out), "sha256": sha256(report.out)},
        "photo": {"path": str(photo), "sha256": sha256(photo)},
        "speech": {"path": str(speech), "sha256": sha256(speech), "seconds": scene.speech.duration},
        "weights": scene.weights,
        "face": scene.choice.to_dict(),
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


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path) as beside:
        beside.write_text(json_format.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
