"""Decoding of audio to one channel as a stream: an hour of it is never in memory as samples."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np

from talkface.errors import TalkfaceError
from talkface.files import require_file
from talkface.media.ffmpeg import FFmpegProcess, file_url, start
from talkface.media.tracks import AudioTrack, NoSound, channel_filter, select_track

BLOCK = 1 << 16  # samples decoded at a time
MAX_SAMPLE = 1e10  # far above full scale, which is 1, or 2^31 in files of integers that are marked as floats
MIN_SAMPLE_RATE = 2000  # Hz; less is a broken header
MAX_MIX_LOSS = 20.0  # dB by which the mix of the channels may be softer than one of them before they count as opposite
# These options make the decoder respect timestamps: gaps become silence, and so does the time before an audio stream
# that begins after the picture (see Downmix.from_zero).
KEEP_TIME = "aresample=async=1"
FROM_ZERO = ":first_pts=0"
MAX_ERRORS = 2  # a few complaints are usual, for example about the first packet of a recording that was cut
MEASURE = "astats=measure_perchannel=RMS_level:measure_overall=Number_of_samples"


@dataclass(frozen=True)
class Analysis:
    """What is computed of the samples while they are decoded."""

    rate: int
    """Hz of the samples."""
    compute: Callable[[np.ndarray], np.ndarray]
    """Called with pieces of the audio, float32 (samples,) in [-1, 1]; its results are collected."""
    window: int = 0
    """Samples of an analysis window: pieces overlap so that each holds whole windows. 0: pieces do not overlap."""
    hop: int = 1
    """Samples between the starts of two windows."""


@dataclass(frozen=True)
class Downmix:
    """How an audio track becomes one channel that begins at time zero of its file; `decode_audio` finds it."""

    track: AudioTrack
    channel: int | None = None
    """Index of the channel that is used alone; None for the mix of all channels."""
    from_zero: bool = True
    """Whether silence is inserted before audio that begins late. With it, joined recordings of different formats would
    get silence for all audio that came before, because ffmpeg sets up its filters again at each change."""

    @property
    def filters(self) -> list[str | None]:
        """ffmpeg's filters before resampling."""
        return [self.keep_time, self.mono]

    @property
    def keep_time(self) -> str:
        """The filter that makes the decoder respect timestamps."""
        return KEEP_TIME + FROM_ZERO if self.from_zero else KEEP_TIME

    @property
    def mono(self) -> str | None:
        """The filter that makes one channel; None if ffmpeg's own mix is right."""
        return self.track.mono_filter if self.channel is None else channel_filter(self.channel)


@dataclass
class DecodedAudio:
    """The results of an analysis, and facts about the audio."""

    results: list[np.ndarray]
    duration: float
    """Seconds from time zero of the file, counted in samples of the recording itself."""
    downmix: Downmix
    notes: tuple[str, ...]
    """What the user should know: which of several tracks was used, and the like."""


@dataclass
class _Pass:
    """One run of the decoder."""

    results: list[np.ndarray]
    samples: int = 0
    """Decoded samples at the analysis rate."""
    energy: float = 0.0
    """Sum of the squared samples."""
    errors: int = 0
    """Errors that the decoder has reported."""
    stderr_lines: tuple[str, ...] = ()

    @property
    def rms_db(self) -> float:
        """Level of the mono audio in dB."""
        return 10 * float(np.log10(self.energy / max(self.samples, 1) + 1e-30))

    def recorded_samples(self) -> list[float]:
        """Samples before resampling, for each time that the decoder has set up its filters."""
        return [float(x[1]) for line in self.stderr_lines if (x := re.search(r"Number of samples: ([\d.]+)", line))]

    def loudest_channel(self) -> tuple[int, float]:
        """Index and level in dB of the loudest channel of the recording."""
        levels: dict[int, float] = {}
        channel = 0
        for line in self.stderr_lines:
            if found := re.search(r"Channel: (\d+)", line):
                channel = int(found[1]) - 1
            elif found := re.search(r"RMS level dB: (-?[\d.]+)", line):  # not -inf or nan
                levels[channel] = max(float(found[1]), levels.get(channel, -np.inf))
        return max(levels.items(), key=lambda item: item[1], default=(0, -np.inf))


def decode_audio(path: str | Path, analysis: Analysis, track_number: int | None = None) -> DecodedAudio:
    """Decode an audio track of a file to one channel and analyse it piece by piece.

    If the channels cancel each other when mixed (one is the other's negative), the loudest channel is used alone. A
    damaged recording is decoded as far as possible, with a note.

    Args:
        path: anything that ffmpeg decodes.
        analysis: what is computed.
        track_number: position among the audio tracks, starting at 1. Default: the file's default track, else the first.

    Raises:
        NoSound: the file has no audio.
        TalkfaceError: the file does not exist or cannot be decoded, or it has no such track.
    """
    source = require_file(path, "a recording")
    track, count = select_track(source, track_number)
    _check_sample_rate(source, track)
    notes = []
    if track_number is None and count > 1:
        language = f" ({track.language})" if track.language else ""
        notes.append(f"{source.name} has {count} audio tracks; number {track.number}{language} is used (see --track).")
    decoded, downmix = _decode_mix_or_channel(source, track, analysis)
    if not decoded.samples:
        raise NoSound(
            f"{source.name} has no sound, or less than a hundredth of a second.", "Record or export it again."
        )
    if downmix.channel is not None:
        notes.append(
            f"The channels of {source.name} would be more than {MAX_MIX_LOSS:.0f} dB softer when mixed; "
            f"channel {downmix.channel + 1} is used alone."
        )
    if decoded.errors > MAX_ERRORS:
        notes.append(f"{source.name} is damaged: its decoder reports {decoded.errors} errors. Parts may be missing.")
    return DecodedAudio(decoded.results, _duration(decoded, analysis, track), downmix, tuple(notes))


def stream_audio(
    path: str | Path, rate: int, track_number: int | None = None, downmix: Downmix | None = None
) -> Iterator[np.ndarray]:
    """Yield the audio of a file in blocks as it is decoded, float32 (samples,) in [-1, 1], mixed to one channel.

    Args:
        path: a file that `decode_audio` has accepted.
        rate: Hz of the samples.
        track_number: as for `decode_audio`.
        downmix: as `decode_audio` has found it for this file; without it, the channels are mixed as ffmpeg does.
    """
    source = require_file(path, "a recording")
    downmix = downmix or Downmix(select_track(source, track_number)[0])
    filters = [*filter(None, downmix.filters), f"aresample={rate}:filter_size=64"]
    stream = ffmpeg.input(file_url(source))[str(downmix.track.stream)]
    graph = ffmpeg.output(stream, "pipe:1", af=",".join(filters), ac=1, format="f32le")
    with start(graph) as decoder:
        yield from _blocks(decoder)


def analyse_waveform(waveform: np.ndarray, rate: int, analysis: Analysis) -> list[np.ndarray]:
    """Return the results that `decode_audio` has for a recording of these samples.

    Args:
        waveform: float32 (samples,) in [-1, 1], one channel.
        rate: Hz of the waveform.
        analysis: what is computed.
    """
    recording = ffmpeg.input("pipe:0", format="f32le", ar=rate, ac=1)
    return _decode(recording["a:0"], "The waveform", analysis, KEEP_TIME + FROM_ZERO, waveform=waveform).results


def _decode_mix_or_channel(source: Path, track: AudioTrack, analysis: Analysis) -> tuple[_Pass, Downmix]:
    """Decode the mix of the channels, or the loudest channel if the mix is far softer."""
    mix, downmix = _decode_file(source, Downmix(track), analysis)
    channel, level = mix.loudest_channel()
    if track.channels == 1 or mix.rms_db >= level - MAX_MIX_LOSS:
        return mix, downmix
    alone, only = _decode_file(source, replace(downmix, channel=channel), analysis)
    # Compared once more, because the channel's level before resampling includes frequencies that are cut off.
    if mix.rms_db >= alone.rms_db - MAX_MIX_LOSS:
        return mix, downmix
    return alone, only


def _decode_file(source: Path, downmix: Downmix, analysis: Analysis) -> tuple[_Pass, Downmix]:
    """Decode a file; again without silence at its start if its format changes in the middle (joined mp3 files)."""
    stream = ffmpeg.input(file_url(source))[str(downmix.track.stream)]
    decoded = _decode(stream, source.name, analysis, downmix.keep_time, downmix.mono)
    if downmix.from_zero and len(decoded.recorded_samples()) > 1:
        downmix = replace(downmix, from_zero=False)
        decoded = _decode(stream, source.name, analysis, downmix.keep_time, downmix.mono)
    return decoded, downmix


def _decode(
    stream: Any,
    name: str,
    analysis: Analysis,
    keep_time: str,
    mono_filter: str | None = None,
    waveform: np.ndarray | None = None,
) -> _Pass:
    """Decode a stream of ffmpeg-python; `waveform` is written to ffmpeg's stdin."""
    # The resampler is swr, which every ffmpeg has, so that the features do not depend on how ffmpeg was built.
    filters = [keep_time, MEASURE, *filter(None, [mono_filter]), f"aresample={analysis.rate}:filter_size=64"]
    graph = ffmpeg.output(stream, "pipe:1", af=",".join(filters), ac=1, format="f32le")
    decoded = _Pass([])

    def counted(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            decoded.samples += len(block)
            decoded.energy += float(np.dot(block, block))
            yield block

    def count_error() -> None:
        decoded.errors += 1

    with start(graph, write_stdin=waveform is not None, on_error=count_error) as decoder:
        if waveform is not None:
            threading.Thread(target=_write, args=(waveform, decoder), daemon=True).start()
        pieces = _overlapping(counted(_blocks(decoder)), analysis.window, analysis.hop)
        decoded.results = [analysis.compute(piece) for piece in pieces]
        if decoder.finish():
            raise TalkfaceError(
                f"{name} cannot be decoded as sound: {decoder.reason()}.",
                "Play it to check that it is complete, or convert it to wav.",
            )
        return replace(decoded, stderr_lines=tuple(decoder.stderr_lines))


def _write(waveform: np.ndarray, decoder: FFmpegProcess) -> None:
    with suppress(OSError, ValueError), decoder.stdin as pipe:  # if ffmpeg has ended, its exit status tells why
        pipe.write(waveform.astype("<f4").tobytes())


def _blocks(decoder: FFmpegProcess) -> Iterator[np.ndarray]:
    while data := decoder.stdout.read(4 * BLOCK):
        block = np.frombuffer(data[: len(data) // 4 * 4], "<f4")
        # Recordings of floats may contain values that are not finite, and damaged ones such whose squares are not.
        yield np.where(np.abs(block) < MAX_SAMPLE, block, np.float32(0))


def _overlapping(blocks: Iterable[np.ndarray], window: int, hop: int) -> Iterator[np.ndarray]:
    """Cut a stream of samples into pieces whose whole windows are the centred windows of the entire stream.

    As in librosa with center=True, half a window of zeros is added at both ends.
    """
    held = np.zeros(window // 2, np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        steps = (len(held) - window) // hop + 1
        if steps > 0:
            yield held[: (steps - 1) * hop + window]
            held = held[steps * hop :]
    held = np.concatenate([held, np.zeros(window // 2, np.float32)])
    if len(held) >= window:
        yield held


def _check_sample_rate(path: Path, track: AudioTrack) -> None:
    if 0 < track.sample_rate < MIN_SAMPLE_RATE:  # a header of 1 Hz would turn a second of samples into hours
        raise TalkfaceError(
            f"The header of {path.name} gives {track.sample_rate} samples per second; speech needs at least "
            f"{MIN_SAMPLE_RATE}.",
            "The header is wrong: export the recording again.",
        )


def _duration(decoded: _Pass, analysis: Analysis, track: AudioTrack) -> float:
    """Return the seconds of audio, from the count of recorded samples: rounded to 5 kHz it could cost a frame more."""
    rough = decoded.samples / analysis.rate
    if not track.sample_rate:
        return rough
    exact = sum(decoded.recorded_samples()) / track.sample_rate
    return exact if abs(exact - rough) < 2 / analysis.rate else rough
