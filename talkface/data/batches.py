"""Training batches from clips.

The same (seed, step) always gives the same batch, so that a resumed run sees what one run would have seen.

Shapes: B sequences, K frames of a sequence, C windows of context, S side of the generator's window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from talkface.data.clip import Clip
from talkface.errors import TalkfaceError

# A mirrored face: lip point i of either ring of 20 becomes point (10 - i) mod 20.
MIRRORED_RING = (10 - np.arange(20)) % 20
MIRRORED_LIPS = np.concatenate([MIRRORED_RING, 20 + MIRRORED_RING])


class Clips(Protocol):
    """What a data set must offer."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Clip: ...


@dataclass
class FrameBatch:
    """Sequences of consecutive frames with a photo of the same person. Pictures uint8 until `augment` has them."""

    photo: Tensor
    """(B, 3, S, S) another moment of the clip."""
    before: Tensor
    """(B, 3, S, S) the real frame before the sequence."""
    frames: Tensor
    """(B, K, 3, S, S)."""
    windows: Tensor
    """(B, K, C, 20, 13) MFCC windows."""
    photo_lips: Tensor
    """(B, 40, 2) px of the aligned face."""
    lips: Tensor
    """(B, K, 40, 2) px of the aligned face."""
    mean_lips: Tensor
    """(B, 40, 2) mean over the clip, px."""

    def to(self, device: torch.device) -> FrameBatch:
        """The batch on `device`."""
        moved = {f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        return FrameBatch(**moved)

    def part(self, rank: int, world: int) -> FrameBatch:
        """The share of process `rank` of `world`."""
        size = len(self.photo) // world
        return FrameBatch(**{f.name: getattr(self, f.name)[rank * size : (rank + 1) * size] for f in fields(self)})


@dataclass
class SoundBatch:
    """MFCC windows with the lip shape that goes with them."""

    windows: Tensor
    """(B, C, 20, 13)."""
    lips: Tensor
    """(B, 40, 2) offsets from the clip's mean lips, px."""


def context_windows(mfcc: np.ndarray, frames: np.ndarray, context: int) -> np.ndarray:
    """Windows of `frames` and of `context` frames on either side, ends repeated: (len(frames), C, 20, 13)."""
    around = frames[:, None] + np.arange(-context, context + 1)
    return mfcc[around.clip(0, len(mfcc) - 1)]


class ClipBatches:
    """Draws batches from data sets. Speakers are weighted by the square root of their number of clips.

    Args:
        datasets: opened data sets, all of the split to train on.
        window: x, y, side of the part of the aligned face that is wanted.
        context: frames of sound context on either side.
        seed: of all draws.
        workers: threads that decode.

    Raises:
        TalkfaceError: no clip is long enough.
    """

    def __init__(
        self, datasets: Sequence[Clips], window: tuple[int, int, int], context: int, seed: int = 0, workers: int = 2
    ) -> None:
        self.datasets = datasets
        self.window, self.context, self.seed = window, context, seed
        self.where = [(d, i) for d, dataset in enumerate(datasets) for i in range(len(dataset))]
        if not self.where:
            raise TalkfaceError(
                "The training split holds no clips.", "Run `talkface preprocess` on it, or name another --data."
            )
        speakers = [s for dataset in datasets for s in dataset.clip_speakers]
        counts = {s: speakers.count(s) for s in set(speakers)}
        weight = np.array([counts[s] ** -0.5 for s in speakers])
        self.weight = weight / weight.sum()
        self.pool = ThreadPoolExecutor(workers)
        self.speech: tuple[np.ndarray, ...] | None = None

    def frames(self, step: int, batch: int, rollout: int) -> FrameBatch:
        """`batch` sequences of `rollout` frames for one training step."""
        random = np.random.default_rng((self.seed, 1, step))
        chosen = random.choice(len(self.where), batch, p=self.weight)
        seeds = random.integers(1 << 31, size=batch)
        rows = list(self.pool.map(self._sequence, chosen, seeds, [rollout] * batch))
        return FrameBatch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))

    def sound(self, step: int, batch: int) -> SoundBatch:
        """`batch` single frames' windows and lips for one step of the audio encoder."""
        if self.speech is None:
            self.speech = self._load_speech()
        mfcc, lips, start, length = self.speech
        random = np.random.default_rng((self.seed, 2, step))
        chosen = random.choice(len(self.where), batch, p=self.weight)
        frame = (random.random(batch) * length[chosen]).astype(np.int64)
        around = frame[:, None] + np.arange(-self.context, self.context + 1)
        rows = start[chosen][:, None] + around.clip(0, length[chosen][:, None] - 1)
        return SoundBatch(torch.from_numpy(mfcc[rows]), torch.from_numpy(lips[start[chosen] + frame]))

    def _clip(self, index: int) -> Clip:
        dataset, number = self.where[index]
        return self.datasets[dataset][number]

    def _sequence(self, index: int, seed: int, rollout: int) -> tuple[np.ndarray, ...]:
        clip, random = self._clip(index), np.random.default_rng(seed)
        length = len(clip)
        first = int(random.integers(max(length - rollout, 0) + 1))
        frames = np.arange(first, first + rollout).clip(max=length - 1)
        photo = 0 if random.random() < 0.25 else int(random.integers(length))
        pictures = [self._window(clip.frame(int(i))) for i in (photo, max(first - 1, 0), *frames)]
        windows = context_windows(clip.mfcc, frames, self.context)
        lips = clip.lips.astype(np.float32)
        row = (pictures[0], pictures[1], np.stack(pictures[2:]), windows, lips[photo], lips[frames], lips.mean(0))
        return mirrored(row) if random.random() < 0.5 else row

    def _window(self, face: np.ndarray) -> np.ndarray:
        left, top, side = self.window
        return np.ascontiguousarray(face[top : top + side, left : left + side].transpose(2, 0, 1))

    def _load_speech(self) -> tuple[np.ndarray, ...]:
        mfcc, lips, length = [], [], []
        for index in range(len(self.where)):
            clip = self._clip(index)
            mfcc.append(clip.mfcc.astype(np.float32))
            lips.append((clip.lips - clip.lips.mean(0)).astype(np.float32))
            length.append(len(clip))
        lengths = np.array(length)
        return np.concatenate(mfcc), np.concatenate(lips), np.cumsum(lengths) - lengths, lengths


def mirrored(row: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """A sequence as in a mirror: pictures flipped, lip points swapped; the sound stays. The window must be centred."""
    photo, before, frames, windows, *points = row
    swapped = [np.stack([256 - p[..., MIRRORED_LIPS, 0], p[..., MIRRORED_LIPS, 1]], -1) for p in points]
    flipped = [np.ascontiguousarray(p[..., ::-1]) for p in (photo, before, frames)]
    return (*flipped, windows, *(p.astype(np.float32) for p in swapped))


def ahead(make: Callable[[int], FrameBatch | SoundBatch], first: int, last: int, depth: int = 2) -> Iterator:
    """make(first) ... make(last - 1) in order, prepared in the background while the caller computes."""
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(make, step) for step in range(first, min(first + depth, last))]
        for step in range(first, last):
            batch = waiting.pop(0).result()
            if step + depth < last:
                waiting.append(pool.submit(make, step + depth))
            yield batch
