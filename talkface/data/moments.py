"""Training batches for the statistics network of AMIE: moments of clips, each a frame, its MFCC window and its lips.

The same (seed, step) always gives the same batch.

Shapes: B = clips x moments (the moments of a clip side by side), H x W the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talkface.config import ALIGNED_LIPS, SIZE
from talkface.data.augment import distort_sound
from talkface.data.lip_points import MIRRORED_LIPS
from talkface.data.mouths import JITTER, recoloured
from talkface.data.reader import ClipDataset
from talkface.data.sequences import clip_weights, clips_with_sound, starts
from talkface.model.inference import crop_corner


class MomentBatch(NamedTuple):
    """Moments of clips, at least 0.3 s apart within a clip where it is long enough."""

    frames: Tensor
    """(B, 3, H, W) in [0, 1], real."""
    windows: Tensor
    """(B, 20, 13): the MFCC windows of the frames."""
    lips: Tensor
    """(B, 40, 2) px: the frames' lip points, relative to their mean."""


class MomentBatches:
    """Draws moments of clips; people in proportion to the root of their clips.

    Args:
        datasets: opened data sets, all of the split to train on; clips without sound are left out.
        size: H, W of the picture; the whole face (256, 256), or a crop where `mi` looks (see
            `talkface.metrics.mutual_information`), displaced at random.
        seed: of all draws.
        augment: mirror, displace and recolour pictures, distort the sound.

    Raises:
        TalkfaceError: there is no clip with sound.
    """

    def __init__(
        self, datasets: Sequence[ClipDataset], size: tuple[int, int], seed: int = 0, augment: bool = True
    ) -> None:
        self.datasets, self.size, self.seed, self.augment = datasets, size, seed, augment
        self.clips = clips_with_sound(datasets)
        self.weights = clip_weights(datasets, self.clips)

    def batch(self, step: int, clips: int, moments: int) -> MomentBatch:
        """`clips` x `moments` moments for one training step."""
        random = np.random.default_rng((self.seed, 10, step))
        chosen = random.choice(len(self.clips), clips, p=self.weights)
        seeds = random.integers(1 << 31, size=clips)
        parts = [self._moments(self.clips[n], moments, seed) for n, seed in zip(chosen, seeds, strict=True)]
        batch = MomentBatch(*(torch.from_numpy(np.concatenate(column)) for column in zip(*parts, strict=True)))
        if not self.augment:
            return batch
        torch.manual_seed(int(random.integers(1 << 31)))
        return batch._replace(windows=distort_sound(batch.windows))

    def _moments(self, place: tuple[int, int], moments: int, seed: int) -> tuple[np.ndarray, ...]:
        """The fields of a MomentBatch for one clip."""
        random, (dataset, number) = np.random.default_rng(seed), place
        clip = self.datasets[dataset][number]
        order = starts(len(clip), moments, 1, random)
        height, width = self.size
        x, y = (0, 0) if height == SIZE else crop_corner(np.array(ALIGNED_LIPS, np.float32))
        if self.augment and height < SIZE:
            x, y = np.array([x, y]) + random.integers(-JITTER, JITTER + 1, 2)
        pictures = np.stack([clip.frame(k)[y : y + height, x : x + width] for k in order]).astype(np.float32) / 255
        lips = clip.lips[order].astype(np.float32)
        lips = lips - lips.mean(1, keepdims=True)
        if self.augment:
            pictures = recoloured(pictures, random)
            if random.random() < 0.5:
                pictures = pictures[:, :, ::-1]
                lips = lips[:, MIRRORED_LIPS] * np.array([-1, 1], np.float32)
        planes = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
        return planes, clip.mfcc[order].astype(np.float32), lips
