"""Running ffmpeg: which one, how files are named to it, and what it says when it fails."""

from __future__ import annotations

import errno
import functools
import os
import re
import shutil
import signal
import subprocess
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import ffmpeg

from talkface.errors import TalkfaceError

NO_STREAM = "matches no streams"  # ffmpeg's words where a file holds no sound, or no picture
PIPE_BYTES = 1 << 20
KEPT_LINES = 400  # of what ffmpeg says at its start, and again at its end
DISK_REFUSES = [
    os.strerror(code)
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO, errno.ENAMETOOLONG)
]
# How the lines begin that follow every failure and tell nothing new.
GENERIC = re.compile(
    r"(Error opening (in|out)put( files?)?|Error while opening (de|en)coder|Task finished with error code: -?\d+"
    r"|Terminating|Conversion failed|Nothing was written|Could not open encoder|Error reinitializing filters"
    r"|Failed to inject frame)\b[!:]?\s*|file:.*:\s+"
)


@functools.cache
def ffmpeg_exe() -> str:
    """The path of ffmpeg: the one on PATH, or else the one that the imageio-ffmpeg package brings along.

    Raises:
        TalkfaceError: there is neither.
    """
    installed = shutil.which("ffmpeg")
    if installed:
        return installed
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise TalkfaceError(
            f"No ffmpeg found: none on PATH, and imageio-ffmpeg brings none for this machine ({error}).",
            "Install ffmpeg (apt install ffmpeg, brew install ffmpeg) or run pip install imageio-ffmpeg.",
        ) from error


def file_url(path: str | Path) -> str:
    """`path` as ffmpeg takes it literally: a leading dash is no option, a colon no protocol."""
    return f"file:{Path(path).absolute()}"


def start(graph: Any, *, write_stdin: bool = False, read_stdout: bool = True) -> FFmpegProcess:
    """Start the ffmpeg command that an ffmpeg-python `graph` describes.

    Args:
        graph: the output node of ffmpeg-python.
        write_stdin: whether this process writes ffmpeg's stdin.
        read_stdout: whether this process reads ffmpeg's stdout.
    """
    command = ffmpeg.compile(graph, cmd=[ffmpeg_exe(), "-hide_banner", "-nostdin", "-nostats"], overwrite_output=True)
    return FFmpegProcess(command, write_stdin, read_stdout)


class FFmpegProcess:
    """An ffmpeg at work. As a context manager it never outlives its block.

    Attributes:
        stdin, stdout: the pipes, where asked for.
        said: what it has said so far, line by line (the first and the last KEPT_LINES).
    """

    def __init__(self, command: list[str], write_stdin: bool, read_stdout: bool) -> None:
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        try:
            # In a session of its own: Ctrl-C reaches us alone, and we decide what becomes of the half-written file.
            self._process = subprocess.Popen(
                command,
                stdin=pipe if write_stdin else nothing,
                stdout=pipe if read_stdout else nothing,
                stderr=pipe,
                start_new_session=True,
            )
        except OSError as error:
            raise TalkfaceError(
                f"{command[0]} does not start: {error.strerror}.", "Reinstall ffmpeg or imageio-ffmpeg."
            ) from error
        self.stdin: IO[bytes] | None = self._process.stdin
        self.stdout: IO[bytes] | None = self._process.stdout
        _widen(self.stdin or self.stdout)
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=KEPT_LINES)
        # ffmpeg stands still when nobody reads what it says; a broken recording makes it say a line per packet.
        self._listener = threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True)
        self._listener.start()

    def _listen(self, stderr: IO[bytes]) -> None:
        with stderr:
            for line in stderr:
                text = line.decode("utf-8", "replace").rstrip()
                (self._first if len(self._first) < KEPT_LINES else self._last).append(text)

    @property
    def stderr_lines(self) -> list[str]:
        return [*self._first, *self._last]

    def finish(self) -> int:
        """Wait for the end; the exit status. Closes stdin, so that ffmpeg knows that no more comes."""
        if self.stdin is not None:
            with suppress(OSError):  # it died before it had read everything: the exit status tells
                self.stdin.close()
        status = self._process.wait()
        self._listener.join()
        return status

    def reason(self) -> str:
        """Why it failed, in its own words."""
        status = self._process.returncode
        if status is not None and status < 0:
            return f"ffmpeg was ended by {signal.Signals(-status).name}"
        return failure_reason(self.stderr_lines) or f"ffmpeg ended with status {status} and no message"

    def __enter__(self) -> FFmpegProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._process.kill()
        self._process.wait()
        for stream in (self.stdin, self.stdout):
            if stream is not None:
                with suppress(OSError):  # bytes that were still to go to the ffmpeg that is no more
                    stream.close()
        self._listener.join()


def channel_count(layout: str) -> int:
    """The channels of a layout as ffmpeg names it: mono, stereo, 5.1(side), 9 channels. At least one."""
    names = {"mono": 1, "stereo": 2, "downmix": 2, "quad": 4, "hexagonal": 6, "octagonal": 8, "hexadecagonal": 16}
    word = layout.split("(")[0].strip().split(" ")[0]
    return names.get(word) or sum(int(digits) for digits in re.findall(r"\d+", word)) or 1


def _widen(pipe: IO[bytes] | None) -> None:
    """Let a pipe hold a frame or so instead of 64 KiB, where the system can: a fifth more frames a second."""
    try:
        from fcntl import F_SETPIPE_SZ, fcntl
    except ImportError:  # not Linux
        return
    with suppress(OSError):  # more than this user may have
        if pipe is not None:
            fcntl(pipe, F_SETPIPE_SZ, PIPE_BYTES)


def failure_reason(stderr_lines: list[str]) -> str:
    """The most telling of what ffmpeg said: what the disk refuses, or else its last complaint that is not generic."""
    lines = [re.sub(r"^(\[[^\]]*\] ?)+", "", line).strip() for line in stderr_lines]
    for words in DISK_REFUSES:
        if any(words in line for line in lines):
            return words
    complaints = [line for line in lines if re.search(r"invalid|error|\bnot?\b|fail|unknown|unsupported", line, re.I)]
    telling = [line for line in complaints if not GENERIC.match(line)]
    return GENERIC.sub("", (telling or complaints or lines or [""])[-1]).rstrip(".")
