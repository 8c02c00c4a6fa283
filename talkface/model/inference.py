"""The autoregressive loop (paper 3.1, 3.3): one photo and a stream of MFCC windows make a stream of frames.

Identity is encoded once, sound in blocks, and each frame gets the one before it and its mask. Memory does not grow with
the length of the speech.

A video begins with the photo as it is, and leaves it within a fraction of a second: at first its lips are where the
photo has them, whatever is heard.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talkface.config import FPS
from talkface.model.generator import LIP_POINTS, Frame, Generator

BLOCK = 256  # frames whose sound is encoded together
ONSET = 0.12  # s in which the photo's own lips fade to a third


class AlignedFace(NamedTuple):
    """A face that is to speak."""

    face: np.ndarray
    """uint8 RGB (256, 256, 3), aligned."""
    lips: np.ndarray
    """float32 (40, 2) px: where the lips are in it, as `talkface.face.landmarks.lips` orders them."""


class OutputFrame(NamedTuple):
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


def with_audio_context(windows: Iterable[np.ndarray], offsets: Sequence[int]) -> Iterator[np.ndarray]:
    """For each (20, 13) window those that lie at `offsets` from it, as many before as after; ends repeated.

    Yields:
        float32 (len(offsets), 20, 13).
    """
    reach = max(offsets)
    held: deque[np.ndarray] = deque(maxlen=2 * reach + 1)
    for window in _ends_repeated(windows, reach):
        held.append(window)
        if len(held) == held.maxlen:
            yield np.stack([held[reach + offset] for offset in offsets])


def _ends_repeated(windows: Iterable[np.ndarray], times: int) -> Iterator[np.ndarray]:
    window = None
    for number, window in enumerate(windows):
        yield from repeat(window, times if number == 0 else 0)
        yield window
    if window is not None:
        yield from repeat(window, times)


def speak(
    generator: Generator,
    portrait: AlignedFace,
    windows: Iterable[np.ndarray],
    device: torch.device | str = "cpu",
    expression: float = 1.0,
) -> Iterator[OutputFrame]:
    """Frames of the face in `portrait` saying what is in `windows`.

    Args:
        generator: in eval mode, on `device`.
        portrait: who speaks.
        windows: one float32 (20, 13) MFCC window for each frame wanted, at 25 frames per second.
        device: where the generator is.
        expression: factor on the lip shapes heard in the sound. At 1 lips move less than life, because much about them
            is not in the sound.
    """
    stacks = with_audio_context(windows, generator.config.audio_offsets)
    return generate_frames_in_context(generator, portrait, stacks, device, expression)


@torch.inference_mode()
def generate_frames_in_context(
    generator: Generator,
    portrait: AlignedFace,
    stacks: Iterable[np.ndarray],
    device: torch.device | str = "cpu",
    expression: float = 1.0,
    fps: float = FPS,
) -> Iterator[OutputFrame]:
    """As `speak`, at any frame rate: each frame comes with its windows at `audio_offsets`, float32 (C, 20, 13)."""
    whole, lips = to_network(portrait.face, device), torch.from_numpy(portrait.lips).to(device)[None]
    left, top, side = generator.config.window
    still = generator.crop(whole).contiguous(memory_format=torch.channels_last)
    identity = generator.encode_identity(still, lips)
    previous, mask = still, generator.first_mask(1)
    begun = None
    for number, audio in enumerate(_encoded(generator, stacks, device)):
        lips, detail = audio.split((2 * LIP_POINTS, audio.shape[1] - 2 * LIP_POINTS), 1)
        lips = expression * lips
        begun = lips - identity.lips.flatten(1) if begun is None else begun
        photo_share = math.exp(-number / fps / ONSET)
        frame = generator.step(identity, torch.cat([lips - photo_share * begun, detail], 1), previous, mask)
        mask, frame = frame.mask, faded(frame, 1 - photo_share**3)
        previous = generator.compose(still, frame)
        face = portrait.face.copy()
        face[top : top + side, left : left + side] = to_picture(previous[0])
        yield OutputFrame(
            face, frame.colour[0].cpu().numpy(), frame.mask[0, 0].cpu().numpy(), frame.flow[0].cpu().numpy()
        )


def faded(frame: Frame, share: float) -> Frame:
    """`frame` with so much of what makes it differ from the photo."""
    return frame._replace(mask=share * frame.mask, flow=share * frame.flow)


def to_picture(frame: Tensor) -> np.ndarray:
    """float (3, H, W) in [0, 1] -> uint8 RGB (H, W, 3)."""
    return (frame.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def _encoded(generator: Generator, stacks: Iterable[np.ndarray], device: torch.device | str) -> Iterator[Tensor]:
    """Audio features (1, D), one a frame, encoded in blocks."""
    stream = iter(stacks)
    while block := list(islice(stream, BLOCK)):
        yield from generator.encode_audio(torch.from_numpy(np.stack(block)).to(device)).split(1)
