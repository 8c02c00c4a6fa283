"""The lag of the sound behind the picture, from the correlation of the mouth opening with the loudness of the speech.

A lag is positive if the sound is late. One clip of a second is too short to measure it, but the mean of the correlation
curves of many clips has one clear peak.
"""

from __future__ import annotations

import numpy as np

from talkface.config import FPS, STEPS_PER_SECOND
from talkface.metrics.correlation import correlation_sums, pearson

LAG_SECONDS = np.arange(-48, 49, 4) / STEPS_PER_SECOND
"""The lags of a correlation curve: -0.48 s to 0.48 s in steps of one frame."""

SMOOTHED_STEPS = 7  # of the loudness, because lips are slower than sound
MIN_FRAMES = 8  # for the correlation at one lag
MIN_CLIPS = 20  # for the offset of a data set
MIN_CORRELATION = 0.05  # at the peak of the pooled curve
MIN_STANDARD_ERRORS = 5.0  # by which that peak must exceed the median of the curve
MAX_OFFSET = 0.12  # seconds; loudness has found larger lags only where sentences begin alike

# When a single clip counts as out of step:
MIN_CLIP_FRAMES = 50  # a clip of less than 2 s is too short for a decision
MAX_DEVIATION = 0.2  # seconds between its lag and the offset of its source
MIN_PEAK = 0.5  # its correlation at that lag ...
MIN_PEAK_MARGIN = 0.3  # ... and how much smaller it is at the offset of its source
# With these limits none of 337 clips of GRID (3 s) is out of step. After their sound was shifted by 0.3 s, 36 % are;
# after a shift of 0.4 s, 67 % are.


def correlation_curve(opening: np.ndarray, loudness: np.ndarray, fps: float = FPS, lead_steps: int = 0) -> np.ndarray:
    """Correlation of the mouth opening with the loudness at each of LAG_SECONDS.

    Args:
        opening: (T,) distance between the inner lips in each frame, in any unit.
        loudness: (steps,) in dB or in any other monotone unit, 100 per second.
        fps: frames per second.
        lead_steps: number of steps of `loudness` before the first frame.

    Returns:
        float64 (len(LAG_SECONDS),) in [-1, 1]; 0 where the clip is too short or one of the curves is constant.
    """
    times = (np.arange(len(opening)) + 0.5) / fps
    loudness = _smoothed(loudness)
    steps = (np.arange(len(loudness)) - lead_steps) / STEPS_PER_SECOND
    curve = np.zeros(len(LAG_SECONDS))
    for i, lag in enumerate(LAG_SECONDS):
        inside = (times + lag >= steps[0]) & (times + lag <= steps[-1])
        if inside.sum() >= MIN_FRAMES:
            shifted = np.interp(times[inside] + lag, steps, loudness)
            curve[i] = np.nan_to_num(pearson(*correlation_sums(opening[inside], shifted)))
    return curve


def _smoothed(curve: np.ndarray) -> np.ndarray:
    """The running mean over SMOOTHED_STEPS; beyond its ends the curve is continued with its end values."""
    padded = np.pad(curve.astype(np.float64), SMOOTHED_STEPS // 2, "edge")
    return np.convolve(padded, np.full(SMOOTHED_STEPS, 1 / SMOOTHED_STEPS), "valid")


def peak_lag(curve: np.ndarray) -> tuple[float, float]:
    """The lag in seconds and the correlation of the peak, by a parabola through the largest value and its neighbours.

    Args:
        curve: (len(LAG_SECONDS),).
    """
    top = int(np.argmax(curve))
    if top in (0, len(curve) - 1):
        return float(LAG_SECONDS[top]), float(curve[top])
    left, middle, right = curve[top - 1 : top + 2]
    shift = peak_shift(curve[top - 1 : top + 2])
    lag = LAG_SECONDS[top] + shift * (LAG_SECONDS[1] - LAG_SECONDS[0])
    return float(lag), float(middle - 0.25 * (left - right) * shift)


def peak_shift(values: np.ndarray) -> float:
    """Where the parabola through three equidistant values peaks, in steps from the middle one; 0 if it has no peak."""
    left, middle, right = values
    bend = left - 2 * middle + right
    return 0.0 if bend >= 0 else float(0.5 * (left - right) / bend)


def pooled_offset(curves: np.ndarray, frames: np.ndarray) -> tuple[float, float]:
    """The lag of the sound in a whole data set, in seconds, and the correlation at that lag.

    Args:
        curves: (clips, len(LAG_SECONDS)).
        frames: (clips,) the lengths of the clips, which are their weights in the mean.

    Returns:
        The lag is 0 if there are too few clips, if the peak is too low, or if the lag exceeds MAX_OFFSET.
    """
    if len(curves) == 0:
        return 0.0, 0.0
    pooled = np.average(curves, axis=0, weights=frames)
    lag, correlation = peak_lag(pooled)
    error = curves[:, np.argmax(pooled)].std() / len(curves) ** 0.5
    significant = correlation - np.median(pooled) >= MIN_STANDARD_ERRORS * error and correlation >= MIN_CORRELATION
    reliable = len(curves) >= MIN_CLIPS and significant and abs(lag) <= MAX_OFFSET
    return (round(lag, 4) if reliable else 0.0), correlation


def out_of_step(curve: np.ndarray, frames: int, offset: float) -> bool:
    """Whether the lag of a clip clearly differs from that of its source, by more than MAX_DEVIATION.

    Clips of less than MIN_CLIP_FRAMES (those of LRW have 29) are never out of step: within a second, wrong lags
    correlate by chance as well as the right one.

    Args:
        curve: (len(LAG_SECONDS),) of the clip.
        frames: length of the clip.
        offset: lag of its source, seconds.
    """
    lag, correlation = peak_lag(curve)
    margin = correlation - np.interp(offset, LAG_SECONDS, curve)
    clear = correlation >= MIN_PEAK and margin >= MIN_PEAK_MARGIN and LAG_SECONDS[0] < lag < LAG_SECONDS[-1]
    return bool(frames >= MIN_CLIP_FRAMES and clear and abs(lag - offset) > MAX_DEVIATION)
