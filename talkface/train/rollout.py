"""Rollouts: K consecutive frames of each sequence, every one fed the one before it (paper 3.1, 3.3).

A generated frame is fed back without gradient: each frame answers for itself. All frames stand in one row, sequence by
sequence: (B * K, ...).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from talkface.data.sequences import SequenceBatch
from talkface.model.audio import REACH
from talkface.model.generator import Generator
from talkface.model.paper import PaperGenerator


class Generated(NamedTuple):
    """What a rollout gives."""

    frames: Tensor
    """(B * K, 3, H, W)."""
    lips: Tensor | None
    """(B, K, 40, 2) px of the aligned face, predicted from the sound; None for the paper's generator."""


def roll_out(generator: Generator | PaperGenerator, batch: SequenceBatch, rate: Tensor) -> Generated:
    """Generates the frames of a batch from its sound, the first from the photo.

    Args:
        generator: what is trained.
        batch: photo, lips and MFCC windows.
        rate: (B, 1, 1, 1) attention rate on the photo's lips.
    """
    if isinstance(generator, PaperGenerator):
        return _roll_out_paper(generator, batch, rate)
    audio = generator.audio_encoder(batch.windows, batch.photo_lips)
    lips = audio.lips[:, REACH:-REACH]
    origin = batch.corner[:, None]
    identity = generator.encode_identity(batch.photo, batch.photo_lips - origin, batch.photo_nose - batch.corner, rate)
    previous, mask = batch.photo, generator.first_mask(identity)
    frames = []
    for moment in range(batch.frames.shape[1]):
        shift = batch.noses[:, moment] - batch.photo_nose
        place = shift[:, None]  # lips are predicted where the photo has them; the head has moved since
        conditions = generator.conditions(identity, lips[:, moment] + place - origin, shift)
        frame = generator.step(identity, conditions, previous, mask)
        picture = generator.compose(identity, frame)
        previous, mask = picture.detach(), frame.mask.detach()
        frames.append(picture)
    return Generated(torch.stack(frames, 1).flatten(0, 1), lips)


def _roll_out_paper(generator: PaperGenerator, batch: SequenceBatch, rate: Tensor) -> Generated:
    """The mask is fed back with its gradient: the next frame is what teaches it."""
    previous, mask = batch.photo, generator.first_mask(len(batch.photo))
    frames = []
    for moment in range(batch.frames.shape[1]):
        frame = generator.step(batch.photo, batch.own_windows[:, moment], previous, mask, rate)
        previous, mask = frame.picture.detach(), frame.mask
        frames.append(frame.picture)
    return Generated(torch.stack(frames, 1).flatten(0, 1), None)
