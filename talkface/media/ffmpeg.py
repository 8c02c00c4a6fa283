"""Runs ffmpeg: which executable, how files are named to it, and why it failed."""

from __future__ import annotations

import atexit
import errno
import functools
import os
import re
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import ffmpeg

from talkface.errors import TalkfaceError
from talkface.signals import held_back

NO_STREAM = "matches no streams"  # ffmpeg's message if a file has no stream of the requested kind
ERROR_LEVEL = "[error] "  # how ffmpeg marks errors with -loglevel level
PIPE_BYTES = 1 << 20
KEPT_LINES = 400  # of stderr: so many from its start, and so many from its end
DISK_ERRORS = [
    os.strerror(code)
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO, errno.ENAMETOOLONG)
]
# Prefixes of lines that follow every failure and do not tell its cause.
GENERIC = re.compile(
    r"(Error opening (in|out)put( files?)?|Error while opening (de|en)coder|Task finished with error code: -?\d+"
    r"|Terminating|Conversion failed|Nothing was written|Could not open encoder|Error reinitializing filters"
    r"|Failed to inject frame)\b[!:]?\s*|file:.*:\s+"
)


@functools.cache
def ffmpeg_exe() -> str:
    """Return the path of ffmpeg: $IMAGEIO_FFMPEG_EXE, else the binary of imageio-ffmpeg, else the one on PATH.

    The pinned binary comes before PATH because versions of ffmpeg decode the same file slightly differently, which
    changes metrics in the third digit.

    Raises:
        TalkfaceError: $IMAGEIO_FFMPEG_EXE is not an executable file, or there is no ffmpeg at all.
    """
    chosen = os.environ.get("IMAGEIO_FFMPEG_EXE")
    if chosen:
        executable = shutil.which(chosen)
        if executable is None:
            raise TalkfaceError(
                f"IMAGEIO_FFMPEG_EXE is set to {chosen}, which is not an executable file.",
                "Set it to the path of an ffmpeg executable, or unset it to use the bundled one.",
            )
        return executable
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        installed = shutil.which("ffmpeg")
        if installed:
            return installed
        raise TalkfaceError(
            f"No ffmpeg found: imageio-ffmpeg has none for this machine ({error}), and there is none on PATH.",
            "Install ffmpeg (apt install ffmpeg, brew install ffmpeg) or run pip install imageio-ffmpeg.",
        ) from error


def file_url(path: str | Path) -> str:
    """Return `path` in a form that ffmpeg takes literally, even if it begins with a dash or contains a colon."""
    return f"file:{Path(path).absolute()}"


def start(
    graph: Any, *, write_stdin: bool = False, read_stdout: bool = True, on_error: Callable[[], None] | None = None
) -> FFmpegProcess:
    """Start the ffmpeg command that an ffmpeg-python graph describes.

    Args:
        graph: the output node of ffmpeg-python.
        write_stdin: whether this process writes ffmpeg's stdin.
        read_stdout: whether this process reads ffmpeg's stdout.
        on_error: called from another thread for every message of level error that ffmpeg writes.
    """
    # With "level" each line is marked with its level, and with "repeat" equal messages are not merged into one line.
    options = ["-hide_banner", "-nostdin", "-nostats", *(["-loglevel", "repeat+level+info"] if on_error else [])]
    command = ffmpeg.compile(graph, cmd=[ffmpeg_exe(), *options], overwrite_output=True)
    return FFmpegProcess(command, write_stdin, read_stdout, on_error)


class FFmpegProcess:
    """A running ffmpeg. As a context manager it kills ffmpeg at the end of its block.

    Raises:
        TalkfaceError: the command cannot be started.
    """

    def __init__(
        self,
        command: list[str],
        write_stdin: bool = False,
        read_stdout: bool = True,
        on_error: Callable[[], None] | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        try:
            with held_back():
                # In a session of its own ffmpeg does not receive Ctrl-C, so that this process can clean up after it.
                self._process = subprocess.Popen(
                    command,
                    stdin=pipe if write_stdin else nothing,
                    stdout=pipe if read_stdout else nothing,
                    stderr=pipe,
                    start_new_session=True,
                    pass_fds=pass_fds,
                )
                _running.add(self._process)
        except OSError as error:
            raise TalkfaceError(
                f"{command[0]} does not start: {error.strerror}.", "Reinstall ffmpeg or imageio-ffmpeg."
            ) from error
        _enlarge_pipe(self._process.stdin or self._process.stdout)
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=KEPT_LINES)
        self._on_error = on_error
        # ffmpeg blocks when its stderr is not read; for a broken recording it writes a line per packet.
        self._stderr_reader = threading.Thread(target=self._read_stderr, args=(self._process.stderr,), daemon=True)
        self._stderr_reader.start()

    @property
    def stdin(self) -> IO[bytes]:
        """ffmpeg's standard input; only with `write_stdin`."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> BufferedReader:
        """ffmpeg's standard output; only with `read_stdout`."""
        assert isinstance(self._process.stdout, BufferedReader)
        return self._process.stdout

    @property
    def stderr_lines(self) -> list[str]:
        """The lines written to stderr so far: the first and the last KEPT_LINES of them."""
        return [*self._first, *self._last]

    def _read_stderr(self, stderr: IO[bytes]) -> None:
        with stderr:
            for line in stderr:
                text = line.decode("utf-8", "replace").rstrip()
                if self._on_error and ERROR_LEVEL in text:
                    self._on_error()
                (self._first if len(self._first) < KEPT_LINES else self._last).append(text)

    def finish(self) -> int:
        """Close stdin, which tells ffmpeg that its input is complete, wait for the end and return the exit status."""
        if self._process.stdin is not None:
            with suppress(OSError):  # ffmpeg ended before it had read everything; its exit status tells why
                self._process.stdin.close()
        status = self._process.wait()
        self._stderr_reader.join()
        return status

    def kill(self) -> None:
        """End ffmpeg at once."""
        self._process.kill()

    def reason(self) -> str:
        """Return why ffmpeg failed, in its own words."""
        status = self._process.returncode
        if status is not None and status < 0:
            name = signal.Signals(-status).name
            return os.strerror(errno.EFBIG) if name == "SIGXFSZ" else f"ffmpeg was ended by {name}"
        return failure_reason(self.stderr_lines) or f"ffmpeg ended with status {status} and no message"

    def __enter__(self) -> FFmpegProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        _running.discard(self._process)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):  # buffered bytes that the killed process can no longer read
                    stream.close()
        self._stderr_reader.join()


_running: set[subprocess.Popen[bytes]] = set()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_running.clear)  # they belong to the parent


@atexit.register
def _kill_all() -> None:
    """Kill what an exception at an unlucky moment has left, before the files are deleted that it writes."""
    for process in list(_running):
        process.kill()
        process.wait()


def channel_count(layout: str) -> int:
    """Return the number of channels of a layout, at least one.

    Args:
        layout: in ffmpeg's notation, such as mono, stereo, 5.1(side), 9 channels or ambisonic 1.
    """
    if order := re.match(r"ambisonic (\d+)", layout):
        return (int(order[1]) + 1) ** 2
    names = {"mono": 1, "stereo": 2, "downmix": 2, "quad": 4, "hexagonal": 6, "octagonal": 8, "hexadecagonal": 16}
    word = layout.split("(")[0].strip().split(" ")[0]
    return names.get(word) or sum(int(digits) for digits in re.findall(r"\d+", word)) or 1


def _enlarge_pipe(pipe: IO[bytes] | None) -> None:
    """Let a pipe hold about a frame instead of 64 KiB, if the system allows it: this gives a fifth more frames/s."""
    try:
        from fcntl import F_SETPIPE_SZ, fcntl
    except ImportError:  # not Linux
        return
    with suppress(OSError):  # the size is above this user's limit
        if pipe is not None:
            fcntl(pipe, F_SETPIPE_SZ, PIPE_BYTES)


def is_disk_error(reason: str) -> bool:
    """Tell whether a failure's reason is one of the system's errors about writing files."""
    return reason in DISK_ERRORS


def failure_reason(stderr_lines: list[str]) -> str:
    """Return the most informative line of ffmpeg's stderr: an error of the disk, else its last specific complaint."""
    lines = [re.sub(r"^(\[[^\]]*\] ?)+", "", line).strip() for line in stderr_lines]
    for words in DISK_ERRORS:
        if any(words in line for line in lines):
            return words
    complaints = [line for line in lines if re.search(r"invalid|error|\bnot?\b|fail|unknown|unsupported", line, re.I)]
    specific = [line for line in complaints if not GENERIC.match(line)]
    return GENERIC.sub("", (specific or complaints or lines or [""])[-1]).rstrip(".")
