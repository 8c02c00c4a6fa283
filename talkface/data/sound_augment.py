"""Other voices, microphones and rooms for the same speech: distortions of 16 kHz waveforms.

Waveforms are float32 (samples,), in [-1, 1] where they come in. All draws come from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from talkface.config import SOUND_RATE

EQ_HZ = np.array([0.0, 200, 500, 1000, 2000, 3500, 5500, 8000])
SPEEDS = (0.86, 1.16)  # how much faster, and so higher, a voice may get


def augmented(sound: np.ndarray, random: np.random.Generator, others: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """A distorted copy of `sound`, and how much faster it is than the original.

    Args:
        sound: the waveform.
        random: of all draws.
        others: other recordings, of which babble noise is made.
    """
    speed = 1.0
    if random.random() < 0.75:
        speed = float(random.uniform(*SPEEDS))
        sound = resampled(sound, speed)
    if random.random() < 0.6:
        sound = equalized(sound, random)
    if random.random() < 0.12:
        sound = telephone(sound, random.uniform(200, 400), random.uniform(3000, 4000))
    if random.random() < 0.35:
        sound = reverberant(sound, random)
    if random.random() < 0.6:
        level = sound.std() * 10 ** (-random.uniform(3, 30) / 20)
        sound = sound + level * noise(len(sound), random, others)
    return (sound * 10 ** (random.uniform(-20, 6) / 20)).astype(np.float32), speed


def resampled(sound: np.ndarray, speed: float) -> np.ndarray:
    """Played `speed` times as fast, pitch and pace together."""
    return np.interp(np.arange(int(len(sound) / speed)) * speed, np.arange(len(sound)), sound).astype(np.float32)


def resampled_lips(lips: np.ndarray, speed: float) -> np.ndarray:
    """Lip points (T, 40, 2) of a clip played `speed` times as fast at the same frame rate."""
    count = max(int(len(lips) / speed), 1)
    place = ((np.arange(count) + 0.5) * speed - 0.5).clip(0, len(lips) - 1)
    first = np.floor(place).astype(int)
    share = (place - first)[:, None, None]
    return (lips[first] * (1 - share) + lips[np.minimum(first + 1, len(lips) - 1)] * share).astype(np.float32)


def equalized(sound: np.ndarray, random: np.random.Generator, decibels: float = 8.0) -> np.ndarray:
    """Another microphone: a smooth random gain over frequency."""
    gains = random.normal(0, decibels / 2, len(EQ_HZ)).clip(-1.5 * decibels, 1.5 * decibels)
    spectrum, frequency = _spectrum(sound)
    return _waveform(spectrum * 10 ** (np.interp(frequency, EQ_HZ, gains) / 20), len(sound))


def telephone(sound: np.ndarray, low: float, high: float) -> np.ndarray:
    """Only the band from `low` to `high` Hz."""
    spectrum, frequency = _spectrum(sound)
    band = 1 / (1 + (frequency / high) ** 16) * (1 - 1 / (1 + (frequency / low) ** 8))
    return _waveform(spectrum * band, len(sound))


def reverberant(sound: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A room: decaying noise as impulse response, 0.1 to 0.5 s long."""
    seconds = random.uniform(0.1, 0.5)
    length = int(seconds * SOUND_RATE)
    response = random.normal(size=length) * np.exp(-6.9 * np.arange(length) / length)
    response[:16] = 0
    response *= random.uniform(0.2, 0.7) / np.sqrt((response**2).sum())
    response[0] = 1
    size = 1 << int(np.ceil(np.log2(len(sound) + length)))
    product = np.fft.rfft(sound, size) * np.fft.rfft(response, size)
    return np.fft.irfft(product, size)[: len(sound)].astype(np.float32)


def noise(length: int, random: np.random.Generator, others: Sequence[np.ndarray]) -> np.ndarray:
    """White noise, pink noise or the babble of four others, of standard deviation 1."""
    kind = random.integers(3)
    if kind == 0 and len(others):
        voices = (others[int(random.integers(len(others)))] for _ in range(4))
        sound = np.sum([np.resize(voice / (voice.std() + 1e-6), length) for voice in voices], axis=0)
    else:
        sound = random.normal(size=length)
        if kind == 1:
            spectrum, frequency = _spectrum(sound)
            sound = _waveform(spectrum / np.sqrt(np.maximum(frequency, 20)), length)
    return (sound / (sound.std() + 1e-6)).astype(np.float32)


def _spectrum(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.fft.rfft(sound), np.fft.rfftfreq(len(sound), 1 / SOUND_RATE)


def _waveform(spectrum: np.ndarray, length: int) -> np.ndarray:
    return np.fft.irfft(spectrum, length).astype(np.float32)
