"""Training batches from clips.

The same (seed, step) always gives the same batch, so that a resumed run sees what one run would have seen.

Shapes: B sequences, K frames of a sequence, C windows of context, S side of the generator's window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from talkface.config import SIZE
from talkface.data.clip import Clip
from talkface.errors import TalkfaceError

# A mirrored face: lip point i of either ring of 20 becomes point (10 - i) mod 20.
MIRRORED_RING = (10 - np.arange(20)) % 20
MIRRORED_LIPS = np.concatenate([MIRRORED_RING, 20 + MIRRORED_RING])
MAX_AUDIO_CLIPS = 20_000  # clips whose sound is kept in memory for the lesson "sound": six hours of LRW
ALONE = (0, 1)  # rank and number of the processes that share a batch


class Clips(Protocol):
    """What a data set must offer."""

    clip_speakers: list[str]
    lengths: list[int]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Clip: ...


@dataclass
class FrameBatch:
    """Sequences of consecutive frames with a photo of the same person. Pictures uint8 until `augment` has them."""

    identity_frame: Tensor
    """(B, 3, S, S) another moment of the clip."""
    previous_frame: Tensor
    """(B, 3, S, S) the real frame before the sequence."""
    frames: Tensor
    """(B, K, 3, S, S)."""
    windows: Tensor
    """(B, K, C, 20, 13) MFCC windows."""
    identity_lips: Tensor
    """(B, 40, 2) px of the aligned face."""
    lips: Tensor
    """(B, K, 40, 2) px of the aligned face."""
    clip_mean_lips: Tensor
    """(B, 40, 2) mean over the clip, px."""

    def to(self, device: torch.device) -> FrameBatch:
        """The batch on `device`."""
        moved = {f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        return FrameBatch(**moved)


class SoundBatch(NamedTuple):
    """MFCC windows with the lips that go with them."""

    windows: Tensor
    """(B, C, 20, 13)."""
    lips: Tensor
    """(B, 40, 2) px of the aligned face."""
    clip_mean_lips: Tensor
    """(B, 40, 2) mean over the clip, px."""


def context_windows(mfcc: np.ndarray, frames: np.ndarray, offsets: Sequence[int]) -> np.ndarray:
    """The windows at `offsets` from each of `frames`, ends repeated: (len(frames), len(offsets), 20, 13)."""
    around = frames[:, None] + np.array(offsets)
    return mfcc[around.clip(0, len(mfcc) - 1)]


class SpokenClips(NamedTuple):
    """Sound and lips of clips, side by side."""

    clips: np.ndarray
    """Which clips these are."""
    start: np.ndarray
    """Where each begins."""
    mfcc: np.ndarray
    """(N, 20, 13)."""
    lips: np.ndarray
    """(N, 40, 2) px of the aligned face."""
    clip_mean_lips: np.ndarray
    """(clips, 40, 2) px, over each clip."""


class Draw(NamedTuple):
    """One sequence as drawn: which clip, and which frames of it."""

    clip: int
    identity: int
    previous: int
    frames: np.ndarray
    mirrored: bool


class ClipBatches:
    """Draws batches from data sets. Speakers are weighted by the square root of their number of clips.

    Args:
        datasets: opened data sets, all of the split to train on.
        window: x, y, side of the part of the aligned face that is wanted.
        offsets: where the MFCC windows wanted for a frame lie, in frames from it.
        seed: of all draws.
        workers: threads that decode.
        mirror: show half of the sequences as in a mirror; only where the window is centred.

    Raises:
        TalkfaceError: there is no clip.
    """

    def __init__(
        self,
        datasets: Sequence[Clips],
        window: tuple[int, int, int],
        offsets: Sequence[int],
        seed: int = 0,
        workers: int = 2,
        mirror: bool = True,
    ) -> None:
        self.datasets = datasets
        self.window, self.offsets, self.seed = window, np.array(offsets), seed
        self.mirror = mirror and 2 * window[0] + window[2] == SIZE
        self.where = [(d, i) for d, dataset in enumerate(datasets) for i in range(len(dataset))]
        if not self.where:
            raise TalkfaceError(
                "The training split holds no clips.", "Run `talkface preprocess` on it, or name another --data."
            )
        self.lengths = np.array([length for dataset in datasets for length in dataset.lengths])
        speakers = [(d, speaker) for d, dataset in enumerate(datasets) for speaker in dataset.clip_speakers]
        counts = Counter(speakers)
        weight = np.array([counts[s] ** -0.5 for s in speakers])
        self.weight = weight / weight.sum()
        self.pool = ThreadPoolExecutor(max(workers, 1))
        self.speech: SpokenClips | None = None
        self.pictures: Tensor | None = None

    def frames(self, step: int, batch: int, rollout: int, part: tuple[int, int] = ALONE) -> FrameBatch:
        """`batch` sequences of `rollout` frames for one training step; of them the share of process rank of world."""
        rank, world = part
        size = batch // world
        draws = self._draws(step, batch, rollout)[rank * size : (rank + 1) * size]
        if self.pictures is not None:
            return self._gathered(draws)
        rows = list(self.pool.map(self._decoded, draws))
        return FrameBatch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))

    def sound(self, step: int, batch: int) -> SoundBatch:
        """`batch` single frames' windows and lips for one step of the audio encoder."""
        if self.speech is None:
            self.speech = self._read_audio(self._some_clips())
        speech, random = self.speech, np.random.default_rng((self.seed, 2, step))
        weight = self.weight[speech.clips]
        chosen = random.choice(len(speech.clips), batch, p=weight / weight.sum())
        length = self.lengths[speech.clips[chosen]]
        frame = (random.random(batch) * length).astype(np.int64)
        around = frame[:, None] + self.offsets
        start = speech.start[chosen]
        windows = speech.mfcc[start[:, None] + around.clip(0, length[:, None] - 1)]
        lips = np.stack([speech.lips[start + frame], speech.clip_mean_lips[chosen]])
        if self.mirror:
            lips = np.where(random.random(batch)[:, None, None] < 0.5, mirrored_lips(lips), lips)
        return SoundBatch(*map(torch.from_numpy, (windows, *lips)))

    def memory_needed(self) -> int:
        """Bytes that the pictures of all clips take, decoded and cut to the window."""
        return int(self.lengths.sum()) * 3 * self.window[2] ** 2

    def keep_in_memory(self, device: torch.device) -> None:
        """Decodes every clip once into one uint8 tensor on `device`, from which batches are gathered from now on."""
        self.speech = self._read_audio(np.arange(len(self.where)))
        side = self.window[2]
        self.pictures = torch.empty(int(self.lengths.sum()), 3, side, side, dtype=torch.uint8, device=device)
        decoded = self.pool.map(
            lambda i: np.stack([*map(self._window, self._clip(i).frames())]), range(len(self.where))
        )
        for start, clip in zip(self.speech.start, decoded, strict=True):
            self.pictures[start : start + len(clip)] = torch.from_numpy(clip).to(device)

    def _draws(self, step: int, batch: int, rollout: int) -> list[Draw]:
        random = np.random.default_rng((self.seed, 1, step))
        chosen = random.choice(len(self.where), batch, p=self.weight)
        return [self._draw(*each, rollout) for each in zip(chosen, random.integers(1 << 31, size=batch), strict=True)]

    def _draw(self, clip: int, seed: int, rollout: int) -> Draw:
        random, length = np.random.default_rng(seed), int(self.lengths[clip])
        first = int(random.integers(max(length - rollout, 0) + 1))
        frames = np.arange(first, first + rollout).clip(max=length - 1)
        photo = 0 if random.random() < 0.25 else int(random.integers(length))
        return Draw(int(clip), photo, max(first - 1, 0), frames, random.random() < 0.5 and self.mirror)

    def _clip(self, index: int) -> Clip:
        dataset, number = self.where[index]
        return self.datasets[dataset][number]

    def _decoded(self, draw: Draw) -> tuple[np.ndarray, ...]:
        """The fields of a FrameBatch for one sequence, read from disk."""
        clip = self._clip(draw.clip)
        pictures = [self._window(clip.frame(int(i))) for i in (draw.identity, draw.previous, *draw.frames)]
        lips = clip.lips.astype(np.float32)
        heard = (
            context_windows(clip.mfcc, draw.frames, self.offsets),
            lips[draw.identity],
            lips[draw.frames],
            lips.mean(0),
        )
        row = (pictures[0], pictures[1], np.stack(pictures[2:]), *heard)
        return mirrored(row) if draw.mirrored else row

    def _gathered(self, draws: list[Draw]) -> FrameBatch:
        """The same from memory, pictures on its device."""
        rows = torch.from_numpy(
            np.stack([self.speech.start[d.clip] + (d.identity, d.previous, *d.frames) for d in draws])
        )
        flipped = torch.tensor([d.mirrored for d in draws], device=self.pictures.device)[:, None, None, None, None]
        pictures = self.pictures[rows.to(self.pictures.device)]
        pictures = torch.where(flipped, pictures.flip(-1), pictures)
        heard = [self._heard(draw) for draw in draws]
        columns = (torch.from_numpy(np.stack(column)) for column in zip(*heard, strict=True))
        return FrameBatch(pictures[:, 0], pictures[:, 1], pictures[:, 2:], *columns)

    def _heard(self, draw: Draw) -> tuple[np.ndarray, ...]:
        speech, start = self.speech, self.speech.start[draw.clip]
        of_clip = slice(start, start + self.lengths[draw.clip])
        windows = context_windows(speech.mfcc[of_clip], draw.frames, self.offsets)
        lips = speech.lips[of_clip]
        points = (lips[draw.identity], lips[draw.frames], speech.clip_mean_lips[draw.clip])
        return windows, *(map(mirrored_lips, points) if draw.mirrored else points)

    def _window(self, face: np.ndarray) -> np.ndarray:
        left, top, side = self.window
        return np.ascontiguousarray(face[top : top + side, left : left + side].transpose(2, 0, 1))

    def _some_clips(self) -> np.ndarray:
        """All clips, or MAX_AUDIO_CLIPS of them."""
        count = len(self.where)
        if count <= MAX_AUDIO_CLIPS:
            return np.arange(count)
        return np.sort(np.random.default_rng((self.seed, 4)).choice(count, MAX_AUDIO_CLIPS, replace=False))

    def _read_audio(self, clips: np.ndarray) -> SpokenClips:
        """Sound and lips of these clips, read from disk."""
        mfcc, lips, means = [], [], []
        for clip in self.pool.map(self._clip, clips):
            mfcc.append(clip.mfcc.astype(np.float32))
            lips.append(clip.lips.astype(np.float32))
            means.append(lips[-1].mean(0))
        lengths = self.lengths[clips]
        return SpokenClips(
            clips, np.cumsum(lengths) - lengths, np.concatenate(mfcc), np.concatenate(lips), np.stack(means)
        )


def mirrored(row: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """A sequence as in a mirror: pictures flipped, lip points swapped; the sound stays. The window must be centred."""
    photo, before, frames, windows, *points = row
    flipped = [np.ascontiguousarray(p[..., ::-1]) for p in (photo, before, frames)]
    return (*flipped, windows, *map(mirrored_lips, points))


def mirrored_lips(points: np.ndarray) -> np.ndarray:
    """Lip points (..., 40, 2) of an aligned face as in a mirror, px."""
    swapped = points[..., MIRRORED_LIPS, :]
    return np.stack([SIZE - 1 - swapped[..., 0], swapped[..., 1]], -1).astype(np.float32)


def ahead(make: Callable[[int], FrameBatch | SoundBatch], first: int, last: int, depth: int = 2) -> Iterator:
    """make(first) ... make(last - 1) in order, prepared in the background while the caller computes."""
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(make, step) for step in range(first, min(first + depth, last))]
        for step in range(first, last):
            batch = waiting.pop(0).result()
            if step + depth < last:
                waiting.append(pool.submit(make, step + depth))
            yield batch
