"""The log-mel spectrogram that Whisper was trained on, in numpy alone: 80 bands every 10 ms of 16 kHz sound.

Reference: openai/whisper, `whisper/audio.py`. Hann window of 25 ms, power spectrum of 400 points, Slaney's mel filters
from 0 to 8 kHz, log10, floor 8 below the loudest value of the window, scaled to order one.
"""

from __future__ import annotations

import functools

import numpy as np

from talkface import mel
from talkface.config import SOUND_RATE

HOP = 160  # samples: 10 ms
FFT = 400  # samples: 25 ms
BANDS = 80
RANGE = 8.0  # log10 units under the loudest value that are kept
SMALLEST_POWER = 1e-10


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
    return mel.mel_filters(SOUND_RATE, FFT, BANDS)


@functools.cache
def _window() -> np.ndarray:
    return mel.hann_window(FFT, FFT)
