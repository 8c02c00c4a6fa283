"""Speech features: from any recording to the MFCC windows that the networks take (paper 4.1).

    speech = load_speech("speech.m4a")
    windows = mfcc_windows(speech.mfcc, frame_count(speech.duration, 25))       # (frames, 20, 13)

The windows are made by `talkface.media.windows`. A recording is decoded and analysed as a stream: an hour of it is
never in memory as samples.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from talkface.config import (
    MEL_BANDS,
    MFCC_COEFFS,
    MFCC_FFT,
    MFCC_HOP,
    MFCC_WINDOW,
    SOUND_RATE,
    SPEECH_RATE,
    STEPS_PER_SECOND,
)
from talkface.media.decode import Analysis, Downmix, analyse_waveform, decode_audio
from talkface.media.windows import CEILING_DB, FLOOR_DB, MFCC_SCALE
from talkface.mel import hann_window, mel_filters

SILENT_LEVEL = -75.0  # dB; a recording whose loudest speech is below this counts as silence throughout
SPEECH_RANGE = 30.0  # dB below the loudest tenth of a second; softer steps do not count for the level
LEVEL_PERCENTILE = 95

ENERGY_RATE = 16_000  # Hz
ENERGY_HOP = ENERGY_RATE // STEPS_PER_SECOND
ENERGY_WINDOW = 400  # samples; 25 ms
ENERGY_FFT = 512  # samples
ENERGY_BAND = (200.0, 3500.0)  # Hz
MIN_ENERGY = 1e-10
MIN_POWER = 1e-13  # below the floor of the softest speech that is not silence


@dataclass(frozen=True)
class Speech:
    """The features of a recording, and facts about it."""

    mfcc: np.ndarray
    """float32 (steps, 13): MFCC of the speech at a normalised level, of order one; step t is centred on t x 10 ms."""

    duration: float
    """Seconds of audio from time zero of the file, counted in samples of the recording itself."""

    level_db: float
    """Level of the speech before normalisation, in dB; below -75 the whole recording counts as silence."""

    path: Path

    sample_rate: int
    """Hz of the recording."""

    channels: int
    """Channels of the recording."""

    track: int = 1
    """Which of the file's audio tracks this is, starting at 1."""

    downmix: Downmix | None = None
    """How `stream_audio` gives the same audio as one channel."""

    notes: tuple[str, ...] = ()
    """What the user should know: which of several tracks was used, that the recording is silent, and the like."""


def load_speech(path: str | Path, track: int | None = None) -> Speech:
    """Load the speech in anything that ffmpeg decodes: a recording in any format, or the audio of a video.

    The channels are mixed to one and resampled to 5 kHz. Every 10 ms, 26 mel bands in dB are shifted by the level of
    the speech, so that loudness has no effect, clamped to [-50, +15] dB and turned into 13 MFCC. Audio that begins
    after the picture of its video is preceded by silence, so that time zero is that of the file.

    Args:
        path: the file.
        track: position among its audio tracks, starting at 1. Default: its default track, else the first.

    Raises:
        NoSound: the file has no audio.
        TalkfaceError: the file does not exist or cannot be decoded, or it has no such track.
    """
    decoded = decode_audio(path, MEL_ANALYSIS, track)
    mfcc, level = _normalised_mfcc(decoded.results)
    path = Path(path)
    notes = decoded.notes
    if level < SILENT_LEVEL:
        notes = (*notes, f"{path.name} is silent ({level:.0f} dB): the mouth stays closed.")
    audio = decoded.downmix.track
    return Speech(
        mfcc,
        decoded.duration,
        level,
        path,
        audio.sample_rate,
        audio.channels,
        track=audio.number,
        downmix=decoded.downmix,
        notes=notes,
    )


def mfcc_of(waveform: np.ndarray, rate: int) -> np.ndarray:
    """Compute the MFCC of samples in memory: those that `load_speech` computes for a recording of them.

    Args:
        waveform: float32 (samples,) in [-1, 1], one channel.
        rate: Hz.

    Returns:
        float32 (steps, 13), 100 a second; step t is centred on t x 10 ms.
    """
    return _normalised_mfcc(analyse_waveform(waveform, rate, MEL_ANALYSIS))[0]


def load_waveform(path: str | Path, rate: int = SOUND_RATE) -> np.ndarray:
    """Load the audio of a recording or a video as one channel: float32 (samples,) at `rate` Hz.

    Sample 0 is at time zero of the file, as in `load_speech`. Full scale is 1. Channels are mixed with equal power, so
    that two equal channels at full scale give 1.41.

    Raises:
        NoSound: the file has no audio.
        TalkfaceError: as `load_speech`.
    """
    return np.concatenate(decode_audio(path, Analysis(rate, np.copy)).results)


def speech_energy(path: str | Path) -> np.ndarray:
    """Compute the energy from 200 to 3500 Hz every 10 ms, in dB, float32 (steps,), for the sync metric.

    Raises:
        TalkfaceError: as `load_speech`.
    """
    return np.concatenate(decode_audio(path, Analysis(ENERGY_RATE, band_energy, ENERGY_FFT, ENERGY_HOP)).results)


def band_energy(samples: np.ndarray) -> np.ndarray:
    """Return the energy from 200 to 3500 Hz in each whole window of 16 kHz audio, in dB, float32 (steps,)."""
    low, high = (round(edge * ENERGY_FFT / ENERGY_RATE) for edge in ENERGY_BAND)
    energy = _power(samples, ENERGY_WINDOW, ENERGY_FFT, ENERGY_HOP)[:, low : high + 1].sum(axis=1)
    return 10 * np.log10(np.maximum(energy, MIN_ENERGY), dtype=np.float32)


def mel_power(samples: np.ndarray) -> np.ndarray:
    """Return the power in 26 mel bands in each whole window of 5 kHz audio, float32 (steps, 26)."""
    return _power(samples, MFCC_WINDOW, MFCC_FFT, MFCC_HOP) @ _filters().T


def _power(samples: np.ndarray, window: int, fft: int, hop: int) -> np.ndarray:
    """Return the power spectrum of each whole Hann window of the samples, float32 (steps, fft // 2 + 1)."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, fft)[::hop]
    spectrum = np.fft.rfft(windows * hann_window(window, fft), axis=1)
    return (spectrum.real**2 + spectrum.imag**2).astype(np.float32)


@functools.cache
def _filters() -> np.ndarray:
    return mel_filters(SPEECH_RATE, MFCC_FFT, MEL_BANDS)


@functools.cache
def _cosines() -> np.ndarray:
    """The orthonormal discrete cosine transform (type 2) from mel bands to coefficients, float32 (26, 13)."""
    band, coefficient = np.arange(MEL_BANDS)[:, None] + 0.5, np.arange(MFCC_COEFFS)
    cosines = np.sqrt(2 / MEL_BANDS) * np.cos(np.pi / MEL_BANDS * band * coefficient)
    cosines[:, 0] /= np.sqrt(2)
    return cosines.astype(np.float32)


def speech_level(loudest: np.ndarray) -> float:
    """Return the level of the speech in dB: the 95th percentile of the loudest mel band over the steps with speech.

    Steps more than 30 dB softer than the loudest tenth of a second are pauses and do not count: two seconds of speech
    in a silent minute have the level of the two seconds alone.

    Args:
        loudest: (steps,) dB of the loudest band of each step.
    """
    tenth = min(len(loudest), STEPS_PER_SECOND // 10)
    reference = np.partition(loudest, -tenth)[-tenth]
    return float(np.percentile(loudest[loudest >= reference - SPEECH_RANGE], LEVEL_PERCENTILE))


def mel_decibels(samples: np.ndarray) -> np.ndarray:
    """Return the power in dB of the mel bands in each whole window of 5 kHz audio, float32 (steps, 26)."""
    return 10 * np.log10(np.maximum(mel_power(samples), MIN_POWER), dtype=np.float32)


def mfcc_at_level(decibels: np.ndarray, level: float) -> np.ndarray:
    """Return the MFCC of speech whose level is known.

    Args:
        decibels: of `mel_decibels`, float32 (steps, 26).
        level: of `speech_level`, in dB.

    Returns:
        float32 (steps, 13).
    """
    return _coefficients(_relative_to(level, decibels))


MEL_ANALYSIS = Analysis(SPEECH_RATE, mel_decibels, MFCC_FFT, MFCC_HOP)


def _normalised_mfcc(bands: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """Return the MFCC, float32 (steps, 13), of pieces of `mel_decibels`, and the level in dB. Overwrites the list."""
    level = speech_level(np.concatenate([piece.max(axis=1) for piece in bands]))
    for index, piece in enumerate(bands):  # in place, so that an hour is not in memory twice
        bands[index] = mfcc_at_level(piece, level)
    return np.concatenate(bands), level


def _relative_to(level: float, decibels: np.ndarray) -> np.ndarray:
    """Shift `decibels` by the level of the speech and clamp them; in a silent recording everything is at the floor."""
    if level < SILENT_LEVEL:
        return np.full_like(decibels, FLOOR_DB)
    return np.clip(decibels - level, FLOOR_DB, CEILING_DB)


def _coefficients(decibels: np.ndarray) -> np.ndarray:
    """Return the 13 MFCC, scaled, of normalised mel bands: (steps, 26) -> float32 (steps, 13)."""
    return np.ascontiguousarray(decibels @ _cosines() / MFCC_SCALE, dtype=np.float32)
