"""The autoregressive loop (paper 3.1, 3.3): one photo and a stream of MFCC windows make a stream of frames.

Identity is encoded once, sound in blocks, and each frame gets the one before it and its mask. Memory does not grow with
the length of the speech.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice, repeat
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talkface.model.generator import LIP_POINTS, Generator

BLOCK = 256  # frames whose sound is encoded together


class SpokenFrame(NamedTuple):
    """One frame on the aligned face, and what paste-back needs to repeat it at the photo's own resolution."""

    face: np.ndarray
    """uint8 RGB (256, 256, 3)."""
    colour: np.ndarray
    """float32 (3, S, S) in [0, 1], on the generator's window."""
    mask: np.ndarray
    """float32 (S, S) in [0, 1]."""
    flow: np.ndarray
    """float32 (2, S, S), px of the aligned face."""


def to_network(picture: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 RGB (H, W, 3) -> float32 (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(picture)).to(device).permute(2, 0, 1)[None].float() / 255


def with_context(windows: Iterable[np.ndarray], context: int) -> Iterator[np.ndarray]:
    """Each (20, 13) window with the `context` windows before and after it, (2 * context + 1, 20, 13); ends repeated."""
    held: deque[np.ndarray] = deque(maxlen=2 * context + 1)
    for window in _ends_repeated(windows, context):
        held.append(window)
        if len(held) == held.maxlen:
            yield np.stack(held)


def _ends_repeated(windows: Iterable[np.ndarray], times: int) -> Iterator[np.ndarray]:
    window = None
    for number, window in enumerate(windows):
        yield from repeat(window, times if number == 0 else 0)
        yield window
    if window is not None:
        yield from repeat(window, times)


@torch.inference_mode()
def speak(
    generator: Generator,
    photo: np.ndarray,
    windows: Iterable[np.ndarray],
    device: torch.device | str = "cpu",
    expression: float = 1.0,
) -> Iterator[SpokenFrame]:
    """Frames of the face in `photo` saying what is in `windows`.

    Args:
        generator: in eval mode, on `device`.
        photo: aligned face, uint8 RGB (256, 256, 3).
        windows: one float32 (20, 13) MFCC window for each frame wanted.
        device: where the generator is.
        expression: factor on the lip shapes heard in the sound. 1 is the likeliest movement, which is smaller than
            life, because much about lips is not in the sound.
    """
    whole = to_network(photo, device)
    left, top, side = generator.config.window
    still = generator.crop(whole).contiguous(memory_format=torch.channels_last)
    identity = generator.encode_identity(still)
    previous, mask = still, generator.first_mask(1)
    for audio in _encoded(generator, windows, device):
        frame = generator.step(identity, livelier(audio, expression), previous, mask)
        previous, mask = generator.compose(still, frame), frame.mask
        face = photo.copy()
        face[top : top + side, left : left + side] = to_picture(previous[0])
        yield SpokenFrame(face, frame.colour[0].cpu().numpy(), mask[0, 0].cpu().numpy(), frame.flow[0].cpu().numpy())


def livelier(audio: Tensor, expression: float) -> Tensor:
    """Audio features (B, 80 + D) with the lip shape in them `expression` times as far from rest."""
    lips, detail = audio[:, : 2 * LIP_POINTS], audio[:, 2 * LIP_POINTS :]
    return torch.cat([lips * expression, detail], 1)


def to_picture(frame: Tensor) -> np.ndarray:
    """float (3, H, W) in [0, 1] -> uint8 RGB (H, W, 3)."""
    return (frame.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def _encoded(generator: Generator, windows: Iterable[np.ndarray], device: torch.device | str) -> Iterator[Tensor]:
    """Audio features (1, D), one a frame, encoded in blocks."""
    stream = with_context(windows, generator.config.audio_context)
    while block := list(islice(stream, BLOCK)):
        yield from generator.encode_audio(torch.from_numpy(np.stack(block)).to(device)).split(1)
