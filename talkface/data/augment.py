"""Distortions of MFCC windows, drawn from torch's generator, which the training loop seeds by step."""

from __future__ import annotations

import torch
from torch import Tensor


def distort_sound(windows: Tensor) -> Tensor:
    """Another microphone and another voice: gain, a smooth spectral tilt, noise, and steps set to zero.

    Args:
        windows: (B, ..., 20, 13); one draw of gain and tilt for each of the B.
    """
    count, ones = len(windows), [1] * (windows.dim() - 2)
    fade = 1 / (1 + torch.arange(windows.shape[-1]))
    offset = torch.randn(count, *ones, windows.shape[-1]) * 0.15 * fade
    scale = torch.empty(count, *ones, 1).uniform_(0.85, 1.15)
    noise = torch.randn(windows.shape) * 0.04
    dropped = torch.rand(*windows.shape[:-1], 1) < 0.03
    moved = windows * scale.to(windows) + offset.to(windows) + noise.to(windows)
    return moved.masked_fill(dropped.to(windows.device), 0.0)
