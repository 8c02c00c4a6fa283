"""Distortions of training batches, drawn from torch's generator, which the loop seeds by step."""

from __future__ import annotations

import torch
from torch import Tensor

from talkface.data.batches import ALONE, FrameBatch

GRAY = (0.299, 0.587, 0.114)


def as_float(batch: FrameBatch) -> FrameBatch:
    """Pictures from uint8 to float32 in [0, 1]."""
    for name in ("identity_frame", "previous_frame", "frames"):
        setattr(batch, name, getattr(batch, name).float().div_(255))
    return batch


def recolour(batch: FrameBatch, part: tuple[int, int] = ALONE) -> FrameBatch:
    """Another camera for each sequence: brightness, contrast, colour balance, saturation; a tenth black and white.

    Args:
        part: this process's rank and how many share the batch; the draws are those of the joint batch.
    """
    mine = _Share(len(batch.identity_frame), part)
    saturation = mine.uniform(0.6, 1.3, 1, 1)
    saturation[mine.of(torch.rand(mine.all)) < 0.1] = 0
    matrix = saturation * torch.eye(3) + (1 - saturation) * torch.tensor(GRAY).expand(3, 3)
    balance = mine.uniform(0.85, 1.15, 3, 1)
    balance[saturation.flatten() == 0] = 1
    contrast = mine.uniform(0.7, 1.2, 1, 1)
    matrix = (matrix * balance * contrast).to(batch.identity_frame.device)
    shift = (0.5 * (1 - contrast[:, :, 0]) + mine.uniform(-0.12, 0.12, 1)).to(batch.identity_frame.device)
    for name in ("identity_frame", "previous_frame", "frames"):
        picture = getattr(batch, name)
        flat = picture.reshape(len(picture), -1, 3, picture.shape[-2] * picture.shape[-1])
        moved = matrix[:, None] @ flat + shift[:, None, None]
        setattr(batch, name, moved.clamp_(0, 1).reshape(picture.shape))
    return batch


def distort_sound(windows: Tensor, part: tuple[int, int] = ALONE) -> Tensor:
    """Another microphone and another voice: gain, a smooth spectral tilt, noise, and steps blotted out.

    Args:
        windows: (B, ..., 20, 13); one draw for each of the B.
        part: this process's rank and how many share the batch; the draws are those of the joint batch.
    """
    mine, ones = _Share(len(windows), part), [1] * (windows.dim() - 2)
    fade = 1 / (1 + torch.arange(windows.shape[-1]))
    offset = mine.normal(*ones, windows.shape[-1]) * 0.15 * fade
    scale = mine.uniform(0.85, 1.15, *ones, 1)
    noise = mine.normal(*windows.shape[1:]) * 0.04
    blot = mine.of(torch.rand(mine.all, *windows.shape[1:-1], 1)) < 0.03
    moved = windows * scale.to(windows) + offset.to(windows) + noise.to(windows)
    return moved.masked_fill(blot.to(windows.device), 0.0)


class _Share:
    """Draws for a joint batch, of which a process gets its rows."""

    def __init__(self, mine: int, part: tuple[int, int]) -> None:
        rank, world = part
        self.all, self.rows = mine * world, slice(rank * mine, (rank + 1) * mine)

    def of(self, joint: Tensor) -> Tensor:
        return joint[self.rows]

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return self.of(torch.empty(self.all, *shape).uniform_(low, high))

    def normal(self, *shape: int) -> Tensor:
        return self.of(torch.randn(self.all, *shape))
