"""The log-mel spectrogram that Whisper was trained on, in numpy alone: 80 bands every 10 ms of 16 kHz sound.

Reference: openai/whisper, `whisper/audio.py`. Hann window of 25 ms, power spectrum of 400 points, Slaney's mel filters
from 0 to 8 kHz, log10, floor 8 below the loudest value of the window, scaled to order one.
"""

from __future__ import annotations

import functools

import numpy as np

from talkface.config import SOUND_RATE

HOP = 160  # samples: 10 ms
FFT = 400  # samples: 25 ms
BANDS = 80
RANGE = 8.0  # log10 units under the loudest value that are kept
SMALLEST_POWER = 1e-10
LINEAR_TOP, LINEAR_STEP, LOG_STEP = 1000.0, 200 / 3, np.log(6.4) / 27  # Slaney's scale: linear to 1 kHz, then log


def log_mel(sound: np.ndarray) -> np.ndarray:
    """Whisper's log-mel spectrogram.

    Args:
        sound: float32 (samples,) in [-1, 1] at 16 kHz.

    Returns:
        float32 (80, samples // 160); column t is centred on sample 160 t.
    """
    steps = len(sound) // HOP
    if not steps:
        return np.zeros((BANDS, 0), np.float32)
    padded = np.pad(sound.astype(np.float32), FFT // 2, "reflect" if len(sound) > FFT // 2 else "constant")
    windows = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP][:steps]
    power = np.abs(np.fft.rfft(windows * _window(), axis=1)) ** 2
    logarithm = np.log10(np.maximum(power.astype(np.float32) @ mel_filters().T, SMALLEST_POWER))
    return ((np.maximum(logarithm, logarithm.max() - RANGE) + 4) / 4).T.astype(np.float32)


@functools.cache
def mel_filters() -> np.ndarray:
    """Slaney's triangular filters of equal area, float32 (80, 201)."""
    frequencies = np.fft.rfftfreq(FFT, 1 / SOUND_RATE)
    edges = _hertz(np.linspace(0, _mel(SOUND_RATE / 2), BANDS + 2))
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


@functools.cache
def _window() -> np.ndarray:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)).astype(np.float32)


def _mel(hertz: float) -> float:
    linear = hertz / LINEAR_STEP
    return linear if hertz < LINEAR_TOP else LINEAR_TOP / LINEAR_STEP + np.log(hertz / LINEAR_TOP) / LOG_STEP


def _hertz(mel: np.ndarray) -> np.ndarray:
    corner = LINEAR_TOP / LINEAR_STEP
    return np.where(mel < corner, mel * LINEAR_STEP, LINEAR_TOP * np.exp(LOG_STEP * (mel - corner)))
