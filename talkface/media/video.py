"""Video in and out: frames through one ffmpeg pipe, one at a time, the sound muxed in the same process.

with VideoWriter("out.mp4", 640, 480, 25, audio="speech.wav") as video:
    for frame in frames:                                            # uint8 RGB (480, 640, 3)
        video.write(frame)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import ffmpeg
import numpy as np

from talkface._version import __version__
from talkface.config import FPS
from talkface.errors import TalkfaceError
from talkface.files import atomic_write, require_file
from talkface.media.ffmpeg import NO_STREAM, FFmpegProcess, channel_count, file_url, start
from talkface.media.timing import exact_rate

__all__ = ["VideoInfo", "VideoWriter", "probe", "read_frames"]

# Exact rounding, and chroma interpolated instead of repeated: lips are small and coloured. Costs 0.3 ms at 256x256.
READ_SCALER = "bicubic+accurate_rnd+full_chroma_int"
WRITE_SCALER = "bicubic+accurate_rnd+full_chroma_inp"
# What mp4 holds and every player plays. Others that mp4 could hold (opus, flac, ac3) stay silent in some.
COPIED_CODECS = {"aac", "mp3"}
LOWEST_MP3_RATE = 16_000  # Hz; mp4 has no code for slower mp3
MOST_AAC_CHANNELS = 8
MARK = {
    "title": "Synthetic video made with talkface",
    "comment": "Synthetic: this face was made to speak by talkface {version} from one photo and one recording.",
}


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds, as `read_frames` would give it: upright, with square pixels."""

    width: int
    height: int
    fps: Fraction
    """Frames per second; of a variable rate, the rate that ffmpeg takes for it."""

    duration: float
    """Seconds of picture, from time zero of the file to the end of the last frame."""

    audio_duration: float | None
    """Seconds of sound from time zero, to about 25 ms (`load_speech` counts samples); None without sound."""

    @property
    def has_audio(self) -> bool:
        return self.audio_duration is not None


def probe(path: str | Path) -> VideoInfo:
    """What the video at `path` holds. Decodes one frame and skims the rest: 20 ms for a clip.

    Raises:
        TalkfaceError: no such file, no picture in it, or it cannot be decoded.
    """
    source = require_file(path, "a video")
    # One stream of one decoded frame tells size and rate as they will be read; copies of all packets tell durations.
    options = {"filter:0": f"trim=end_frame=1,{_square()}", "c:0": "rawvideo", "c:1": "copy", "c:2": "copy"}
    file = ffmpeg.input(file_url(source))
    graph = ffmpeg.output(file["V:0"], file["V:0"], file["a:0?"], "pipe:1", format="framecrc", **options)
    with start(graph) as skimmer:
        headers, packets, ends = _skim(skimmer)
        _check_end(skimmer, source, packets[0])
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
    path: str | Path, fps: float | str | Fraction | None = FPS, max_size: int | None = None
) -> Iterator[np.ndarray]:
    """The frames of a video, upright, one at a time.

    Args:
        path: anything ffmpeg decodes.
        fps: frame k is the one shown at k / fps seconds of the file, whatever the rate of the file, so that frames
            stay in step with `load_speech` of the same file; None keeps the file's own rate.
        max_size: bound of the longer side in px; larger videos are shrunk.

    Yields:
        uint8 RGB (H, W, 3), each an array of its own, all of one size.

    Raises:
        TalkfaceError: no such file, no picture in it, or it cannot be decoded.
    """
    source = require_file(path, "a video")
    rate = probe(path).fps if fps is None else exact_rate(fps)
    chain = f"fps=fps={rate.numerator}/{rate.denominator}:start_time=0,{_square(max_size)}"
    graph = ffmpeg.input(file_url(source)).output(
        "pipe:1", map="0:V:0", vf=chain, format="image2pipe", vcodec="ppm", pix_fmt="rgb24"
    )
    with start(graph) as decoder:
        frames = 0
        while (frame := _read_ppm(decoder)) is not None:
            frames += 1
            yield frame
        _check_end(decoder, source, frames)


class VideoWriter:
    """Writes frames and a sound to an mp4 that plays everywhere: H.264, yuv420p, BT.709, index in front.

    The file appears at its place when the block ends without an exception, and not before: Ctrl-C, a full disk or a
    bug in between leave nothing behind and what was there untouched. The sound is kept whole, copied where it is AAC or
    MP3 and else encoded to AAC at 192 kbit/s with its channels; write `frame_count(duration, fps)` frames, and picture
    and sound end within one frame of each other.

    Args:
        out: path of the mp4; its folder must exist.
        width, height: of the frames, in px; even, as yuv420p wants.
        fps: frame k is shown at k / fps exactly.
        audio: a file whose first sound stream goes with the picture, or None.
        crf: x264's quality: 0 is lossless, 18 looks it, 51 is the worst.
        preset: x264's effort, from "ultrafast" to "veryslow".
        mark: say in title and comment that the video is synthetic.
        metadata: more of such fields.

    Raises:
        ValueError: odd or impossible sizes.
        TalkfaceError: the place may not be written, the disk is full, there is no sound in `audio`, or ffmpeg fails.
    """

    def __init__(
        self,
        out: str | Path,
        width: int,
        height: int,
        fps: float | str | Fraction = FPS,
        audio: str | Path | None = None,
        *,
        crf: int = 18,
        preset: str = "fast",
        mark: bool = True,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise ValueError(f"frames of {width}x{height}: both sides must be even and above zero")
        self.out = Path(out)
        self.frames = 0
        self._shape = (height, width, 3)
        self._fps = exact_rate(fps)
        self._audio = None if audio is None else require_file(audio, "a recording")
        self._options = {"crf": crf, "preset": preset}
        marks = {name: text.format(version=__version__) for name, text in MARK.items()} if mark else {}
        self._metadata = {**marks, **(metadata or {})}

    def __enter__(self) -> VideoWriter:
        sound = {} if self._audio is None else _sound_options(self._audio)
        with ExitStack() as stack:
            beside = stack.enter_context(atomic_write(self.out))
            self._encoder = stack.enter_context(start(self._graph(beside, sound), write_stdin=True, read_stdout=False))
            self._stack = stack.pop_all()
        return self

    def write(self, frame: np.ndarray) -> None:
        """Add one frame, uint8 RGB (height, width, 3)."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"a frame of {frame.shape} {frame.dtype}, not of {self._shape} uint8")
        try:
            self._encoder.stdin.write(np.ascontiguousarray(frame).data)
        except OSError as error:  # ffmpeg is gone; it has said why
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
                raise ValueError("a video of no frames")
            if self._encoder.finish():
                raise self._failure()
        return None

    def _failure(self) -> TalkfaceError:
        return TalkfaceError(
            f"{self.out} cannot be written: {self._encoder.reason()} (after {self.frames} frames).",
            "Check the space on the disk and the permissions of the folder, or choose another place with -o.",
        )

    def _graph(self, beside: Path, sound: dict[str, str | int]):
        """The one ffmpeg command: raw frames from stdin and the sound from its file, to `beside`."""
        height, width, _ = self._shape
        rate = f"{self._fps.numerator}/{self._fps.denominator}"
        inputs = [ffmpeg.input("pipe:0", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=rate)]
        if self._audio is not None:
            inputs.append(ffmpeg.input(file_url(self._audio)))
        # Matrix and tag must agree: players take untagged small video for BT.601 and turn skin and lips.
        chain = (
            f"scale=out_color_matrix=bt709:out_range=limited:flags={WRITE_SCALER},format=yuv420p,"
            "setparams=range=limited:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
        )
        tags = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "tv"}
        return ffmpeg.output(
            *(inputs[0].video, *(source["a:0"] for source in inputs[1:])),
            file_url(beside),
            format="mp4",
            vf=chain,
            vcodec="libx264",
            movflags="+faststart",
            map_metadata=-1,
            map_chapters=-1,
            **self._options,
            **tags,
            **sound,
            **{f"metadata:g:{index}": f"{name}={text}" for index, (name, text) in enumerate(self._metadata.items())},
        )


def _square(max_size: int | None = None) -> str:
    """The filter that makes pixels square, and the longer side `max_size` where it is longer."""
    shrink = f"*min(1,{max_size}/max(iw*sar,ih))" if max_size else ""
    return f"scale=w='max(1,round(iw*sar{shrink}))':h='max(1,round(ih{shrink}))':flags={READ_SCALER},setsar=1"


def _skim(skimmer: FFmpegProcess) -> tuple[dict[str, str], dict[int, int], dict[int, int]]:
    """Read framecrc's lines: its headers, and for each stream how many packets it has and at which tick they end."""
    headers: dict[str, str] = {}
    packets, ends = {0: 0}, {0: 0}
    for line in skimmer.stdout:
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
    """One picture off the pipe, None at its end. PPM says its own size, in lines: P6, width height, 255."""
    size = decoder.stdout.readline() and decoder.stdout.readline().split()
    if not size or not decoder.stdout.readline():
        return None
    width, height = map(int, size)
    frame = np.empty((height, width, 3), np.uint8)
    return frame if decoder.stdout.readinto(frame.reshape(-1).data) == frame.nbytes else None


def _check_end(decoder: FFmpegProcess, source: Path, frames: int) -> None:
    failed = decoder.finish()
    if any(NO_STREAM in line for line in decoder.stderr_lines):
        raise TalkfaceError(f"{source.name} holds no picture, only sound.", "Give a video: mp4, mpg, mkv, mov, webm.")
    if failed or not frames:
        reason = decoder.reason() if failed else "it holds no frame that is whole"
        raise TalkfaceError(
            f"{source.name} cannot be decoded as video: {reason}.", "Play it to check that it is whole, or convert it."
        )


def _sound_options(audio: Path) -> dict[str, str | int]:
    """How the sound goes into the mp4: as it is where every player knows it, else as good AAC."""
    graph = ffmpeg.input(file_url(audio)).output("pipe:1", map="0:a:0", c="copy", frames=1, format="framecrc")
    with start(graph) as skimmer:
        headers, packets, _ = _skim(skimmer)
        if skimmer.finish() or not packets[0]:
            raise TalkfaceError(
                f"{audio.name} holds no sound that can be read: {skimmer.reason()}.",
                "Give a recording of speech: wav, mp3, m4a, flac, ogg, or a video.",
            )
    codec = headers.get("codec_id 0", "")
    if codec in COPIED_CODECS and (codec != "mp3" or int(headers["sample_rate 0"]) >= LOWEST_MP3_RATE):
        return {"acodec": "copy"}
    many = channel_count(headers.get("channel_layout_name 0", "")) > MOST_AAC_CHANNELS
    return {"acodec": "aac", "b:a": "192k"} | ({"ac": 2} if many else {})
