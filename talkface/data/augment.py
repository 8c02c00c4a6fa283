"""Distortions of training batches, drawn from torch's generator, which the loop seeds by step."""

from __future__ import annotations

import torch
from torch import Tensor

from talkface.data.batches import FrameBatch

GRAY = (0.299, 0.587, 0.114)


def as_float(batch: FrameBatch) -> FrameBatch:
    """Pictures from uint8 to float32 in [0, 1]."""
    for name in ("photo", "before", "frames"):
        setattr(batch, name, getattr(batch, name).float().div_(255))
    return batch


def recolour(batch: FrameBatch) -> FrameBatch:
    """Another camera for each sequence: brightness, contrast, colour balance, saturation; a tenth black and white."""
    count, device = len(batch.photo), batch.photo.device
    saturation = torch.empty(count, 1, 1).uniform_(0.6, 1.3)
    saturation[torch.rand(count) < 0.1] = 0
    gray = torch.tensor(GRAY).expand(3, 3)
    matrix = saturation * torch.eye(3) + (1 - saturation) * gray
    balance = torch.empty(count, 3, 1).uniform_(0.85, 1.15)
    balance[saturation.flatten() == 0] = 1
    contrast = torch.empty(count, 1, 1).uniform_(0.7, 1.2)
    matrix = (matrix * balance * contrast).to(device)
    shift = (0.5 * (1 - contrast[:, :, 0]) + torch.empty(count, 1).uniform_(-0.12, 0.12)).to(device)
    for name in ("photo", "before", "frames"):
        picture = getattr(batch, name)
        flat = picture.reshape(count, -1, 3, picture.shape[-2] * picture.shape[-1])
        moved = matrix[:, None] @ flat + shift[:, None, None]
        setattr(batch, name, moved.clamp_(0, 1).reshape(picture.shape))
    return batch


def distort_sound(windows: Tensor) -> Tensor:
    """Another microphone and another voice: gain, a smooth spectral tilt, noise, and gaps.

    Args:
        windows: (B, ..., C, 20, 13); one draw for each of the B.
    """
    shape = (len(windows), *[1] * (windows.dim() - 2), windows.shape[-1])
    fade = 1 / (1 + torch.arange(windows.shape[-1]))
    offset = torch.randn(shape) * 0.15 * fade
    scale = torch.empty(len(windows), *[1] * (windows.dim() - 1)).uniform_(0.85, 1.15)
    noise = torch.randn(windows.shape) * 0.04
    gap = torch.rand(*windows.shape[:-1], 1) < 0.03
    moved = windows * scale.to(windows) + offset.to(windows) + noise.to(windows)
    return moved.masked_fill(gap.to(windows.device), 0.0)
