"""Compares a generated video, made by any system, with the real one, without a data set and without a generator.

Both videos are read at 25 fps and their faces are tracked. The alignment of the real video is used for both, so that
the score includes errors in the position of the face. If the generated face is at another place of the picture (another
crop or another size), its own alignment is used, and the report has a note about it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import ffmpeg
import numpy as np

from talkface.config import EYE_DISTANCE, FPS, SIZE, SOUND_RATE
from talkface.errors import TalkfaceError
from talkface.evaluate.examples import Example, Recorder
from talkface.evaluate.score import ClipScore, ClipSound, RowFrames, Scorer
from talkface.face.align import apply, fit_transform, smooth_transforms, warp
from talkface.face.find import FaceFinder
from talkface.face.landmarks import eye_centres
from talkface.files import require_file
from talkface.media.audio import load_speech, speech_energy
from talkface.media.ffmpeg import file_url, start
from talkface.media.tracks import select_track
from talkface.media.video import probe, read_frames
from talkface.media.windows import mfcc_windows
from talkface.metrics.life import eye_opening, life_sums, rigid_points

MAX_EYE_SHIFT = 0.5  # eye distances between the eyes of both videos, above which the generated one is aligned by itself


@dataclass
class TrackedFace:
    """Where the face is in each of the T frames of a video at 25 fps."""

    path: Path
    size: tuple[int, int]
    """Width and height in px."""
    transforms: np.ndarray
    """float64 (T, 2, 3): picture px -> aligned px, smoothed. Frames without a face have that of the nearest frame."""
    eyes: np.ndarray
    """float64 (T, 2, 2): eye centres in picture px; NaN if no face was found."""
    opening: np.ndarray
    """float64 (T,): gap of the lids over the width of the eye; NaN if no face was found."""
    rigid: np.ndarray
    """float32 (T, 24, 3): points of the mesh with depth, for the rotation of the head."""
    decode_errors: int = 0
    """Errors that the decoder of the frames has reported."""

    @property
    def notes(self) -> list[str]:
        """A note if the video is damaged."""
        if not self.decode_errors:
            return []
        return [f"{self.path.name} is damaged: its decoder reports {self.decode_errors} errors."]

    def __len__(self) -> int:
        return len(self.transforms)


@dataclass
class Comparison:
    """The result of comparing one generated video with the real one."""

    score: ClipScore
    notes: list[str]
    """What a reader of the score must know."""
    example: Example | None = None
    """What the figures show of the pair; None unless it was requested."""


def read_pairs(path: Path) -> list[tuple[Path, Path]]:
    """The pairs in a CSV file: a real and a generated video per line, relative to the CSV's folder.

    The first line may be the header "real,fake". More cells in a line are ignored.

    Raises:
        TalkfaceError: there is no such file, it has no pairs, a line has fewer than two cells, or a video in it does
            not exist.
    """
    pairs = []
    with require_file(path, "a CSV of pairs").open(newline="", encoding="utf-8-sig") as file:
        for number, line in enumerate(csv.reader(file), 1):
            cells = [cell.strip() for cell in line]
            if not any(cells) or (number == 1 and [c.lower() for c in cells[:2]] == ["real", "fake"]):
                continue
            if len(cells) < 2 or not all(cells[:2]):
                raise TalkfaceError(
                    f"{path}, line {number}: {','.join(line)!r} is not a valid pair: expected two paths.",
                    "Write real.mp4,fake.mp4",
                )
            real, fake = (path.parent / cell for cell in cells[:2])
            for video in (real, fake):
                try:
                    require_file(video, "a video")
                except TalkfaceError as error:
                    raise TalkfaceError(f"{path}, line {number}: {error}", error.fix) from error
            pairs.append((real, fake))
    if not pairs:
        raise TalkfaceError(f"{path} has no pairs.", "Write one pair per line: real.mp4,fake.mp4")
    return pairs


def compare(name: str, real: Path, fake: Path, scorer: Scorer, example: str | None = None) -> Comparison:
    """Score a generated video against the real one.

    Args:
        name: name of the pair in the report.
        real: the real video.
        fake: the generated video.
        scorer: the metrics, with their networks.
        example: name of the pair in the figures; None if the figures do not show it.

    Raises:
        TalkfaceError: a video cannot be read, or has no face.
    """
    truth, generated = track(real, scorer.finder), track(fake, scorer.finder)
    frames, notes = min(len(truth), len(generated)), [*truth.notes, *generated.notes]
    if len(truth) != len(generated):
        lengths = f"{real.name} has {len(truth)} frames at {FPS} fps, {fake.name} {len(generated)}"
        notes.append(f"{lengths}: {frames} are compared.")
    transforms, alignment_notes = transforms_for(truth, generated, frames)
    pair_sound = PairSound(real, fake, frames)
    notes += [*alignment_notes, *pair_sound.notes(scorer.metrics)]
    sound = pair_sound.read(scorer.metrics, for_figures=example is not None)
    real_frames, rows = aligned(real, truth.transforms[:frames]), {"model": RowFrames(aligned(fake, transforms))}
    if example is None:
        [score], shown = scorer.score(name, "", real_frames, rows, sound), None
    else:
        recorder = Recorder(frames)
        watched = recorder.watch("real", real_frames), recorder.watch_rows(rows)
        [score] = scorer.score(name, "", *watched, sound, keep_curves=True)
        shown = recorder.example(example, [score], sound)
    if "life" in scorer.metrics:
        score.sums |= life_sums(generated.opening, generated.rigid, FPS)
        real_sums = life_sums(truth.opening, truth.rigid, FPS)
        score.sums |= {f"{name}_real": value for name, value in real_sums.items()}
    if "lse" in scorer.metrics and pair_sound.fake_has_sound:
        score.sums |= scorer.lse_sums(read_frames(fake, fps=FPS), transforms, sound_16k(fake))
    return Comparison(score, notes, shown)


def track(path: Path, finder: FaceFinder) -> TrackedFace:
    """Find the face in each frame of a video at 25 fps. Frames are not kept in memory.

    Raises:
        TalkfaceError: the video cannot be read, or no frame has a face.
    """
    path = require_file(path, "a video")
    fits, eyes, openings, rigid = [], [], [], []
    missing = np.full((2, 3), np.nan), np.full((2, 2), np.nan)
    no_mesh = np.full((468, 3), np.nan, np.float32)
    sizes: list[tuple[int, int]] = []
    errors: list[None] = []
    for face in finder.track(_noting_size(read_frames(path, FPS, on_error=lambda: errors.append(None)), sizes)):
        fit, centres = (fit_transform(face.points), eye_centres(face.points)) if face else missing
        fits.append(fit)
        eyes.append(centres)
        mesh = no_mesh if face is None or face.mesh is None else face.mesh
        openings.append(float(eye_opening(mesh)))
        rigid.append(rigid_points(mesh))
    if not any(np.isfinite(centres).all() for centres in eyes):
        raise TalkfaceError(
            f"No face found in any of the {len(eyes)} frames of {path.name}.",
            "Give a video of one face, seen from the front.",
        )
    transforms = smooth_transforms(fill_gaps(np.array(fits)))
    return TrackedFace(
        path,
        sizes[0],
        transforms,
        np.array(eyes, np.float64),
        np.array(openings),
        np.array(rigid, np.float32),
        len(errors),
    )


def _noting_size(frames: Iterator[np.ndarray], sizes: list[tuple[int, int]]) -> Iterator[np.ndarray]:
    """The same frames. Width and height of the first are appended to `sizes`."""
    for frame in frames:
        if not sizes:
            sizes.append((frame.shape[1], frame.shape[0]))
        yield frame


def fill_gaps(fits: np.ndarray) -> np.ndarray:
    """The alignments (T, 2, 3) with each missing one (NaN) replaced by the nearest in time."""
    present = np.flatnonzero(np.isfinite(fits[:, 0, 0]))
    nearest = np.interp(np.arange(len(fits)), present, np.arange(len(present)))
    return fits[present[np.round(nearest).astype(int)]]


def transforms_for(truth: TrackedFace, generated: TrackedFace, frames: int) -> tuple[np.ndarray, list[str]]:
    """The alignment of the generated frames: that of the real video, or their own if their face is elsewhere.

    Returns:
        float64 (frames, 2, 3), picture px of the generated video -> aligned px; and a note if it is their own.
    """
    ratio = truth.size[0] / generated.size[0], truth.size[1] / generated.size[1]
    shared = truth.transforms[:frames] @ _scaling(*ratio) if abs(ratio[0] / ratio[1] - 1) < 0.01 else None
    if shared is not None:
        shift = _eye_shift(
            apply(shared, generated.eyes[:frames]), apply(truth.transforms[:frames], truth.eyes[:frames])
        )
        if shift < MAX_EYE_SHIFT * EYE_DISTANCE:
            return shared, []
    sizes = " and ".join("x".join(map(str, video.size)) for video in (truth, generated))
    note = f"The face in {generated.path.name} is not where it is in {truth.path.name} ({sizes} px): aligned by itself."
    return generated.transforms[:frames], [note]


def _scaling(x: float, y: float) -> np.ndarray:
    """The transform of pixels of a picture to pixels of the picture resized by x and y, (3, 3)."""
    return np.array(((x, 0, (x - 1) / 2), (0, y, (y - 1) / 2), (0, 0, 1.0)))


def _eye_shift(a: np.ndarray, b: np.ndarray) -> float:
    """Median distance in px of two eye tracks (T, 2, 2) over the frames that have both; 0 if there are none."""
    shift = np.linalg.norm(a.mean(1) - b.mean(1), axis=1)
    return float(np.nanmedian(shift)) if np.isfinite(shift).any() else 0.0


def aligned(path: Path, transforms: np.ndarray) -> Iterator[np.ndarray]:
    """The aligned faces of a video, uint8 RGB (256, 256, 3), one for each transform."""
    for frame, transform in zip(islice(read_frames(path, fps=FPS), len(transforms)), transforms, strict=True):
        yield warp(frame, transform, SIZE)


class PairSound:
    """The sound of a pair: `mi` uses that of the real video; `sync` that of the generated one, or else the real one's.

    Args:
        real: the real video.
        fake: the generated video.
        frames: number of frames that are compared.
    """

    def __init__(self, real: Path, fake: Path, frames: int) -> None:
        self.real, self.fake, self.frames = real, fake, frames
        self.real_has_sound, self.fake_has_sound = probe(real).has_audio, probe(fake).has_audio

    def notes(self, metrics: tuple[str, ...]) -> list[str]:
        """Which of these metrics are left out, or measured with other sound, because a video has no sound."""
        possible = {
            "sync": self.real_has_sound or self.fake_has_sound,
            "mi": self.real_has_sound,
            "lse": self.fake_has_sound,
        }
        left_out = [name for name in metrics if not possible.get(name, True)]
        notes = []
        if left_out:
            silent = [self.real.name] * (not self.real_has_sound) + [self.fake.name] * (not self.fake_has_sound)
            without = f"{' and '.join(silent)} {'has' if len(silent) == 1 else 'have'} no sound"
            notes.append(f"{without}: {' and '.join(left_out)} {'is' if len(left_out) == 1 else 'are'} left out.")
        if "sync" in metrics and self.real_has_sound and not self.fake_has_sound:
            notes.append(f"{self.fake.name} has no sound: sync is measured with the sound of {self.real.name}.")
        return notes

    def read(self, metrics: tuple[str, ...], for_figures: bool) -> ClipSound:
        """What these metrics, and the figures, need of the sound."""
        source = self.fake if self.fake_has_sound else self.real if self.real_has_sound else None
        energy = speech_energy(source) if "sync" in metrics and source is not None else None
        needs_speech = self.real_has_sound and ("mi" in metrics or for_figures)
        mfcc = load_speech(self.real).mfcc if needs_speech else None
        windows = mfcc_windows(mfcc, self.frames, FPS) if mfcc is not None and "mi" in metrics else None
        return ClipSound(windows, energy, mfcc)


def sound_16k(path: Path) -> np.ndarray:
    """The sound of a video (its default track), int16 mono at 16 kHz, from the time zero of its picture.

    Raises:
        TalkfaceError: it cannot be decoded.
    """
    audio, _ = select_track(path)
    filters = ",".join(filter(None, ["aresample=async=1:first_pts=0", audio.mono_filter]))
    graph = ffmpeg.input(file_url(path)).output(
        "pipe:1", map=f"0:{audio.stream}", ac=1, ar=SOUND_RATE, af=filters, format="s16le"
    )
    with start(graph) as decoder:
        sound = np.frombuffer(decoder.stdout.read(), "<i2")
        if decoder.finish():
            raise TalkfaceError(f"The sound of {path.name} cannot be decoded: {decoder.reason()}.", "Convert it first.")
    return sound
