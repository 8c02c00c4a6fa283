"""Videos against videos: any system's output beside the real recording, without a data set and without a generator.

Both are re-timed to 25 fps and their faces tracked. The real video's alignment is used for both, so that a face that
has moved shows as an error; only where the generated face lies elsewhere in the picture (another crop, another size) is
it aligned by itself, and the report says so.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import ffmpeg
import numpy as np
import torch

from talkface.config import EYE_DISTANCE, FPS, SIZE
from talkface.errors import TalkfaceError
from talkface.evaluate.config import EvalConfig
from talkface.evaluate.report import Report, clip_table
from talkface.evaluate.score import ClipScore, RowFrames, Scorer
from talkface.face.align import apply, fit_transform, smooth_transforms, warp
from talkface.face.find import FaceFinder
from talkface.face.landmarks import eye_centres
from talkface.files import require_file
from talkface.media.audio import load_speech, mfcc_windows, speech_energy
from talkface.media.ffmpeg import file_url, start
from talkface.media.video import probe, read_frames
from talkface.metrics.lse import CROP, RATE, embed, load_syncnet, lse
from talkface.metrics.sync import steps_to_frames

ELSEWHERE = 0.5  # eye distances between the eyes of both videos, from which the generated one is aligned by itself
LSE_CROP = (-2.0, 44.0, 260.0)  # x, y, side in aligned px: where SyncNet's crop about S3FD's box lies on our template


@dataclass
class Tracked:
    """Where the face is in each frame of a video."""

    path: Path
    size: tuple[int, int]
    """Width and height in px."""
    transforms: np.ndarray
    """float64 (T, 2, 3): picture px -> aligned px, smoothed; held where no face was found."""
    eyes: np.ndarray
    """float64 (T, 2, 2): eye centres in picture px; NaN where no face was found."""

    def __len__(self) -> int:
        return len(self.transforms)


def evaluate_videos(config: EvalConfig, scorer: Scorer, on_step: Callable[[int, int], None]) -> Report:
    """Score each pair of videos; the report has the row `model` alone, and notes of how the two were brought together.

    Args:
        config: its `pairs`, or `real` and `fake`.
        scorer: the metrics, with their networks.
        on_step: told videos scored and videos in all.

    Raises:
        TalkfaceError: no such list, video or SyncNet; a video without a face; a result that cannot be written.
    """
    pairs = read_pairs(config.pairs) if config.pairs else [(Path(config.real), Path(config.fake))]
    scores, notes = [], []
    syncnet = load_syncnet(config.syncnet, scorer.device) if "lse" in scorer.metrics else None
    with clip_table(config.csv, scorer.metrics) as add_line:
        for number, (real, fake) in enumerate(pairs):
            name = f"{number + 1}: {fake.name}" if config.pairs else fake.name
            score, found = compare(name, real, fake, scorer, syncnet)
            add_line(score)
            scores.append(score)
            notes += found
            on_step(number + 1, len(pairs))
    dataset = config.pairs.name if config.pairs else f"{config.real.name} {config.fake.name}"
    report = Report(dataset, None, None, scorer.metrics, scores, None, notes, config.seed)
    if config.figures:
        from talkface.evaluate.figures import draw_videos

        draw_videos(Path(config.figures), pairs, scorer, report)
    return report


def read_pairs(path: Path) -> list[tuple[Path, Path]]:
    """The pairs of a CSV: real and generated video on each line, relative to the CSV's folder; a header is allowed.

    Raises:
        TalkfaceError: there is no such file, it has no pairs, or a line has not two cells.
    """
    pairs = []
    with require_file(path, "a CSV of pairs").open(newline="", encoding="utf-8-sig") as file:
        for number, line in enumerate(csv.reader(file), 1):
            cells = [cell.strip() for cell in line]
            if not any(cells) or (number == 1 and [c.lower() for c in cells[:2]] == ["real", "fake"]):
                continue
            if len(cells) < 2 or not all(cells[:2]):
                raise TalkfaceError(f"{path}, line {number}: {line} is not a pair.", "Write real.mp4,fake.mp4")
            pairs.append((path.parent / cells[0], path.parent / cells[1]))
    if not pairs:
        raise TalkfaceError(f"{path} has no pairs.", "Write one a line: real.mp4,fake.mp4")
    return pairs


def compare(name: str, real: Path, fake: Path, scorer: Scorer, syncnet=None) -> tuple[ClipScore, list[str]]:
    """Score one generated video against the real one.

    Returns:
        Its score, and what must be said about how the two were brought together.
    """
    truth, made = track(real, scorer.finder), track(fake, scorer.finder)
    frames, notes = min(len(truth), len(made)), []
    if len(truth) != len(made):
        lengths = f"{real.name} has {len(truth)} frames at {FPS} fps, {fake.name} {len(made)}"
        notes.append(f"{lengths}: {frames} are compared.")
    transforms, note = transforms_for(truth, made, frames)
    notes += note
    sounds = _Sounds(real, fake, frames)
    notes += sounds.missing(scorer.metrics)
    row = RowFrames(aligned(fake, transforms), energy=sounds.energy() if "sync" in scorer.metrics else None)
    windows = sounds.windows() if "mi" in scorer.metrics else None
    [score] = scorer.score(name, "", aligned(real, truth.transforms[:frames]), {"model": row}, windows)
    if syncnet is not None and sounds.of_fake:
        score.sums |= lse_sums(fake, transforms, syncnet, scorer.device)
    return score, notes


def track(path: Path, finder: FaceFinder) -> Tracked:
    """Follow the face through a video at 25 fps, in constant memory but for its alignments.

    Raises:
        TalkfaceError: it cannot be read, or has no face in any frame.
    """
    path = require_file(path, "a video")
    size, fits, eyes = (0, 0), [], []
    nothing = np.full((2, 3), np.nan), np.full((2, 2), np.nan)
    sizes: list[tuple[int, int]] = []
    for face in finder.track(_noting_size(read_frames(path, fps=FPS), sizes)):
        fit, centres = (fit_transform(face.points), eye_centres(face.points)) if face else nothing
        fits.append(fit)
        eyes.append(centres)
    if not any(np.isfinite(centres).all() for centres in eyes):
        raise TalkfaceError(
            f"No face found in any of the {len(eyes)} frames of {path.name}.",
            "Give a video of one face, seen from the front.",
        )
    size = sizes[0]
    return Tracked(path, size, smooth_transforms(_held(np.array(fits))), np.array(eyes, np.float64))


def _noting_size(frames: Iterator[np.ndarray], sizes: list[tuple[int, int]]) -> Iterator[np.ndarray]:
    for frame in frames:
        if not sizes:
            sizes.append((frame.shape[1], frame.shape[0]))
        yield frame


def _held(fits: np.ndarray) -> np.ndarray:
    """Each missing alignment (NaN) replaced by the nearest in time."""
    there = np.flatnonzero(np.isfinite(fits[:, 0, 0]))
    nearest = np.interp(np.arange(len(fits)), there, np.arange(len(there)))
    return fits[there[np.round(nearest).astype(int)]]


def transforms_for(truth: Tracked, made: Tracked, frames: int) -> tuple[np.ndarray, list[str]]:
    """The alignment of the generated frames: the real video's, or its own where its face lies elsewhere.

    Returns:
        float64 (frames, 2, 3), and a note where it is its own.
    """
    ratio = truth.size[0] / made.size[0], truth.size[1] / made.size[1]
    shared = truth.transforms[:frames] @ _scaling(*ratio) if abs(ratio[0] / ratio[1] - 1) < 0.01 else None
    if shared is not None:
        away = _eyes_apart(apply(shared, made.eyes[:frames]), apply(truth.transforms[:frames], truth.eyes[:frames]))
        if away < ELSEWHERE * EYE_DISTANCE:
            return shared, []
    sizes = " and ".join("x".join(map(str, video.size)) for video in (truth, made))
    note = f"{made.path.name} does not show the face where {truth.path.name} has it ({sizes}): aligned by itself."
    return made.transforms[:frames], [note]


def _scaling(x: float, y: float) -> np.ndarray:
    """Pixels of a picture to pixels of it resized by x and y; pixel centres are whole numbers. (3, 3)."""
    return np.array(((x, 0, (x - 1) / 2), (0, y, (y - 1) / 2), (0, 0, 1.0)))


def _eyes_apart(a: np.ndarray, b: np.ndarray) -> float:
    """Median distance in px of two eye tracks (T, 2, 2), over frames that have both; 0 where none has."""
    apart = np.linalg.norm(a.mean(1) - b.mean(1), axis=1)
    return float(np.nanmedian(apart)) if np.isfinite(apart).any() else 0.0


def aligned(path: Path, transforms: np.ndarray, size: int = SIZE) -> Iterator[np.ndarray]:
    """The aligned faces of a video, uint8 (size, size, 3), one for each transform."""
    for frame, transform in zip(islice(read_frames(path, fps=FPS), len(transforms)), transforms, strict=True):
        yield warp(frame, transform, size)


@dataclass
class _Sounds:
    """The sound of a pair: the generated video's own where it has one, else the real one's."""

    real: Path
    fake: Path
    frames: int

    def __post_init__(self) -> None:
        self.of_real, self.of_fake = probe(self.real).has_audio, probe(self.fake).has_audio

    def missing(self, metrics: tuple[str, ...]) -> list[str]:
        """What of these metrics is left out or measured otherwise for want of sound, in words."""
        heard = {"sync": self.of_real or self.of_fake, "mi": self.of_real, "lse": self.of_fake}
        left_out = [name for name in metrics if not heard.get(name, True)]
        notes = []
        if left_out:
            silent = [self.real.name] * (not self.of_real) + [self.fake.name] * (not self.of_fake)
            without = f"{' and '.join(silent)} {'has' if len(silent) == 1 else 'have'} no sound"
            notes.append(f"{without}: {' and '.join(left_out)} {'is' if len(left_out) == 1 else 'are'} left out.")
        if "sync" in metrics and self.of_real and not self.of_fake:
            notes.append(f"{self.fake.name} has no sound: sync is measured against that of {self.real.name}.")
        return notes

    def energy(self) -> np.ndarray | None:
        if not (self.of_fake or self.of_real):
            return None
        return steps_to_frames(speech_energy(self.fake if self.of_fake else self.real), self.frames, FPS)

    def windows(self) -> np.ndarray | None:
        return mfcc_windows(load_speech(self.real).mfcc, self.frames, FPS) if self.of_real else None


def lse_sums(path: Path, transforms: np.ndarray, syncnet, device: torch.device) -> dict[str, np.ndarray]:
    """LSE of a video with its own sound, as sums over videos; empty for one too short to be judged."""
    x, y, side = LSE_CROP
    to_crop = np.array(((1, 0, -x), (0, 1, -y), (0, 0, 1.0)))
    scale = np.diag((SIZE / side, SIZE / side, 1.0))
    placed = [(scale @ to_crop @ np.vstack((m, (0, 0, 1))))[:2] for m in transforms]
    seen, heard = embed(syncnet, aligned(path, np.array(placed), CROP), sound_16k(path), device)
    if not len(seen):
        return {}
    names = ("lse_d", "lse_c", "lse_offset")
    return {name: np.array([value, 1.0]) for name, value in zip(names, lse(seen, heard), strict=True)}


def sound_16k(path: Path) -> np.ndarray:
    """The sound of a video, int16 mono at 16 kHz, from the time zero of its picture."""
    graph = ffmpeg.input(file_url(path)).output(
        "pipe:1", map="0:a:0", ac=1, ar=RATE, af="aresample=async=1:first_pts=0", format="s16le"
    )
    with start(graph) as running:
        sound = np.frombuffer(running.stdout.read(), "<i2")
        if running.finish():
            raise TalkfaceError(f"The sound of {path.name} cannot be decoded: {running.reason()}.", "Convert it first.")
    return sound
