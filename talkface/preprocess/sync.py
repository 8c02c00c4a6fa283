"""How far the sound lags the picture: the mouth's opening against the loudness of the speech.

For one clip of a second the answer is guesswork; the correlation curves of many clips, averaged, have one clear peak.
"""

from __future__ import annotations

import numpy as np

from talkface.config import FPS, STEPS_PER_SECOND
from talkface.metrics.correlation import correlation_sums, pearson

LAGS = np.arange(-48, 49, 4) / STEPS_PER_SECOND
"""Seconds, -0.48 to 0.48 by one frame: by how much later than the picture the sound is looked for."""

SMOOTHED_STEPS = 7  # of loudness: lips are slower than sound
LEAST_FRAMES = 8  # to correlate at one lag
LEAST_CLIPS = 20  # fewer say nothing about a data set
LEAST_CORRELATION = 0.05  # of the pooled curve's peak
LEAST_ERRORS = 5.0  # standard errors by which that peak must stand out of the curve

JUDGED_FRAMES = 50  # a clip of less than 2 s cannot be judged by itself
MOST_OFF = 0.2  # seconds from the data set's offset
CERTAIN = 0.5  # correlation at a lag elsewhere ...
CERTAIN_MARGIN = 0.3  # ... and how much less it is at the data set's offset, for a clip to be out of step
# Of 337 clips of GRID (3 s) none is called out of step; with their sound moved by 0.3 s 36 in a hundred are, by 0.4 s
# 67.


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
    loudness = _smoothed(loudness)
    steps = (np.arange(len(loudness)) - lead_steps) / STEPS_PER_SECOND
    curve = np.zeros(len(LAGS))
    for i, lag in enumerate(LAGS):
        inside = (times + lag >= steps[0]) & (times + lag <= steps[-1])
        if inside.sum() >= LEAST_FRAMES:
            heard = np.interp(times[inside] + lag, steps, loudness)
            curve[i] = np.nan_to_num(pearson(*correlation_sums(opening[inside], heard)))
    return curve


def _smoothed(curve: np.ndarray) -> np.ndarray:
    """The running mean over SMOOTHED_STEPS; the ends go on as they are."""
    padded = np.pad(curve.astype(np.float64), SMOOTHED_STEPS // 2, "edge")
    return np.convolve(padded, np.full(SMOOTHED_STEPS, 1 / SMOOTHED_STEPS), "valid")


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
        (0, r) where there are too few clips, or the peak is too low or at the edge of LAGS, to report.
    """
    if len(curves) == 0:
        return 0.0, 0.0
    pooled = np.average(curves, axis=0, weights=frames)
    lag, correlation = peak(pooled)
    error = curves[:, np.argmax(pooled)].std() / len(curves) ** 0.5
    stands_out = correlation - np.median(pooled) >= LEAST_ERRORS * error and correlation >= LEAST_CORRELATION
    sure = len(curves) >= LEAST_CLIPS and stands_out and LAGS[0] < lag < LAGS[-1]
    return (round(lag, 4) if sure else 0.0), correlation


def out_of_step(curve: np.ndarray, frames: int, offset: float) -> bool:
    """Whether one clip says for itself, and clearly, that its sound is more than MOST_OFF from where it should be.

    Clips of less than JUDGED_FRAMES (LRW's have 29) never say so: in a second, chance correlates as well as truth.

    Args:
        curve: (len(LAGS),) of the clip.
        frames: its length.
        offset: seconds by which the sound lags in the data set.
    """
    lag, correlation = peak(curve)
    here = np.interp(offset, LAGS, curve)
    certain = correlation >= CERTAIN and correlation - here >= CERTAIN_MARGIN and LAGS[0] < lag < LAGS[-1]
    return bool(frames >= JUDGED_FRAMES and certain and abs(lag - offset) > MOST_OFF)
