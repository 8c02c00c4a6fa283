"""Slaney's mel filters and a Hann window, in numpy alone. `librosa` computes the same, but takes seconds to import."""

from __future__ import annotations

import numpy as np

LINEAR_TOP, LINEAR_STEP = 1000.0, 200 / 3  # Hz: the scale is linear up to 1 kHz, and logarithmic above
LOG_BASE = 6.4 ** (1 / 27)


def mel_filters(rate: int, fft: int, bands: int) -> np.ndarray:
    """Return triangular filters of equal area from 0 Hz to half the rate, as `librosa.filters.mel` does.

    Args:
        rate: Hz.
        fft: samples of the Fourier transform.
        bands: number of filters.

    Returns:
        float32 (bands, fft // 2 + 1).
    """
    frequencies = np.fft.rfftfreq(fft, 1 / rate)
    edges = _hertz(np.linspace(0, _mel(rate / 2), bands + 2))
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def hann_window(length: int, fft: int) -> np.ndarray:
    """Return a periodic Hann window of `length` samples in the middle of `fft` samples, float32 (fft,)."""
    window = np.zeros(fft, np.float32)
    start = (fft - length) // 2
    window[start : start + length] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    return window


def _mel(hertz: float) -> float:
    linear = hertz / LINEAR_STEP
    above = LINEAR_TOP / LINEAR_STEP + np.log(hertz / LINEAR_TOP) / np.log(LOG_BASE)
    return linear if hertz < LINEAR_TOP else float(above)


def _hertz(mel: np.ndarray) -> np.ndarray:
    corner = LINEAR_TOP / LINEAR_STEP
    return np.where(mel < corner, mel * LINEAR_STEP, LINEAR_TOP * LOG_BASE ** (mel - corner))
