"""Speech: from any recording to the MFCC windows that the networks hear (paper 4.1).

    speech = load_speech("speech.m4a")
    windows = mfcc_windows(speech.mfcc, frame_count(speech.duration, 25))       # (frames, 20, 13)

The recording is decoded and analysed as a stream: an hour of it is never in memory as sound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import ffmpeg
import librosa
import numpy as np

from talkface.config import (
    FPS,
    MEL_BANDS,
    MFCC_COEFFS,
    MFCC_FFT,
    MFCC_HOP,
    MFCC_STEPS,
    MFCC_WINDOW,
    SPEECH_RATE,
    STEPS_PER_SECOND,
)
from talkface.errors import TalkfaceError
from talkface.media.ffmpeg import Running, file_url, start
from talkface.media.files import existing_file
from talkface.media.timing import exact_rate, frame_count

__all__ = ["SILENCE", "Speech", "frame_count", "iterate_windows", "load_speech", "mfcc_windows", "speech_energy"]

SILENT_LEVEL = -75.0  # dB: a recording whose loudest speech is below this is silence altogether
FLOOR, CEILING = -50.0, 15.0  # dB relative to the level of the speech
SPEECH_SPAN = 30.0  # dB below the loudest tenth of a second: what is softer does not count for the level
LEVEL_PERCENTILE = 95
MFCC_SCALE = 50.0  # brings the coefficients to the order of one

ENERGY_RATE = 16_000  # Hz
ENERGY_HOP = ENERGY_RATE // STEPS_PER_SECOND
ENERGY_WINDOW = 400  # samples: 25 ms
ENERGY_FFT = 512  # samples
ENERGY_BAND = (200.0, 3500.0)  # Hz
ENERGY_FLOOR = 1e-10

BLOCK = 1 << 16  # samples decoded at a time
TINY = 1e-13  # power; below the floor of the softest speech that is not silence
# What makes the decoder respect the timestamps: gaps, and a sound that begins after the picture, become silence.
KEEP_TIME = "aresample=async=1:first_pts=0"
COUNT_SAMPLES = "astats=measure_perchannel=none:measure_overall=Number_of_samples"


SILENCE = np.zeros(MFCC_COEFFS, np.float32)
"""float32 (13,): the MFCC of a step with every mel band at the floor; it also stands before and after a sound."""
SILENCE[0] = FLOOR * MEL_BANDS**0.5 / MFCC_SCALE


@dataclass(frozen=True)
class Speech:
    """A recording as the networks hear it."""

    mfcc: np.ndarray
    """float32 (steps, 13): MFCC of the speech brought to one level, of the order of one; step t is centred on t x 10 ms."""

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
        TalkfaceError: no such file, no sound in it, or it cannot be decoded.
    """
    source = existing_file(path, "a recording")
    samples = 0

    def counted(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        nonlocal samples
        for block in blocks:
            samples += len(block)
            yield block

    with _decoder(source, SPEECH_RATE) as decoder:
        bands = [_decibels(mel_power(piece)) for piece in _centred(counted(_blocks(decoder)), MFCC_FFT, MFCC_HOP)]
        _check_end(decoder, Path(path), samples)
        sample_rate, channels = _recorded_as(decoder.said)
        duration = _exact_duration(decoder.said, sample_rate, samples)
    level = speech_level(np.concatenate([piece.max(axis=1) for piece in bands]))
    for index, piece in enumerate(bands):  # in place, so that an hour is not held twice
        bands[index] = _coefficients(_levelled(piece, level))
    return Speech(np.concatenate(bands), duration, level, Path(path), sample_rate, channels)


def mfcc_windows(
    mfcc: np.ndarray, frames: int, fps: float | Fraction = FPS, offset: float = 0.0, first: int = 0
) -> np.ndarray:
    """The 20 steps of sound about each video frame (paper 4.1).

    The window of frame i holds the steps c - 10 .. c + 9, where c = round(100 ((i + 0.5) / fps + offset)) is the step
    in the middle of the frame. Steps before and after the sound are silence.

    Args:
        mfcc: float32 (steps, 13), 100 a second.
        frames: how many windows.
        fps: frames per second.
        offset: seconds by which the sound is taken later (positive where the sound lags behind the picture).
        first: the first frame, for those who make the windows of a long recording piece by piece.

    Returns:
        float32 (frames, 20, 13).
    """
    rate = exact_rate(fps)
    frame = np.arange(first, first + frames)
    centre = STEPS_PER_SECOND * ((2 * frame + 1) * rate.denominator / (2 * rate.numerator) + offset)
    step = np.floor(centre + 0.5 + 1e-9).astype(np.int64)[:, None] + np.arange(-MFCC_STEPS // 2, MFCC_STEPS // 2)
    inside = (step >= 0) & (step < len(mfcc))
    windows = mfcc[np.clip(step, 0, len(mfcc) - 1)]
    windows[~inside] = SILENCE
    return windows.astype(np.float32, copy=False)


def iterate_windows(
    mfcc: np.ndarray, frames: int, fps: float | Fraction = FPS, offset: float = 0.0, batch: int = 256
) -> Iterator[np.ndarray]:
    """The windows of `mfcc_windows`, each (20, 13), made `batch` at a time: for an hour of speech in little memory."""
    for first in range(0, frames, batch):
        yield from mfcc_windows(mfcc, min(batch, frames - first), fps, offset, first)


def speech_energy(path: str | Path) -> np.ndarray:
    """How much speech sounds every 10 ms: the energy from 200 to 3500 Hz in dB, float32 (steps,), for the sync metric.

    Raises:
        TalkfaceError: as `load_speech`.
    """
    low, high = (round(edge * ENERGY_FFT / ENERGY_RATE) for edge in ENERGY_BAND)
    energy = []
    with _decoder(existing_file(path, "a recording"), ENERGY_RATE) as decoder:
        for piece in _centred(_blocks(decoder), ENERGY_FFT, ENERGY_HOP):
            spectrum = librosa.stft(
                piece, n_fft=ENERGY_FFT, hop_length=ENERGY_HOP, win_length=ENERGY_WINDOW, center=False
            )
            energy.append((np.abs(spectrum[low : high + 1]) ** 2).sum(axis=0))
        _check_end(decoder, Path(path), len(energy))
    return (10 * np.log10(np.maximum(np.concatenate(energy), ENERGY_FLOOR))).astype(np.float32)


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
    """The level of the speech in dB: the 95th percentile of the loudest mel band over the steps in which someone speaks.

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


def _decoder(source: Path, rate: int) -> Running:
    """An ffmpeg that decodes the first sound stream to float32 mono of `rate`. swr, as every ffmpeg has it."""
    chain = f"{KEEP_TIME},{COUNT_SAMPLES},aresample={rate}:filter_size=64"
    return start(ffmpeg.input(file_url(source)).output("pipe:1", map="0:a:0", af=chain, ac=1, format="f32le"))


def _blocks(decoder: Running) -> Iterator[np.ndarray]:
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


def _check_end(decoder: Running, path: Path, decoded: int) -> None:
    status = decoder.finish()
    if any("matches no streams" in line for line in decoder.said):
        raise TalkfaceError(
            f"{path} holds no sound.", "Give a recording of speech: wav, mp3, m4a, flac, ogg, or a video."
        )
    if status:
        raise TalkfaceError(
            f"{path} cannot be decoded as sound: {decoder.reason()}.",
            "Play it to check that it is whole, or convert it to wav.",
        )
    if not decoded:
        raise TalkfaceError(f"{path} holds no sound: 0 samples.", "Record or export it again.")


def _recorded_as(said: list[str]) -> tuple[int, int]:
    """Sample rate and channels of the decoded stream: the line after "Stream mapping" tells which one it is."""
    used = next((found[1] for line in said if (found := re.search(r"Stream #(\d+:\d+) -> #0:0", line))), "0:0")
    for line in said:
        found = re.search(rf"Stream #{used}\D.*: Audio: .*?, (\d+) Hz, ([^,]+)", line)
        if found:
            return int(found[1]), _channels(found[2])
    return SPEECH_RATE, 1


def _channels(layout: str) -> int:
    """The channels of a layout as ffmpeg names it: mono, stereo, 5.1(side), 3 channels."""
    names = {"mono": 1, "stereo": 2, "quad": 4, "downmix": 2, "hexagonal": 6, "octagonal": 8}
    word = layout.split("(")[0].split()[0]
    return names.get(word) or sum(int(digits) for digits in re.findall(r"\d+", word)) or 1


def _exact_duration(said: list[str], sample_rate: int, samples: int) -> float:
    """Seconds of sound: from the count of recorded samples, for 5 kHz samples may round a frame too many into being."""
    rough = samples / SPEECH_RATE
    counts = [float(found[1]) for line in said if (found := re.search(r"Number of samples: ([\d.]+)", line))]
    exact = sum(counts) / sample_rate
    return exact if abs(exact - rough) < 2 / SPEECH_RATE else rough
