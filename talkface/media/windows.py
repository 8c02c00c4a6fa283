"""From MFCC steps to the windows that networks hear: numpy alone, so that training needs no audio library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from talkface.config import FPS, MEL_BANDS, MFCC_COEFFS, MFCC_STEPS, STEPS_PER_SECOND
from talkface.media.timing import exact_rate

FLOOR, CEILING = -50.0, 15.0  # dB relative to the level of the speech
MFCC_SCALE = 50.0  # brings the coefficients to the order of one

SILENCE = np.zeros(MFCC_COEFFS, np.float32)
"""float32 (13,): the MFCC of a step with every mel band at the floor; it also stands before and after a sound."""
SILENCE[0] = FLOOR * MEL_BANDS**0.5 / MFCC_SCALE


def mfcc_windows(
    mfcc: np.ndarray, frames: int, fps: float | Fraction = FPS, offset: float = 0.0, first: int = 0
) -> np.ndarray:
    """The 20 steps of sound about each video frame (paper 4.1).

    The window of frame i holds the steps c - 10 .. c + 9, where c = round(100 ((i + 0.5) / fps + offset)) is the step
    in the middle of the frame. Steps before and after the sound are silence.

    Args:
        mfcc: float32 (steps, 13), 100 a second.
        frames: how many windows.
        fps: frames per second.
        offset: seconds by which the sound is taken later (positive where the sound lags behind the picture).
        first: the first frame, for those who make the windows of a long recording piece by piece.

    Returns:
        float32 (frames, 20, 13).
    """
    return _windows_at(mfcc, _centres(np.arange(first, first + frames), fps, offset))


def _centres(frame: np.ndarray, fps: float | Fraction, offset: float = 0.0) -> np.ndarray:
    """The step in the middle of each of these frames, int64."""
    rate = exact_rate(fps)
    centre = STEPS_PER_SECOND * ((2 * frame + 1) * rate.denominator / (2 * rate.numerator) + offset)
    return np.floor(centre + 0.5 + 1e-9).astype(np.int64)


def _windows_at(mfcc: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The windows about these steps, (..., 20, 13)."""
    step = centres[..., None] + np.arange(-MFCC_STEPS // 2, MFCC_STEPS // 2)
    inside = (step >= 0) & (step < len(mfcc))
    windows = mfcc[np.clip(step, 0, len(mfcc) - 1)]
    windows[~inside] = SILENCE
    return windows.astype(np.float32, copy=False)


def iterate_windows(
    mfcc: np.ndarray, frames: int, fps: float | Fraction = FPS, offsets: Sequence[int] = (0,), batch: int = 256
) -> Iterator[np.ndarray]:
    """The windows of `mfcc_windows` with their context, made `batch` at a time: for an hour of speech in little memory.

    Args:
        mfcc: float32 (steps, 13), 100 a second.
        frames: how many.
        fps: frames per second.
        offsets: where the windows wanted for a frame lie, from its own, in 1/25 s at any frame rate, as networks that
            were trained at 25 frames per second know them. Before the first frame and after the last the windows of
            these are repeated, as in training.
        batch: frames made at a time.

    Yields:
        float32 (len(offsets), 20, 13) for each frame.
    """
    around = STEPS_PER_SECOND // FPS * np.array(offsets)
    earliest, latest = _centres(np.array([0, frames - 1]), fps)
    for first in range(0, frames, batch):
        centres = _centres(np.arange(first, min(first + batch, frames)), fps)
        yield from _windows_at(mfcc, (centres[:, None] + around).clip(earliest, latest))
