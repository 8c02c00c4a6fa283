"""Synchrony of mouth and sound without third-party weights: correlation of mouth opening with speech energy.

It is not LSE (see `lse`) and must not be called so. Shapes: N frames; curves are float (N,), one value per video frame.
Lag: positive where the mouth is late, that is opening[i] goes with energy[i - lag]; SyncNet's sign.
"""

from __future__ import annotations

import numpy as np

from talkface.config import MEL_BANDS, SPEECH_RATE, STEPS_PER_SECOND
from talkface.media.windows import MFCC_SCALE
from talkface.metrics.correlation import pearson

MAX_LAG = 15  # frames, as SyncNet's offsets
MEAN_WINDOW = 51  # frames of the running mean that is taken off both curves
LAGS = np.arange(-MAX_LAG, MAX_LAG + 1)
BAND_HZ = (200.0, 2500.0)
"""The part of the 200 to 3500 Hz band that 5 kHz sound holds; used where a packed clip has MFCC but no sound."""


def lag_sums(opening: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """What one clip adds to the pooled cross-correlation.

    Both curves lose their running mean over 51 frames (a shorter clip: over what there is of it). At each lag the sums
    run over the frames that both curves have there. Clips shorter than about 5 s say little by themselves; their sums
    are added before the peak is looked for.

    Args:
        opening: (N,) mouth opening.
        energy: (N,) log speech energy of the same frames.

    Returns:
        float64 (31 * 3,): sums of x y, x^2 and y^2 at the lags -15 to +15; zeros where a lag leaves no frames.

    Raises:
        ValueError: the two differ in shape, or are not (N,).
    """
    if opening.shape != energy.shape or opening.ndim != 1:
        raise ValueError(f"wanted two curves (N,) of one length, got {opening.shape} and {energy.shape}")
    x, y = without_running_mean(opening), without_running_mean(energy)
    sums = np.zeros((len(LAGS), 3))
    for row, lag in zip(sums, LAGS, strict=True):
        if abs(lag) < len(x):
            a, b = (x[lag:], y[: len(y) - lag]) if lag >= 0 else (x[:lag], y[-lag:])
            row[:] = a @ b, a @ a, b @ b
    return sums.ravel()


def correlations(sums: np.ndarray) -> np.ndarray:
    """Pearson's r at the lags -15 to +15 from (pooled) `lag_sums`, (..., 93) -> (..., 31)."""
    by_lag = sums.reshape(*sums.shape[:-1], len(LAGS), 3)
    return pearson(by_lag[..., 0], by_lag[..., 1], by_lag[..., 2])


def peak(sums: np.ndarray) -> np.ndarray:
    """The highest correlation over the lags, (..., 93) -> (...,); NaN where the mouth never moves."""
    r = correlations(sums)
    return np.where(np.isnan(r).all(-1), np.nan, np.nan_to_num(r, nan=-2.0).max(-1))


def peak_lag(sums: np.ndarray) -> np.ndarray:
    """The lag in frames of the highest correlation, (..., 93) -> (...,); positive where the mouth is late."""
    r = correlations(sums)
    lag = LAGS[np.nan_to_num(r, nan=-2.0).argmax(-1)].astype(np.float64)
    return np.where(np.isnan(r).all(-1), np.nan, lag)


def without_running_mean(curve: np.ndarray, window: int = MEAN_WINDOW) -> np.ndarray:
    """The curve less its centred running mean; at the ends the mean is over the part of the window that exists."""
    curve = curve.astype(np.float64)
    half = window // 2
    total = np.concatenate([[0.0], np.cumsum(curve)])
    start = np.maximum(np.arange(len(curve)) - half, 0)
    stop = np.minimum(np.arange(len(curve)) + half + 1, len(curve))
    return curve - (total[stop] - total[start]) / (stop - start)


def energy_of_mfcc(mfcc: np.ndarray) -> np.ndarray:
    """Log speech energy of each 10-ms step, back from its MFCC, for clips that carry no sound.

    The 13 coefficients hold the smooth part of the 26 log-mel bands; the energy of those within `BAND_HZ` is summed.

    Args:
        mfcc: (steps, 13) in the unit of the MFCC windows (a fiftieth of an orthonormal DCT of dB).

    Returns:
        float64 (steps,) in dB.
    """
    decibels = mel_decibels(mfcc)
    inside = (_mel_centres() >= BAND_HZ[0]) & (_mel_centres() <= BAND_HZ[1])
    return 10 * np.log10(np.power(10.0, decibels[:, inside] / 10).sum(axis=1))


def mel_decibels(mfcc: np.ndarray) -> np.ndarray:
    """The smooth mel spectrum that MFCC describe: (steps, 13) -> float64 (steps, 26) in dB."""
    return MFCC_SCALE * mfcc.astype(np.float64) @ _dct_basis(mfcc.shape[1])


def steps_to_frames(steps: np.ndarray, frames: int, fps: float = 25.0) -> np.ndarray:
    """The mean over each video frame's time of a curve of 10-ms steps; past the end of the sound, its last value.

    Args:
        steps: (steps,) of at least one value.
        frames: how many video frames are wanted.
        fps: of the video.

    Returns:
        float64 (frames,).
    """
    per_frame = STEPS_PER_SECOND / fps
    edges = np.round(np.arange(frames + 1) * per_frame).astype(int)
    start, stop = edges[:-1], np.maximum(edges[1:], edges[:-1] + 1)
    short = max(int(stop.max(initial=0)) - len(steps), 0)
    total = np.concatenate([[0.0], np.cumsum(np.append(steps.astype(np.float64), np.full(short, steps[-1])))])
    return (total[stop] - total[start]) / (stop - start)


def _dct_basis(coefficients: int) -> np.ndarray:
    """Rows of the orthonormal DCT-II, (coefficients, MEL_BANDS): what each coefficient adds to the bands."""
    angle = np.pi / MEL_BANDS * np.outer(np.arange(coefficients), np.arange(MEL_BANDS) + 0.5)
    basis = np.cos(angle) * np.sqrt(2 / MEL_BANDS)
    basis[0] /= np.sqrt(2)
    return basis


def _mel_centres() -> np.ndarray:
    """Centre frequencies in Hz of librosa's (Slaney's) mel bands from 0 to half the speech rate."""
    top = _hz_to_mel(SPEECH_RATE / 2)
    return _mel_to_hz(np.linspace(0, top, MEL_BANDS + 2)[1:-1])


def _hz_to_mel(hz: float) -> float:
    return 15 + 27 * np.log(hz / 1000) / np.log(6.4) if hz >= 1000 else hz * 3 / 200


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.power(6.4, (mel - 15) / 27))
