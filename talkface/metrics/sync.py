"""Synchrony of mouth and sound without third-party weights: correlation of mouth opening with speech energy.

It is not LSE (see `talkface.metrics.lse`) and must not be reported as LSE. Shapes: N frames; curves are float (N,), one
value per video frame. A lag is the time by which the sound lags the picture, as everywhere in this project: at a lag of
k frames opening[i] is compared with energy[i + k]; it is positive where the sound is late.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.fft import idct

from talkface.config import FPS, MEL_BANDS, MFCC_STEPS, SPEECH_RATE, STEPS_PER_SECOND
from talkface.media.windows import MFCC_SCALE
from talkface.metrics.correlation import pearson

MAX_LAG = 15  # frames, as SyncNet's offsets
MEAN_WINDOW = 51  # frames of the running mean that is subtracted from both curves
LAG_FRAMES = np.arange(-MAX_LAG, MAX_LAG + 1)
BAND_HZ = (200.0, 2500.0)
"""The part of the 200 to 3500 Hz band that sound sampled at 5 kHz holds; used where only MFCC are known."""


def lag_sums(opening: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """The sums that one clip adds to the pooled cross-correlation.

    The running mean over 51 frames is subtracted from both curves; at the ends and in shorter clips the mean is over
    the frames that exist. At each lag the sums run over the frames that both curves have there. A clip shorter than
    about 5 s gives no reliable lag by itself, so the sums of all clips are added before the peak is found.

    Args:
        opening: (N,) mouth opening.
        energy: (N,) log speech energy of the same frames.

    Returns:
        float64 (31 * 3,): sums of x y, x^2 and y^2 at each of `LAG_FRAMES`; zeros where a lag leaves no frames.

    Raises:
        ValueError: the two differ in shape, or are not (N,).
    """
    if opening.shape != energy.shape or opening.ndim != 1:
        raise ValueError(f"expected two curves (N,) of one length, got {opening.shape} and {energy.shape}")
    x, y = without_running_mean(opening), without_running_mean(energy)
    sums = np.zeros((len(LAG_FRAMES), 3))
    for row, lag in zip(sums, LAG_FRAMES, strict=True):
        if abs(lag) < len(x):
            a, b = (x[: len(x) - lag], y[lag:]) if lag >= 0 else (x[-lag:], y[:lag])
            row[:] = a @ b, a @ a, b @ b
    return sums.ravel()


def correlations(sums: np.ndarray) -> np.ndarray:
    """Pearson's r at each of `LAG_FRAMES` from (pooled) `lag_sums`, (..., 93) -> (..., 31)."""
    by_lag = sums.reshape(*sums.shape[:-1], len(LAG_FRAMES), 3)
    return pearson(by_lag[..., 0], by_lag[..., 1], by_lag[..., 2])


def peak_correlation(sums: np.ndarray) -> np.ndarray:
    """The highest correlation over the lags, (..., 93) -> (...,); NaN where the mouth never moves."""
    r = correlations(sums)
    return np.where(np.isnan(r).all(-1), np.nan, np.nan_to_num(r, nan=-2.0).max(-1))


def peak_offset(sums: np.ndarray) -> np.ndarray:
    """The lag of the highest correlation, (..., 93) -> (...,) in seconds, in steps of 1/25 s.

    It is the time by which the sound lags the picture: positive where the sound is late, negative where the mouth is
    late; NaN where the mouth never moves.
    """
    r = correlations(sums)
    seconds = LAG_FRAMES[np.nan_to_num(r, nan=-2.0).argmax(-1)] / FPS
    return np.where(np.isnan(r).all(-1), np.nan, seconds)


def without_running_mean(curve: np.ndarray, window: int = MEAN_WINDOW) -> np.ndarray:
    """The curve minus its centred running mean; at the ends the mean is over the part of the window that exists."""
    curve = curve.astype(np.float64)
    half = window // 2
    total = np.concatenate([[0.0], np.cumsum(curve)])
    start = np.maximum(np.arange(len(curve)) - half, 0)
    stop = np.minimum(np.arange(len(curve)) + half + 1, len(curve))
    return curve - (total[stop] - total[start]) / (stop - start)


def energy_of_mfcc(mfcc: np.ndarray) -> np.ndarray:
    """Log speech energy of each 10-ms step, computed from its MFCC, for clips whose sound is not available.

    The 13 coefficients describe the smooth part of the 26 log-mel bands; the energies of the bands within `BAND_HZ` are
    added.

    Args:
        mfcc: (steps, 13) in the unit of the MFCC windows (a fiftieth of an orthonormal DCT of dB).

    Returns:
        float64 (steps,) in dB.
    """
    bands = mel_decibels(mfcc)[:, _speech_bands()]
    return 10 * np.log10(np.power(10.0, bands / 10).sum(axis=1))


def energy_of_windows(windows: np.ndarray) -> np.ndarray:
    """Log speech energy during each frame: the mean of the four 10-ms steps in the middle of its window.

    Args:
        windows: float32 (T, 20, 13), the MFCC windows of T frames.

    Returns:
        float64 (T,) in dB.
    """
    middle = windows[:, MFCC_STEPS // 2 - 2 : MFCC_STEPS // 2 + 2]
    return energy_of_mfcc(middle.reshape(-1, middle.shape[-1])).reshape(len(windows), -1).mean(1)


def mel_decibels(mfcc: np.ndarray) -> np.ndarray:
    """The smooth mel spectrum that MFCC describe: (steps, 13) -> float64 (steps, 26) in dB."""
    return idct(MFCC_SCALE * mfcc.astype(np.float64), type=2, n=MEL_BANDS, norm="ortho", axis=1)


def steps_to_frames(steps: np.ndarray, frames: int, fps: float = FPS) -> np.ndarray:
    """The mean of a curve of 10-ms steps during each video frame. After the end of the sound its last value is used.

    Args:
        steps: (steps,), at least one value.
        frames: number of video frames.
        fps: frames per second of the video.

    Returns:
        float64 (frames,).
    """
    per_frame = STEPS_PER_SECOND / fps
    edges = np.round(np.arange(frames + 1) * per_frame).astype(int)
    start, stop = edges[:-1], np.maximum(edges[1:], edges[:-1] + 1)
    short = max(int(stop.max(initial=0)) - len(steps), 0)
    total = np.concatenate([[0.0], np.cumsum(np.append(steps.astype(np.float64), np.full(short, steps[-1])))])
    return (total[stop] - total[start]) / (stop - start)


@cache
def _speech_bands() -> np.ndarray:
    """Which of the 26 mel bands have their centre within `BAND_HZ`; bool (26,)."""
    import librosa  # here, because it takes a second to load and most users of this module do not need it

    centres = librosa.mel_frequencies(n_mels=MEL_BANDS + 2, fmin=0, fmax=SPEECH_RATE / 2)[1:-1]
    return (centres >= BAND_HZ[0]) & (centres <= BAND_HZ[1])
