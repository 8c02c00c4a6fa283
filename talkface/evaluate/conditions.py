"""How the frames of each row of a data set's table are made."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import numpy as np
import torch

from talkface.config import MFCC_STEPS
from talkface.data.clip import Clip
from talkface.evaluate.score import RowFrames
from talkface.face.landmarks import mouth_opening
from talkface.metrics.sync import energy_of_mfcc
from talkface.model.generator import Generator
from talkface.model.inference import AlignedFace, speak


def mismatched_audio(speakers: list[str], seed: int) -> list[int]:
    """For each clip another one whose speech it is given: never its own, of another speaker wherever possible.

    Each clip gives its speech once. Clips are shuffled by the seed, laid out speaker by speaker, and turned round by
    the size of the largest speaker's share; where that is more than half, some can only get their own speaker.

    Args:
        speakers: of each clip.
        seed: of the shuffle.

    Returns:
        Indices of clips; a single clip can only get its own.
    """
    order = np.random.default_rng(seed).permutation(len(speakers)).tolist()
    order.sort(key=lambda clip: speakers[clip])
    largest = max((speakers.count(name) for name in set(speakers)), default=0)
    turn = largest if largest < len(order) else 1
    donors = [0] * len(order)
    for place, clip in enumerate(order):
        donors[clip] = order[(place + turn) % len(order)]
    return donors


def tile_windows(windows: np.ndarray, frames: int) -> np.ndarray:
    """Speech cut or repeated to a length: (T, 20, 13) -> (frames, 20, 13)."""
    return windows[np.arange(frames) % len(windows)]


def identity_frame(clip: Clip, how: str, seed: int) -> int:
    """Which frame of the clip serves as the photo.

    Args:
        clip: the clip.
        how: first, closest-mouth (the most closed mouth) or random.
        seed: of random.
    """
    if how == "closest-mouth":
        eyes = np.linalg.norm(clip.eyes[:, 1] - clip.eyes[:, 0], axis=1)
        return int(mouth_opening(clip.lips, eyes).argmin())
    return int(np.random.default_rng(seed).integers(len(clip))) if how == "random" else 0


def identity_face(clip: Clip, how: str, seed: int) -> AlignedFace:
    """That frame, and where its lips are."""
    number = identity_frame(clip, how, seed)
    return AlignedFace(clip.frame(number), clip.lips[number])


def frame_energy(windows: np.ndarray) -> np.ndarray:
    """Log speech energy during each frame, (T, 20, 13) -> (T,) dB: the mean of the four 10-ms steps in the middle."""
    middle = windows[:, MFCC_STEPS // 2 - 2 : MFCC_STEPS // 2 + 2]
    return energy_of_mfcc(middle.reshape(-1, middle.shape[-1])).reshape(len(windows), -1).mean(1)


def spoken(
    generator: Generator, portrait: AlignedFace, windows: np.ndarray, device: torch.device | str
) -> Iterator[np.ndarray]:
    """Frames of the portrait saying what is in the windows, uint8 (256, 256, 3)."""
    return (frame.face for frame in speak(generator, portrait, windows, device))


def row_frames(
    names: tuple[str, ...],
    generator: Generator | None,
    portrait: AlignedFace,
    windows: np.ndarray,
    wrong: np.ndarray | None,
    device: torch.device | str,
) -> dict[str, RowFrames]:
    """The rows of one clip.

    Args:
        names: of still, wrong_sound and model.
        generator: None where only the still photo is wanted.
        portrait: who speaks.
        windows: float32 (T, 20, 13), the clip's speech.
        wrong: another clip's speech of the same length; None leaves wrong_sound out.
        device: where the generator is.
    """
    energy = frame_energy(windows)  # of the clip's own sound for every row: wrong_sound is out of step with it
    made = {
        "still": lambda: RowFrames(repeat(portrait.face), True, energy),
        "wrong_sound": lambda: RowFrames(spoken(generator, portrait, wrong, device), False, energy),
        "model": lambda: RowFrames(spoken(generator, portrait, windows, device), False, energy),
    }
    return {name: made[name]() for name in names if name != "wrong_sound" or wrong is not None}
