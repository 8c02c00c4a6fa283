"""The audio tracks of a recording or a video: which there are, and which one is used."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from talkface.errors import TalkfaceError
from talkface.media.ffmpeg import FFmpegProcess, channel_count, ffmpeg_exe, file_url

# A line of ffmpeg's description of a file: "  Stream #0:1[0x2](eng): Audio: aac (LC), 48000 Hz, stereo (default)".
STREAM_LINE = re.compile(r"\s*Stream #0:(?P<stream>\d+)(\[\w+\])?(\((?P<language>[^)]*)\))?: Audio: (?P<format>.*)")
FORMAT = re.compile(r", (?P<rate>\d+) Hz, (?P<layout>[^,]+)")
UNDETERMINED = "und"  # language
# Layouts that tell the number of channels and not their positions; ffmpeg cannot mix them to mono by itself.
UNKNOWN_LAYOUT = re.compile(r"\d+ channels")


class NoSound(TalkfaceError):
    """A file that can be read and has no audio."""


@dataclass(frozen=True)
class AudioTrack:
    """One audio stream of a file."""

    number: int
    """Position among the audio tracks, starting at 1."""
    stream: int
    """Index among all streams of the file."""
    sample_rate: int = 0
    """Hz; 0 if unknown."""
    layout: str = "mono"
    """Channel layout in ffmpeg's notation, such as stereo, 5.1(side) or 9 channels."""
    is_default: bool = False
    """Whether the file marks the track as the one to play by default."""
    language: str | None = None
    """Three letters, such as eng; None if unknown."""

    @property
    def channels(self) -> int:
        """The number of channels, at least one."""
        return channel_count(self.layout)

    @property
    def mono_filter(self) -> str | None:
        """The filter that mixes the channels to one; None if ffmpeg's own mix for the layout is right.

        Channels at unknown positions are averaged. The first channel of ambisonic audio is its omnidirectional mix.
        """
        if self.layout.startswith("ambisonic"):
            return channel_filter(0)
        if not UNKNOWN_LAYOUT.fullmatch(self.layout):
            return None
        weight = f"{1 / self.channels:.9f}"
        return "pan=mono|c0=" + "+".join(f"{weight}*c{index}" for index in range(self.channels))


def channel_filter(index: int) -> str:
    """Return the filter that keeps one channel, counted from 0."""
    return f"pan=mono|c0=c{index}"


def audio_tracks(path: Path) -> list[AudioTrack]:
    """List the audio tracks of a file, in the order of its streams.

    Raises:
        TalkfaceError: ffmpeg cannot read the file.
    """
    with FFmpegProcess([ffmpeg_exe(), "-hide_banner", "-nostdin", "-i", file_url(path)], read_stdout=False) as reader:
        reader.finish()  # with status 1, because there is no output
        if not any(line.startswith("Input #0") for line in reader.stderr_lines):
            raise TalkfaceError(
                f"{path.name} cannot be decoded as sound: {reader.reason()}.",
                "Play it to check that it is complete, or convert it to wav.",
            )
        lines = reader.stderr_lines
    found = sorted(
        (match for line in lines if (match := STREAM_LINE.match(line))), key=lambda match: int(match["stream"])
    )
    return [_track(number, match) for number, match in enumerate(found, start=1)]


def select_track(path: Path, number: int | None = None) -> tuple[AudioTrack, int]:
    """Select an audio track: the one with `number`, else the one marked as default, else the first one.

    Args:
        path: a recording or a video.
        number: position among the audio tracks, starting at 1.

    Returns:
        The track, and the number of audio tracks in the file.

    Raises:
        NoSound: the file has no audio.
        TalkfaceError: ffmpeg cannot read the file, or it has no track with that number.
    """
    tracks = audio_tracks(path)
    if not tracks:
        raise NoSound(f"{path.name} has no sound.", "Give a recording of speech: wav, mp3, m4a, flac, ogg, or a video.")
    if number is None:
        return next((track for track in tracks if track.is_default), tracks[0]), len(tracks)
    if not 1 <= number <= len(tracks):
        tracks_found = "1 audio track" if len(tracks) == 1 else f"{len(tracks)} audio tracks"
        raise TalkfaceError(f"--track {number}: {path.name} has {tracks_found}.", "Count from 1, or leave it out.")
    return tracks[number - 1], len(tracks)


def _track(number: int, match: re.Match[str]) -> AudioTrack:
    track = AudioTrack(
        number,
        int(match["stream"]),
        is_default="(default)" in match["format"],
        language=None if match["language"] == UNDETERMINED else match["language"],
    )
    found = FORMAT.search(match["format"])
    if found is None:  # the header is broken; decoding tells what is wrong
        return track
    return replace(track, sample_rate=int(found["rate"]), layout=found["layout"].strip())
