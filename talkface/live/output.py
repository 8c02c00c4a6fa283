"""Where live frames go: a fragmented mp4 with the sound, or raw frames, to a file that grows or to a pipe.

ffmpeg gets the frames through its standard input and the sound through a second pipe. The mp4 passes through this
process on its way to the target, so that a closed pipe is noticed and the time is known at which each frame has left.

A fragment holds one frame. ffmpeg closes it when the next frame comes, so that a frame leaves 1 / fps after it was
written.
"""

from __future__ import annotations

import os
import queue
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import ffmpeg
import numpy as np

from talkface._version import __version__
from talkface.errors import TalkfaceError
from talkface.files import write_error
from talkface.media.ffmpeg import FFmpegProcess, ffmpeg_exe
from talkface.media.mark import MARK, xmp_box
from talkface.media.pcm import SoundFormat
from talkface.media.video import WRITE_SCALER

STDOUT = "-"
VIDEO_TRACK = 1
AAC_RATE = 48_000  # Hz: at lower rates an AAC packet is longer, and the picture waits for it
AAC_BITS = "128k"
KEY_FRAME_SECONDS = 2  # a player that joins late waits so long at most


class OutputClosed(Exception):
    """The reader of the output has gone, as a player does that is closed: no reason to complain."""


class Target:
    """The file or the pipe that bytes go to. Bytes of the user's are never overwritten.

    Args:
        out: a new file, or "-" for standard output.

    Raises:
        TalkfaceError: the file exists or cannot be created, or standard output is a terminal.
    """

    def __init__(self, out: str | Path) -> None:
        self.out, self.is_file = Path(out), str(out) != STDOUT
        if not self.is_file:
            if sys.stdout.isatty():
                raise TalkfaceError(
                    "--out -: standard output is a terminal, which shows no video.",
                    "Pipe it into a player, as in ... -o - | ffplay -, or name a file with -o.",
                )
            self._file: BinaryIO = os.fdopen(os.dup(1), "wb")
            return
        try:
            self._file = self.out.open("xb")
        except FileExistsError as error:
            raise TalkfaceError(
                f"--out {out} exists, and a live video is written in place, so that it plays while it grows.",
                "Remove it, or give another name with -o.",
            ) from error
        except OSError as error:
            raise write_error(self.out, error) from error

    def write(self, data: bytes | memoryview) -> None:
        """Write at once.

        Raises:
            OutputClosed: nobody reads the pipe any more.
            TalkfaceError: the disk is full, for example.
        """
        try:
            self._file.write(data)
            self._file.flush()
        except BrokenPipeError as error:
            raise OutputClosed from error
        except OSError as error:
            raise write_error(self.out, error) from error

    def close(self) -> None:
        """Close the file or the pipe."""
        with suppress(OSError):
            self._file.close()

    def remove(self) -> None:
        """Delete the file that was created."""
        self.close()
        if self.is_file:
            self.out.unlink(missing_ok=True)


class RawVideo:
    """Raw frames, uint8 RGB (height, width, 3) one after another, without sound.

    Args:
        target: where they go.
        on_left: called with the number of each frame when it has been written.
    """

    def __init__(self, target: Target, on_left: Callable[[int], None]) -> None:
        self.target, self.frames, self.left, self._on_left = target, 0, 0, on_left

    def __enter__(self) -> RawVideo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.target.close()

    def write_sound(self, block: np.ndarray) -> None:
        """Raw frames carry no sound."""

    def write(self, frame: np.ndarray) -> None:
        """Add one frame."""
        self.target.write(np.ascontiguousarray(frame).data.cast("B"))
        self._on_left(self.frames)
        self.frames = self.left = self.frames + 1


class FragmentedVideo:
    """A fragmented mp4 with H.264 and AAC. The file plays while it grows, and what was written stays playable.

    Args:
        target: where it goes.
        width, height: of the frames, px, even.
        fps: frame k is shown at k / fps exactly.
        sound: the format of the sound.
        crf: x264's quality.
        mark: whether title and comment say that the video is synthetic.
        on_left: called from another thread with the number of each frame whose bytes have been written to the target.

    Raises:
        TalkfaceError: this system has no pipes that ffmpeg can inherit (Windows).
    """

    def __init__(
        self,
        target: Target,
        width: int,
        height: int,
        fps: Fraction,
        sound: SoundFormat,
        *,
        crf: int,
        mark: bool,
        on_left: Callable[[int], None],
    ) -> None:
        if os.name != "posix":
            raise TalkfaceError("A live mp4 needs Linux or macOS.", "Use --video-format rgb24, which has no sound.")
        self.target, self.frames, self._on_left = target, 0, on_left
        self.left = 0  # frames whose bytes have been written to the target
        self._size, self._fps, self._sound, self._crf = f"{width}x{height}", fps, sound, crf
        self._marks = {name: text.format(version=__version__) for name, text in MARK.items()} if mark else {}
        self._blocks: queue.Queue[bytes | None] = queue.Queue()
        self._problem: Exception | None = None
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._feed_sound, self._relay)]

    def __enter__(self) -> FragmentedVideo:
        ours = theirs = -1
        with ExitStack() as stack:
            stack.callback(self.target.close)
            theirs, ours = os.pipe()
            try:
                self._encoder = stack.enter_context(
                    FFmpegProcess(self._command(theirs), write_stdin=True, pass_fds=(theirs,))
                )
            except TalkfaceError:
                os.close(ours)
                raise
            finally:
                os.close(theirs)
            self._pipe = os.fdopen(ours, "wb")
            self._stack = stack.pop_all()
        for thread in self._threads:
            thread.start()
        return self

    def write_sound(self, block: np.ndarray) -> None:
        """Add sound, (samples, channels) in the format given. It may be ahead of the frames."""
        self._blocks.put(block.tobytes())

    def write(self, frame: np.ndarray) -> None:
        """Add one frame, uint8 RGB (height, width, 3).

        Raises:
            OutputClosed: nobody reads the output any more.
            TalkfaceError: the target cannot be written, or ffmpeg fails.
        """
        try:
            self._encoder.stdin.write(np.ascontiguousarray(frame).data)
            self._encoder.stdin.flush()
        except OSError as error:
            raise self._failure() from error
        self.frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            self._blocks.put(None)
            if kind is not None:
                self._encoder.kill()
            status = self._encoder.finish()
            for thread in self._threads:
                thread.join()
            if kind is None and (status or self._problem):
                raise self._failure()
            if kind is None and self._marks:
                with suppress(OutputClosed):
                    self.target.write(xmp_box())

    def _failure(self) -> Exception:
        """The reason for which the encoder's pipe broke."""
        self._encoder.finish()
        self._threads[1].join()
        return self._problem or TalkfaceError(
            f"{self.target.out} cannot be encoded: {self._encoder.reason()} (after {self.frames} frames).",
            "Try again.",
        )

    def _feed_sound(self) -> None:
        with suppress(OSError), self._pipe:  # if ffmpeg has ended, writing a frame tells why
            while (block := self._blocks.get()) is not None:
                self._pipe.write(block)
                self._pipe.flush()

    def _relay(self) -> None:
        """Pass the mp4 on, box by box, and count the frames in it."""
        try:
            while (box := _read_box(self._encoder.stdout)) is not None:
                kind, data, frames = box
                self.target.write(data)
                if kind == b"moof":
                    coming = frames
                elif kind == b"mdat":
                    for number in range(self.left, self.left + coming):
                        self._on_left(number)
                    self.left += coming
        except (OutputClosed, TalkfaceError) as error:
            self._problem = error
            self._encoder.kill()

    def _command(self, sound_pipe: int) -> list[str]:
        """The ffmpeg command: frames from standard input and sound from `sound_pipe` to an mp4 on standard output."""
        at_once = {"probesize": 32, "analyzeduration": 0}
        rate = f"{self._fps.numerator}/{self._fps.denominator}"
        frames = ffmpeg.input(
            "pipe:0", format="rawvideo", pix_fmt="rgb24", s=self._size, framerate=rate, thread_queue_size=4, **at_once
        )
        sound = ffmpeg.input(
            f"pipe:{sound_pipe}",
            format=self._sound.encoding,
            ar=self._sound.rate,
            ac=self._sound.channels,
            thread_queue_size=64,
            **at_once,
        )
        chain = (
            f"scale=out_color_matrix=bt709:out_range=limited:flags={WRITE_SCALER},format=yuv420p,"
            "setparams=range=limited:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
        )
        options: dict[str, Any] = {
            "vf": chain,
            "vcodec": "libx264",
            "preset": "veryfast",
            "tune": "zerolatency",
            "crf": self._crf,
            "g": max(1, round(KEY_FRAME_SECONDS * self._fps)),
            "colorspace": "bt709",
            "color_primaries": "bt709",
            "color_trc": "bt709",
            "color_range": "tv",
            "acodec": "aac",
            "b:a": AAC_BITS,
            "ar": max(AAC_RATE, min(self._sound.rate, 2 * AAC_RATE)),
            "format": "mp4",
            # The header waits for the first packets, so that it can say when the sound begins.
            "movflags": "+delay_moov+default_base_moof",
            # Not +frag_every_frame, with which ffmpeg writes wrong times of the packets of the other track.
            "frag_duration": int(1e6 / self._fps),
            "flush_packets": 1,
            "map_metadata": -1,
            **{f"metadata:g:{index}": f"{name}={text}" for index, (name, text) in enumerate(self._marks.items())},
        }
        graph = ffmpeg.output(frames.video, sound.audio, "pipe:1", **options)
        return ffmpeg.compile(graph, cmd=[ffmpeg_exe(), "-hide_banner", "-nostdin", "-nostats"], overwrite_output=True)


def _read_box(stream: BinaryIO) -> tuple[bytes, bytes, int] | None:
    """Read a box of an mp4: its type, its bytes, and how many frames a moof box announces; None at the end."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    size, kind = struct.unpack(">I4s", head)
    body = stream.read(size - 8)
    if len(body) < size - 8:
        return None
    return kind, head + body, _frames_in(body) if kind == b"moof" else 0


def _frames_in(moof: bytes) -> int:
    """How many frames of the video track a fragment holds."""
    frames = 0
    for _, track in _boxes(moof, b"traf"):
        number = next((struct.unpack(">I", body[4:8])[0] for _, body in _boxes(track, b"tfhd")), 0)
        if number == VIDEO_TRACK:
            frames += sum(struct.unpack(">I", body[4:8])[0] for _, body in _boxes(track, b"trun"))
    return frames


def _boxes(data: bytes, wanted: bytes) -> list[tuple[bytes, bytes]]:
    """The boxes of a type in the content of another box, each as type and content."""
    found, start = [], 0
    while start + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[start : start + 8])
        if kind == wanted:
            found.append((kind, data[start + 8 : start + size]))
        start += max(size, 8)
    return found
