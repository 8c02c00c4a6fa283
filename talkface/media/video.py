"""Reads and writes video: frames pass through one ffmpeg pipe, one at a time; audio is muxed by the same process.

with VideoWriter("out.mp4", 640, 480, 25, audio="speech.wav") as video:
    for frame in frames:                                            # uint8 RGB (480, 640, 3)
        video.write(frame)
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import ffmpeg
import numpy as np

from talkface.config import FPS
from talkface.errors import TalkfaceError
from talkface.files import atomic_write, require_file
from talkface.media.ffmpeg import NO_STREAM, FFmpegProcess, file_url, is_disk_error, start
from talkface.media.mark import append_xmp, mark_metadata
from talkface.media.subtitles import Subtitles, burning_filter, check_drawn
from talkface.media.timing import exact_rate
from talkface.media.tracks import AudioTrack, select_track

__all__ = ["VideoInfo", "VideoWriter", "probe", "read_frames"]

# Exact rounding, and interpolated instead of repeated chroma, because lips are small and coloured. This takes 0.3 ms at
# 256x256.
READ_SCALER = "bicubic+accurate_rnd+full_chroma_int"
WRITE_SCALER = "bicubic+accurate_rnd+full_chroma_inp"
SEEK_MARGIN = 2.0  # s before the first wanted frame: the frame that is shown then may have begun earlier
# Codecs that every player plays in an mp4. Some players are silent with others that mp4 may contain (opus, flac, ac3).
COPIED_CODECS = {"aac", "mp3"}
MIN_MP3_RATE = 16_000  # Hz; mp4 cannot contain mp3 of lower rates
MAX_AAC_CHANNELS = 8


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video as `read_frames` returns it: upright, with square pixels."""

    width: int
    height: int
    fps: Fraction
    """Frames per second; if the rate varies, the rate that ffmpeg assumes."""

    duration: float
    """Seconds from time zero of the file to the end of the last frame."""

    audio_duration: float | None
    """Seconds of audio from time zero, within about 25 ms (`load_speech` counts samples); None without audio."""

    @property
    def has_audio(self) -> bool:
        """Whether the file has audio."""
        return self.audio_duration is not None


def probe(path: str | Path) -> VideoInfo:
    """Return the properties of a video. It decodes one frame and only counts other packets: 20 ms for a short clip.

    Raises:
        TalkfaceError: the file does not exist, has no picture or cannot be decoded.
    """
    source = require_file(path, "a video")
    # One decoded frame gives size and rate as they will be read; copies of all packets give the durations.
    options = {"filter:0": f"trim=end_frame=1,{_square()}", "c:0": "rawvideo", "c:1": "copy", "c:2": "copy"}
    file = ffmpeg.input(file_url(source))
    graph = ffmpeg.output(file["V:0"], file["V:0"], file["a:0?"], "pipe:1", format="framecrc", **options)
    with start(graph) as reader:
        headers, packets, ends = _read_framecrc(reader)
        _check_end(reader, source, packets[0])
    width, height = map(int, headers["dimensions 0"].split("x"))
    ticks = {stream: Fraction(headers[f"tb {stream}"]) for stream in ends}
    return VideoInfo(
        width,
        height,
        1 / ticks[0],
        float(ends[1] * ticks[1]),
        float(ends[2] * ticks[2]) if 2 in ends else None,
    )


def read_frames(
    path: str | Path,
    fps: float | str | Fraction | None = FPS,
    max_size: int | None = None,
    on_error: Callable[[], None] | None = None,
    first: int = 0,
) -> Iterator[np.ndarray]:
    """Read the frames of a video, upright, one at a time.

    Args:
        path: anything ffmpeg decodes.
        fps: frame k is the one shown at k / fps seconds of the file, whatever the rate of the file, so that frames
            are synchronous with `load_speech` of the same file; None keeps the file's own rate.
        max_size: maximum of the longer side in px; larger videos are shrunk.
        on_error: called from another thread for every error that the decoder reports: a damaged file is decoded as far
            as possible. The errors of a frame are reported before it is yielded, and possibly many frames before.
        first: number of the first frame to yield. ffmpeg seeks to it, which files without an index may do wrongly.

    Yields:
        uint8 RGB (H, W, 3), each a new array, all of one size.

    Raises:
        TalkfaceError: the file does not exist, has no picture or cannot be decoded.
    """
    source = require_file(path, "a video")
    rate = probe(path).fps if fps is None else exact_rate(fps)
    begin = float(first / rate)
    again = "setpts=PTS-STARTPTS," if first else ""  # or ffmpeg would fill the time before with copies
    chain = f"fps=fps={rate.numerator}/{rate.denominator}:start_time={begin},{again}{_square(max_size)}"
    seek = {"ss": max(begin - SEEK_MARGIN, 0), "copyts": None, "start_at_zero": None} if first else {}
    graph = ffmpeg.input(file_url(source), **seek).output(
        "pipe:1", map="0:V:0", vf=chain, format="image2pipe", vcodec="ppm", pix_fmt="rgb24"
    )
    with start(graph, on_error=on_error) as decoder:
        frames = 0
        while (frame := _read_ppm(decoder)) is not None:
            frames += 1
            yield frame
        _check_end(decoder, source, frames)


class VideoWriter:
    """Writes frames and a sound to an mp4 that plays everywhere: H.264, yuv420p, BT.709, index in front.

    The file appears when the block ends without an exception, and not before: after Ctrl-C, a full disk or a bug
    there is no partial file and an existing file is unchanged. The whole audio track is written: AAC and MP3 are
    copied, other codecs are encoded as AAC at 192 kbit/s with the same channels (stereo if there are more than 8, mono
    if their positions are unknown). With `frame_count(duration, fps)` frames, picture and audio end within one frame
    of each other.

    Args:
        out: path of the mp4; its folder must exist.
        width, height: of the frames, in px; even, as yuv420p wants.
        fps: frame k is shown at k / fps exactly.
        audio: a file with the audio of the video, or None.
        audio_track: position among the audio tracks of that file, starting at 1. Default: as in `load_speech`.
        crf: x264's quality: 0 is lossless, 18 visually lossless, 51 the worst.
        preset: x264's effort, from "ultrafast" to "veryslow".
        mark: whether title, comment and an XMP packet say that the video is synthetic.
        metadata: further metadata fields.
        subtitles: a track of subtitles, or, if their `burned` is set, text in the picture.
        on_complete: called with the complete file before it appears, to change it in place.

    Raises:
        ValueError: odd or impossible sizes.
        TalkfaceError: the file cannot be written, the disk is full, `audio` has no such track, or ffmpeg fails.
    """

    def __init__(
        self,
        out: str | Path,
        width: int,
        height: int,
        fps: float | str | Fraction = FPS,
        audio: str | Path | None = None,
        *,
        audio_track: int | None = None,
        crf: int = 18,
        preset: str = "fast",
        mark: bool = True,
        metadata: Mapping[str, str] | None = None,
        subtitles: Subtitles | None = None,
        on_complete: Callable[[Path], None] | None = None,
    ) -> None:
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise ValueError(f"{width}x{height} is not a valid frame size: both sides must be even and above zero")
        self.out = Path(out)
        self.frames = 0
        self._shape = (height, width, 3)
        self._fps = exact_rate(fps)
        self._audio = None if audio is None else require_file(audio, "a recording")
        self._track = None if self._audio is None else select_track(self._audio, audio_track)[0]
        self._options = {"crf": crf, "preset": preset}
        self._mark = mark
        self._metadata = {**(mark_metadata() if mark else {}), **(metadata or {})}
        self._subtitles = subtitles
        self._on_complete = on_complete

    def __enter__(self) -> VideoWriter:
        audio_options = {} if self._audio is None or self._track is None else _audio_options(self._audio, self._track)
        with ExitStack() as stack:
            if self._subtitles is not None:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="talkface-"))
                self._subtitle_file = Path(folder) / "subtitles.srt"
                self._subtitles.write(self._subtitle_file)
            self._beside = stack.enter_context(atomic_write(self.out))
            self._encoder = stack.enter_context(
                start(self._graph(self._beside, audio_options), write_stdin=True, read_stdout=False)
            )
            self._stack = stack.pop_all()
        return self

    def write(self, frame: np.ndarray) -> None:
        """Add one frame, uint8 RGB (height, width, 3)."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(
                f"a frame has shape {frame.shape} and type {frame.dtype}: expected {self._shape} and uint8"
            )
        try:
            self._encoder.stdin.write(np.ascontiguousarray(frame).data)
        except OSError as error:  # ffmpeg has ended; its stderr tells why
            self._encoder.finish()
            raise self._failure() from error
        self.frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if kind is not None:
            return self._stack.__exit__(kind, error, trace)
        with self._stack:
            if not self.frames:
                raise ValueError("a video needs at least one frame")
            if self._encoder.finish():
                raise self._failure()
            if self._subtitles is not None and self._subtitles.burned:
                check_drawn(self._encoder.stderr_lines)
            if self._mark:
                append_xmp(self._beside)
            if self._on_complete is not None:
                self._on_complete(self._beside)
        return None

    def _failure(self) -> TalkfaceError:
        reason = self._encoder.reason()
        if is_disk_error(reason):
            return TalkfaceError(
                f"{self.out} cannot be written: {reason} (after {self.frames} frames).",
                "Check the space on the disk and the permissions of the folder, or choose another folder with -o.",
            )
        return TalkfaceError(
            f"{self.out} cannot be encoded: {reason} (after {self.frames} frames).",
            "Try again; if it fails again, convert the recording to wav." if self._audio else "Try again.",
        )

    def _graph(self, beside: Path, audio_options: dict[str, str | int]) -> Any:
        """Describe the ffmpeg command: raw frames from stdin and the audio from its file are written to `beside`."""
        height, width, _ = self._shape
        rate = f"{self._fps.numerator}/{self._fps.denominator}"
        frames = ffmpeg.input("pipe:0", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=rate)
        streams = [frames.video]
        if self._audio is not None and self._track is not None:
            streams.append(ffmpeg.input(file_url(self._audio))[str(self._track.stream)])
        burned = self._subtitles is not None and self._subtitles.burned
        subtitle_options: dict[str, str] = {}
        if self._subtitles is not None and not burned:
            streams.append(ffmpeg.input(file_url(self._subtitle_file))["s:0"])
            subtitle_options = {"scodec": "mov_text"}
        # Matrix and tag must agree: players assume BT.601 for small untagged video, which shifts the colours of skin.
        chain = (
            f"scale=out_color_matrix=bt709:out_range=limited:flags={WRITE_SCALER},format=yuv420p,"
            "setparams=range=limited:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
        )
        if self._subtitles is not None and burned:
            chain = f"{burning_filter(self._subtitle_file)},{chain}"
        tags = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "tv"}
        return ffmpeg.output(
            *streams,
            file_url(beside),
            format="mp4",
            vf=chain,
            vcodec="libx264",
            movflags="+faststart",
            map_metadata=-1,
            map_chapters=-1,
            **self._options,
            **tags,
            **audio_options,
            **subtitle_options,
            **{f"metadata:g:{index}": f"{name}={text}" for index, (name, text) in enumerate(self._metadata.items())},
        )


def _square(max_size: int | None = None) -> str:
    """Return the filter that makes pixels square and limits the longer side to `max_size`."""
    shrink = f"*min(1,{max_size}/max(iw*sar,ih))" if max_size else ""
    return f"scale=w='max(1,round(iw*sar{shrink}))':h='max(1,round(ih{shrink}))':flags={READ_SCALER},setsar=1"


def _read_framecrc(reader: FFmpegProcess) -> tuple[dict[str, str], dict[int, int], dict[int, int]]:
    """Read ffmpeg's framecrc format: its headers, and for each stream the number of packets and the tick of its end."""
    headers: dict[str, str] = {}
    packets, ends = {0: 0}, {0: 0}
    for line in reader.stdout:
        text = line.decode("utf-8", "replace").strip()
        if text.startswith("#"):
            name, _, value = text[1:].partition(": ")
            headers[name] = value
        else:
            stream, _, shown, length = (int(field) for field in text.split(",")[:4])
            packets[stream] = packets.get(stream, 0) + 1
            ends[stream] = max(ends.get(stream, 0), shown + length)
    return headers, packets, ends


def _read_ppm(decoder: FFmpegProcess) -> np.ndarray | None:
    """Read one image from the pipe; None at its end. The header of PPM has three lines: P6, width and height, 255."""
    size = decoder.stdout.readline() and decoder.stdout.readline().split()
    if not size or not decoder.stdout.readline():
        return None
    width, height = map(int, size)
    frame = np.empty((height, width, 3), np.uint8)
    return frame if decoder.stdout.readinto(frame.reshape(-1).data) == frame.nbytes else None


def _check_end(decoder: FFmpegProcess, source: Path, frames: int) -> None:
    failed = decoder.finish()
    if any(NO_STREAM in line for line in decoder.stderr_lines):
        raise TalkfaceError(f"{source.name} has no picture, only sound.", "Give a video: mp4, mpg, mkv, mov, webm.")
    if failed or not frames:
        reason = decoder.reason() if failed else "it has no complete frame"
        raise TalkfaceError(
            f"{source.name} cannot be decoded as video: {reason}.",
            "Play it to check that it is complete, or convert it.",
        )


def _audio_options(audio: Path, track: AudioTrack) -> dict[str, str | int]:
    """Return ffmpeg's options for the audio: a copy if every player plays its codec, else AAC of good quality."""
    graph = ffmpeg.output(
        ffmpeg.input(file_url(audio))[str(track.stream)], "pipe:1", c="copy", frames=1, format="framecrc"
    )
    with start(graph) as reader:
        headers, packets, _ = _read_framecrc(reader)
        if reader.finish() or not packets[0]:
            raise TalkfaceError(
                f"{audio.name} has no sound that can be read: {reader.reason()}.",
                "Give a recording of speech: wav, mp3, m4a, flac, ogg, or a video.",
            )
    codec = headers.get("codec_id 0", "")
    if codec in COPIED_CODECS and (codec != "mp3" or int(headers["sample_rate 0"]) >= MIN_MP3_RATE):
        return {"acodec": "copy"}
    options: dict[str, str | int] = {"acodec": "aac", "b:a": "192k"}
    if track.mono_filter:
        return options | {"af": track.mono_filter}
    return options | ({"ac": 2} if track.channels > MAX_AAC_CHANNELS else {})
