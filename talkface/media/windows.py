"""From MFCC steps to the windows that the networks take. It needs only numpy, so training needs no audio library."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from talkface.config import FPS, MEL_BANDS, MFCC_COEFFS, MFCC_STEPS, STEPS_PER_SECOND
from talkface.media.timing import exact_rate

FLOOR_DB, CEILING_DB = -50.0, 15.0  # relative to the level of the speech
MFCC_SCALE = 50.0  # brings the coefficients to the order of one

SILENCE = np.zeros(MFCC_COEFFS, np.float32)
"""float32 (13,): the MFCC of a step with all mel bands at the floor; also used before and after a recording."""
SILENCE[0] = FLOOR_DB * MEL_BANDS**0.5 / MFCC_SCALE


def mfcc_windows(
    mfcc: np.ndarray, frames: int, fps: float | Fraction = FPS, offset: float = 0.0, first: int = 0
) -> np.ndarray:
    """Return the window of 20 MFCC steps around each video frame (paper 4.1).

    The window of frame i has the steps c - 10 .. c + 9, where c = round(100 ((i + 0.5) / fps + offset)) is the step
    in the middle of the frame. Steps before and after the recording are silence.

    Args:
        mfcc: float32 (steps, 13), 100 per second.
        frames: number of windows.
        fps: frames per second.
        offset: seconds by which the windows are later; positive if the audio lags behind the picture.
        first: index of the first frame, to make the windows of a long recording piece by piece.

    Returns:
        float32 (frames, 20, 13).
    """
    return _windows_at(mfcc, _centres(np.arange(first, first + frames), fps, offset))


def _centres(frame: np.ndarray, fps: float | Fraction, offset: float = 0.0) -> np.ndarray:
    """Return the step in the middle of each of these frames, int64."""
    rate = exact_rate(fps)
    centre = STEPS_PER_SECOND * ((2 * frame + 1) * rate.denominator / (2 * rate.numerator) + offset)
    return np.floor(centre + 0.5 + 1e-9).astype(np.int64)


def _windows_at(mfcc: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the windows around these steps, (..., 20, 13)."""
    step = centres[..., None] + np.arange(-MFCC_STEPS // 2, MFCC_STEPS // 2)
    inside = (step >= 0) & (step < len(mfcc))
    windows = mfcc[np.clip(step, 0, len(mfcc) - 1)]
    windows[~inside] = SILENCE
    return windows.astype(np.float32, copy=False)


def iterate_windows(
    mfcc: np.ndarray, frames: int, fps: float | Fraction = FPS, batch: int = 256
) -> Iterator[np.ndarray]:
    """Yield the windows of `mfcc_windows`, `batch` frames at a time, so that an hour needs little memory.

    Args:
        mfcc: float32 (steps, 13), 100 per second.
        frames: number of frames.
        fps: frames per second.
        batch: frames computed at a time.

    Yields:
        float32 (20, 13) for each frame.
    """
    for first in range(0, frames, batch):
        yield from mfcc_windows(mfcc, min(batch, frames - first), fps, first=first)
