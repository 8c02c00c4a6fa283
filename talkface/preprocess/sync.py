"""How far the sound lags the picture: the mouth's opening against the loudness of the speech.

For one clip of a second the answer is guesswork; the correlation curves of many clips, averaged, have one clear peak.
"""

from __future__ import annotations

import numpy as np

from talkface.config import FPS, STEPS_PER_SECOND

LAGS = np.arange(-24, 25, 2) / STEPS_PER_SECOND
"""Seconds, -0.24 to 0.24: by how much later than the picture the sound is looked for."""

LEAST_CLIPS = 20  # fewer say nothing about a data set
LEAST_CORRELATION = 0.1  # of the pooled curve's peak
LEAST_FRAMES = 8  # to correlate at one lag


def correlation_curve(opening: np.ndarray, loudness: np.ndarray, fps: float = FPS, lead_steps: int = 0) -> np.ndarray:
    """Correlation of mouth opening and loudness with the sound shifted by each of LAGS.

    Args:
        opening: (T,) inner-lip gap of each frame, any unit.
        loudness: (steps,) in dB or any monotone unit, 100 a second.
        fps: frames per second.
        lead_steps: of `loudness`, before the first frame.

    Returns:
        float64 (len(LAGS),) in [-1, 1]; 0 where a clip is too short or does not vary.
    """
    times = (np.arange(len(opening)) + 0.5) / fps
    steps = (np.arange(len(loudness)) - lead_steps) / STEPS_PER_SECOND
    curve = np.zeros(len(LAGS))
    for i, lag in enumerate(LAGS):
        inside = (times + lag >= steps[0]) & (times + lag <= steps[-1])
        if inside.sum() >= LEAST_FRAMES:
            curve[i] = _correlation(opening[inside], np.interp(times[inside] + lag, steps, loudness))
    return curve


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 1e-9 else 0.0


def peak(curve: np.ndarray) -> tuple[float, float]:
    """(lag in seconds, correlation) of the highest point, between samples by the parabola through its neighbours."""
    top = int(np.argmax(curve))
    if top in (0, len(curve) - 1):
        return float(LAGS[top]), float(curve[top])
    left, middle, right = curve[top - 1 : top + 2]
    bend = left - 2 * middle + right
    shift = 0.0 if bend >= 0 else 0.5 * (left - right) / bend
    return float(LAGS[top] + shift * (LAGS[1] - LAGS[0])), float(middle - 0.25 * (left - right) * shift)


def pooled_offset(curves: np.ndarray, frames: np.ndarray) -> tuple[float, float]:
    """(seconds by which the sound lags, correlation at that lag) of a whole data set.

    Args:
        curves: (clips, len(LAGS)).
        frames: (clips,) their lengths, the weights of the mean.

    Returns:
        (0, r) where there are too few clips, or the peak is too low or at the edge of LAGS, to tell.
    """
    if len(curves) == 0:
        return 0.0, 0.0
    pooled = np.average(curves, axis=0, weights=frames)
    lag, correlation = peak(pooled)
    sure = len(curves) >= LEAST_CLIPS and correlation >= LEAST_CORRELATION and LAGS[0] < lag < LAGS[-1]
    return (round(lag, 4) if sure else 0.0), correlation
