"""A picture of how training goes: for each sequence the photo, real frames, generated frames and masks."""

from __future__ import annotations

import numpy as np
import torch

from talkface.model.generator import Generator
from talkface.model.inference import to_picture
from talkface.train.objective import Batch, Rollout


@torch.no_grad()
def sample_sheet(generator: Generator, batch: Batch, device: torch.device, true_lips: bool) -> np.ndarray:
    """Rows of photo and real frames, photo and generated frames, masks; three rows for each sequence.

    Args:
        batch: sequences, pictures float32 in [0, 1].
        true_lips: the decoder is given true lips, as in the lesson "lips".

    Returns:
        uint8 RGB (3 * B * S, (K + 1) * S, 3).
    """
    generator.eval()
    batch = batch.to(device)
    count, length = batch.frames.shape[:2]
    ones = torch.ones(count, 1, 1, 1, device=device)
    made = Rollout(generator)(batch, ones, ones < 0, (ones > 0)[..., 0] & true_lips, not true_lips)
    frames = made.frames.unflatten(0, (count, length))
    masks = made.masks.unflatten(0, (count, length)).expand(-1, -1, 3, -1, -1)
    rows = []
    for photo, real, fake, mask in zip(batch.identity_frame, batch.frames, frames, masks, strict=True):
        for row in (real, fake, mask):
            rows.append(np.hstack([to_picture(photo), *map(to_picture, row)]))
    return np.vstack(rows)
