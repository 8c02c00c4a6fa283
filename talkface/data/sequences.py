"""Training batches for the paper's objective: several moments of each clip, with photo, frames and MFCC windows.

The same (seed, step) always gives the same batch.

Shapes: B = clips x moments sequences (the moments of a clip side by side), K frames of a sequence, H x W the picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talkface.config import FPS, SIZE
from talkface.data.augment import distort_sound
from talkface.data.clip import Clip
from talkface.data.lip_points import MIRRORED_LIPS
from talkface.data.mouths import JITTER, face_crop_corner, recoloured
from talkface.data.reader import ClipDataset
from talkface.errors import TalkfaceError
from talkface.face.landmarks import nose_base
from talkface.model.amie import APART
from talkface.model.audio import REACH
from talkface.model.generator import HEIGHT, WIDTH

GAP = round(APART * FPS + 0.5)  # frames between two moments of a clip


class SequenceBatch(NamedTuple):
    """Sequences of consecutive frames with a photo of the same person; pictures float32 in [0, 1]."""

    photo: Tensor
    """(B, 3, H, W)."""
    frames: Tensor
    """(B, K, 3, H, W)."""
    photo_lips: Tensor
    """(B, 40, 2) px of the aligned face."""
    lips: Tensor
    """(B, K, 40, 2) px of the aligned face."""
    photo_nose: Tensor
    """(B, 2) px of the aligned face."""
    noses: Tensor
    """(B, K, 2) px of the aligned face."""
    corner: Tensor
    """(B, 2) px: the picture's first pixel in the aligned face."""
    windows: Tensor
    """(B, 8 + K + 8, 20, 13): MFCC windows of the frames and of 8 before and after them."""

    def to(self, device: torch.device) -> SequenceBatch:
        """The batch on `device`."""
        return SequenceBatch(*(one.to(device, non_blocking=True) for one in self))

    @property
    def own_windows(self) -> Tensor:
        """The MFCC windows of the frames themselves, (B, K, 20, 13)."""
        return self.windows[:, REACH:-REACH]


def clips_with_sound(datasets: Sequence[ClipDataset]) -> list[tuple[int, int]]:
    """Data set and number of each clip that has sound.

    Raises:
        TalkfaceError: there is none.
    """
    clips = [
        (d, i)
        for d, dataset in enumerate(datasets)
        for i, (sound, old) in enumerate(zip(dataset.has_sound, dataset.keeps_no_sound, strict=True))
        if sound or old
    ]
    if not clips:
        raise TalkfaceError("No training clip has sound.", "Name a data set with sound in --data.")
    return clips


def clip_weights(datasets: Sequence[ClipDataset], clips: Sequence[tuple[int, int]]) -> np.ndarray:
    """Probability of each clip, float64: people are drawn in proportion to the root of their clips."""
    people = [f"{d}/{datasets[d].clip_people[i]}" for d, i in clips]
    counts = Counter(people)
    weights = np.array([counts[person] ** -0.5 for person in people])
    return weights / weights.sum()


class SequenceBatches:
    """Draws moments of clips; people in proportion to the root of their clips.

    Args:
        datasets: opened data sets, all of the split to train on; clips without sound are left out.
        seed: of all draws.
        augment: mirror and recolour pictures, distort the sound.
        whole: pictures are the whole aligned face, not the mouth's crop.

    Raises:
        TalkfaceError: there is no clip with sound.
    """

    def __init__(
        self,
        datasets: Sequence[ClipDataset],
        seed: int = 0,
        augment: bool = True,
        whole: bool = False,
    ) -> None:
        self.datasets, self.seed, self.augment, self.whole = datasets, seed, augment, whole
        self.clips = clips_with_sound(datasets)
        self.weights = clip_weights(datasets, self.clips)

    def batch(self, step: int, clips: int, moments: int, rollout: int) -> SequenceBatch:
        """`clips` x `moments` sequences of `rollout` frames for one training step."""
        random = np.random.default_rng((self.seed, 9, step))
        chosen = random.choice(len(self.clips), clips, p=self.weights)
        seeds = random.integers(1 << 31, size=clips)
        parts = [self._moments(index, seed, moments, rollout) for index, seed in zip(chosen, seeds, strict=True)]
        rows = [row for part in parts for row in part]
        batch = SequenceBatch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))
        if not self.augment:
            return batch
        torch.manual_seed(int(random.integers(1 << 31)))
        return batch._replace(windows=distort_sound(batch.windows))

    def _moments(self, index: int, seed: int, moments: int, rollout: int) -> list[tuple[np.ndarray, ...]]:
        """The fields of a SequenceBatch for each moment of one clip."""
        random = np.random.default_rng(seed)
        d, i = self.clips[index]
        clip = self.datasets[d][i]
        mirrored = self.augment and random.random() < 0.5
        jitter = random.integers(-JITTER, JITTER + 1, 2) if self.augment and not self.whole else np.zeros(2, int)
        rows = [
            self._sequence(clip, int(random.integers(len(clip))), first + np.arange(rollout), mirrored, jitter)
            for first in starts(len(clip), moments, rollout, random)
        ]
        if not self.augment:
            return rows
        pictures = np.stack([np.concatenate([row[0][None], row[1]]) for row in rows])
        shape = pictures.shape
        moved = recoloured(pictures.reshape(-1, *shape[2:]).transpose(0, 2, 3, 1), random)
        pictures = np.ascontiguousarray(moved.transpose(0, 3, 1, 2)).reshape(shape)
        return [(picture[0], picture[1:], *row[2:]) for picture, row in zip(pictures, rows, strict=True)]

    def _sequence(
        self, clip: Clip, photo: int, numbers: np.ndarray, mirrored: bool, jitter: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        numbers = numbers.clip(max=len(clip) - 1)
        order = [photo, *numbers.tolist()]
        lips = clip.lips[order].astype(np.float32)
        nose = nose_base(clip.points68[order])
        pictures = np.stack([clip.frame(number) for number in order])
        if mirrored:
            pictures = pictures[:, :, ::-1]
            lips, nose = lips[:, MIRRORED_LIPS].copy(), nose.copy()
            lips[..., 0], nose[..., 0] = SIZE - 1 - lips[..., 0], SIZE - 1 - nose[..., 0]
        corner = np.zeros(2, np.int64)
        if not self.whole:
            corner = (face_crop_corner(lips[-1]) + jitter).clip(0, [SIZE - WIDTH, SIZE - HEIGHT])
            pictures = pictures[:, corner[1] : corner[1] + HEIGHT, corner[0] : corner[0] + WIDTH]
        planes = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32) / 255
        around = np.arange(numbers[0] - REACH, numbers[0] + len(numbers) + REACH).clip(0, len(clip) - 1)
        windows = clip.mfcc[around].astype(np.float32)
        return planes[0], planes[1:], lips[0], lips[1:], nose[0], nose[1:], corner.astype(np.float32), windows


def starts(length: int, moments: int, rollout: int, random: np.random.Generator) -> list[int]:
    """First frames of `moments` sequences of a clip, at least 0.3 s apart where the clip is long enough."""
    last = max(length - rollout, 0)
    room = last - GAP * (moments - 1)
    if room < 0:
        return [round(k * last / max(moments - 1, 1)) for k in range(moments)]
    offsets = np.sort(random.integers(0, room + 1, moments))
    order = random.permutation(moments)
    return [int(offsets[k] + GAP * k) for k in order]
