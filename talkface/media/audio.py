"""Speech: from any recording to the MFCC windows that the networks hear (paper 4.1).

    speech = load_speech("speech.m4a")
    windows = mfcc_windows(speech.mfcc, frame_count(speech.duration, 25))       # (frames, 20, 13)

The recording is decoded and analysed as a stream: an hour of it is never in memory as sound.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import ffmpeg
import librosa
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
from talkface.errors import TalkfaceError
from talkface.files import require_file
from talkface.media.ffmpeg import NO_STREAM, FFmpegProcess, channel_count, file_url, start
from talkface.media.timing import frame_count
from talkface.media.windows import CEILING, FLOOR, MFCC_SCALE, SILENCE, iterate_windows, mfcc_windows

__all__ = [
    "SILENCE",
    "NoSound",
    "Speech",
    "frame_count",
    "iterate_windows",
    "load_speech",
    "load_waveform",
    "mfcc_windows",
    "speech_energy",
]

SILENT_LEVEL = -75.0  # dB: a recording whose loudest speech is below this is silence altogether
SPEECH_SPAN = 30.0  # dB below the loudest tenth of a second: what is softer does not count for the level
LEVEL_PERCENTILE = 95

ENERGY_RATE = 16_000  # Hz
ENERGY_HOP = ENERGY_RATE // STEPS_PER_SECOND
ENERGY_WINDOW = 400  # samples: 25 ms
ENERGY_FFT = 512  # samples
ENERGY_BAND = (200.0, 3500.0)  # Hz
ENERGY_FLOOR = 1e-10

BLOCK = 1 << 16  # samples decoded at a time
TINY = 1e-13  # power; below the floor of the softest speech that is not silence
LOWEST_RATE = 2000  # Hz: less is a broken header
# What makes the decoder respect the timestamps: gaps, and a sound that begins after the picture, become silence.
KEEP_TIME = "aresample=async=1"
FROM_ZERO = ":first_pts=0"
COUNT_SAMPLES = "astats=measure_perchannel=none:measure_overall=Number_of_samples"


class NoSound(TalkfaceError):
    """A file that can be read and holds no sound."""


@dataclass(frozen=True)
class Speech:
    """A recording as the networks hear it."""

    mfcc: np.ndarray
    """float32 (steps, 13): MFCC of the speech brought to one level, of order one; step t is centred on t x 10 ms."""

    duration: float
    """Seconds of sound, counted in samples of the recording itself, from time zero of the file."""

    level_db: float
    """How loud the speech was before it was brought to one level, in dB; below -75 all of it counts as silence."""

    path: Path
    sample_rate: int
    """Hz, as recorded."""

    channels: int


def load_speech(path: str | Path) -> Speech:
    """The speech in anything ffmpeg decodes: a recording in any format, or the sound of a video.

    Channels are mixed to one and resampled to 5 kHz; 26 mel bands in dB every 10 ms are brought to one level (so
    that loudness cannot matter), clamped to [-50, +15] dB about it, and turned into 13 MFCC.
    A video's sound that begins after its picture is preceded by silence, so that time zero is that of the file.

    Raises:
        NoSound: there is none in it.
        TalkfaceError: no such file, or it cannot be decoded.
    """
    bands, samples, stderr_lines = _listen(
        path, SPEECH_RATE, MFCC_FFT, MFCC_HOP, lambda piece: _decibels(mel_power(piece))
    )
    sample_rate, channels = _recorded_as(stderr_lines)
    level = speech_level(np.concatenate([piece.max(axis=1) for piece in bands]))
    for index, piece in enumerate(bands):  # in place, so that an hour is not held twice
        bands[index] = _coefficients(_levelled(piece, level))
    duration = _exact_duration(stderr_lines, sample_rate, samples)
    return Speech(np.concatenate(bands), duration, level, Path(path), sample_rate, channels)


def load_waveform(path: str | Path, rate: int = SOUND_RATE) -> np.ndarray:
    """The sound of a recording or a video, mixed to one channel: float32 (samples,) in [-1, 1] at `rate` Hz.

    Sample 0 is at time zero of the file, as in `load_speech`.

    Raises:
        NoSound: the file has no sound.
        TalkfaceError: as `load_speech`.
    """
    pieces, _, _ = _listen(path, rate, 0, 1, np.copy)
    return np.concatenate(pieces)


def speech_energy(path: str | Path) -> np.ndarray:
    """How much speech sounds every 10 ms: the energy from 200 to 3500 Hz in dB, float32 (steps,), for the sync metric.

    Raises:
        TalkfaceError: as `load_speech`.
    """
    energy, _, _ = _listen(path, ENERGY_RATE, ENERGY_FFT, ENERGY_HOP, band_energy)
    return np.concatenate(energy)


def band_energy(sound: np.ndarray) -> np.ndarray:
    """Energy from 200 to 3500 Hz at each whole window of 16 kHz `sound`, in dB, float32 (steps,); nothing is padded."""
    low, high = (round(edge * ENERGY_FFT / ENERGY_RATE) for edge in ENERGY_BAND)
    spectrum = librosa.stft(sound, n_fft=ENERGY_FFT, hop_length=ENERGY_HOP, win_length=ENERGY_WINDOW, center=False)
    energy = (np.abs(spectrum[low : high + 1]) ** 2).sum(axis=0)
    return 10 * np.log10(np.maximum(energy, ENERGY_FLOOR), dtype=np.float32)


def mel_power(sound: np.ndarray) -> np.ndarray:
    """Power in 26 mel bands at each whole window of 5 kHz `sound`, float32 (steps, 26); nothing is padded."""
    return librosa.feature.melspectrogram(
        y=sound,
        sr=SPEECH_RATE,
        n_fft=MFCC_FFT,
        hop_length=MFCC_HOP,
        win_length=MFCC_WINDOW,
        n_mels=MEL_BANDS,
        power=2.0,
        center=False,
    ).T


def speech_level(loudest: np.ndarray) -> float:
    """The level of the speech in dB: the 95th percentile of the loudest mel band while someone speaks.

    Steps softer by 30 dB than the loudest tenth of a second are pauses and do not count: two seconds of speech in a
    silent minute have the level of two seconds of speech alone.

    Args:
        loudest: (steps,) dB of the loudest band of each step.
    """
    tenth = min(len(loudest), STEPS_PER_SECOND // 10)
    reference = np.partition(loudest, -tenth)[-tenth]
    return float(np.percentile(loudest[loudest >= reference - SPEECH_SPAN], LEVEL_PERCENTILE))


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, TINY), dtype=np.float32)


def _levelled(decibels: np.ndarray, level: float) -> np.ndarray:
    """`decibels` relative to `level`, clamped; all of it the floor where nobody speaks."""
    if level < SILENT_LEVEL:
        return np.full_like(decibels, FLOOR)
    return np.clip(decibels - level, FLOOR, CEILING)


def _coefficients(decibels: np.ndarray) -> np.ndarray:
    """The 13 MFCC, scaled, of levelled mel bands: (steps, 26) -> float32 (steps, 13)."""
    mfcc = librosa.feature.mfcc(S=decibels.T, n_mfcc=MFCC_COEFFS, dct_type=2, norm="ortho")
    return np.ascontiguousarray(mfcc.T / MFCC_SCALE, dtype=np.float32)


def _listen(
    path: str | Path, rate: int, fft: int, hop: int, analyse: Callable[[np.ndarray], np.ndarray]
) -> tuple[list[np.ndarray], int, list[str]]:
    """Decode and `analyse` piece by piece: the results, the samples decoded at `rate`, and what ffmpeg said."""
    source = require_file(path, "a recording")
    results, samples, stderr_lines = _decode(source, KEEP_TIME + FROM_ZERO, rate, fft, hop, analyse)
    if len(_sample_counts(stderr_lines)) > 1:
        # Where the format changes on the way (joined mp3 files), ffmpeg starts its filters anew, and each start would
        # put silence in place of all that came before.
        results, samples, stderr_lines = _decode(source, KEEP_TIME, rate, fft, hop, analyse)
    _check_sound(Path(path), samples, stderr_lines)
    return results, samples, stderr_lines


def _decode(
    source: Path, keep_time: str, rate: int, fft: int, hop: int, analyse: Callable[[np.ndarray], np.ndarray]
) -> tuple[list[np.ndarray], int, list[str]]:
    samples = 0

    def counted(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        nonlocal samples
        for block in blocks:
            samples += len(block)
            _check_rate(source, decoder.stderr_lines)  # now, as a header of 1 Hz makes hours of a second
            yield block

    # The resampler is swr, which every ffmpeg has, so that the features do not depend on the ffmpeg at hand.
    chain = f"{keep_time},{COUNT_SAMPLES},aresample={rate}:filter_size=64"
    graph = ffmpeg.input(file_url(source)).output("pipe:1", map="0:a:0", af=chain, ac=1, format="f32le")
    with start(graph) as decoder:
        results = [analyse(piece) for piece in _centred(counted(_blocks(decoder)), fft, hop)]
        if decoder.finish() and not any(NO_STREAM in line for line in decoder.stderr_lines):
            raise TalkfaceError(
                f"{source.name} cannot be decoded as sound: {decoder.reason()}.",
                "Play it to check that it is whole, or convert it to wav.",
            )
        return results, samples, decoder.stderr_lines


def _blocks(decoder: FFmpegProcess) -> Iterator[np.ndarray]:
    while data := decoder.stdout.read(4 * BLOCK):
        block = np.frombuffer(data[: len(data) // 4 * 4], "<f4")
        yield np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)  # float recordings can hold anything


def _centred(blocks: Iterable[np.ndarray], fft: int, hop: int) -> Iterator[np.ndarray]:
    """Re-cut a stream of sound so that the whole windows in its pieces are the centred windows of all of it.

    As in librosa with center=True, half a window of zeros stands before the sound and after it.
    """
    held = np.zeros(fft // 2, np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        steps = (len(held) - fft) // hop + 1
        if steps > 0:
            yield held[: (steps - 1) * hop + fft]
            held = held[steps * hop :]
    held = np.concatenate([held, np.zeros(fft // 2, np.float32)])
    if len(held) >= fft:
        yield held


def _check_sound(path: Path, samples: int, stderr_lines: list[str]) -> None:
    if any(NO_STREAM in line for line in stderr_lines):
        raise NoSound(
            f"{path.name} holds no sound.", "Give a recording of speech: wav, mp3, m4a, flac, ogg, or a video."
        )
    if not samples:
        raise NoSound(
            f"{path.name} holds no sound, or less than a hundredth of a second.", "Record or export it again."
        )
    _check_rate(path, stderr_lines)


def _check_rate(path: Path, stderr_lines: list[str]) -> None:
    sample_rate, _ = _recorded_as(stderr_lines)
    if sample_rate < LOWEST_RATE:
        raise TalkfaceError(
            f"{path.name} says that it holds {sample_rate} samples a second; speech needs at least {LOWEST_RATE}.",
            "Its header is wrong: export it again.",
        )


def _recorded_as(stderr_lines: list[str]) -> tuple[int, int]:
    """Sample rate and channels of the decoded stream: the line after "Stream mapping" tells which one it is."""
    used = next((found[1] for line in stderr_lines if (found := re.search(r"Stream #(\d+:\d+) -> #0:0", line))), "0:0")
    for line in stderr_lines:
        found = re.search(rf"Stream #{used}\b.*\bAudio: .*?, (\d+) Hz, ([^,]+)", line)
        if found:
            return int(found[1]), channel_count(found[2])
    return SPEECH_RATE, 1


def _exact_duration(stderr_lines: list[str], sample_rate: int, samples: int) -> float:
    """Seconds of sound: from the count of recorded samples, for 5 kHz samples may round a frame too many into being."""
    rough = samples / SPEECH_RATE
    exact = sum(_sample_counts(stderr_lines)) / sample_rate
    return exact if abs(exact - rough) < 2 / SPEECH_RATE else rough


def _sample_counts(stderr_lines: list[str]) -> list[float]:
    """Samples that went through the decoder's filters, each time that they were set up."""
    return [float(found[1]) for line in stderr_lines if (found := re.search(r"Number of samples: ([\d.]+)", line))]
