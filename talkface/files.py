"""Checks of input and output files, and atomic writing: a new file is written beside its target and then renamed."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import re
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, TimeoutError  # builtins.TimeoutError only since Python 3.11
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from talkface.errors import TalkfaceError
from talkface.leftovers import create_held, release, remove_abandoned, unique_tag

BLOCK = 1 << 20  # bytes read at a time
TEMPORARY = "talkface-"  # start of the names of temporary folders
FIRST_WRITER = 30.0  # seconds in which some program must open a named pipe for writing
STDIN_NAMES = ("-", "/dev/stdin")
OPEN_FILES = (Path("/dev/fd"), Path("/proc/self/fd"))
# Also as pathlib writes a URL, with one slash.
URL = re.compile(r"(?P<scheme>https?|ftps?|sftp|rtsp|rtmp|s3|gs):/+(?P<rest>.*)", re.IGNORECASE)


def require_file(path: str | Path, wanted: str) -> Path:
    """Check that `path` is a file that can be opened repeatedly and is not empty, and return it as an absolute path.

    Args:
        path: any name: spaces, quotes, a leading dash, non-ASCII letters.
        wanted: what the file should be, for the message ("a recording", "a photo").

    Raises:
        TalkfaceError: there is no such file, it is a folder, a pipe, a device or empty, or it may not be read.
    """
    path = Path(path)
    absolute = path.absolute()
    try:
        status = absolute.stat()
    except FileNotFoundError as error:
        if url := URL.match(str(path)):
            raise TalkfaceError(
                f"{url['scheme']}://{url['rest']} is a URL, not {wanted}.", "Download the file and give its name."
            ) from error
        raise TalkfaceError(
            f"There is no file {path}.", f"Check the name; it is looked for in {absolute.parent}."
        ) from error
    except (OSError, ValueError) as error:  # the name is too long or has a null character, the folder is not accessible
        raise TalkfaceError(f"{path} cannot be opened: {_reason(error)}.", "Check the name.") from error
    if stat.S_ISDIR(status.st_mode):
        raise TalkfaceError(f"{path} is a folder, not {wanted}.", f"Give {wanted} inside it.")
    if not stat.S_ISREG(status.st_mode):
        kind = "a pipe, which can be read only once" if stat.S_ISFIFO(status.st_mode) else "a device"
        raise TalkfaceError(f"{path} is {kind}.", f"Save {wanted} in a file and give its name.")
    if not os.access(absolute, os.R_OK):
        raise TalkfaceError(f"{path} may not be read.", "Change its permissions, or copy it to where you may read it.")
    if status.st_size == 0:
        raise TalkfaceError(f"{path} is empty (0 bytes), not {wanted}.", "Copy or download it again.")
    return absolute


@contextmanager
def repeatable(path: str | Path, wanted: str) -> Iterator[Path]:
    """Give a path whose content can be read repeatedly: a pipe is copied to a temporary file, which is deleted after.

    Args:
        path: a file; a pipe such as /dev/fd/63 (process substitution); "-" or /dev/stdin for standard input.
        wanted: what the file should be, for the message.

    Raises:
        TalkfaceError: nothing comes out of the pipe, standard input is a terminal, or the copy cannot be written.
    """
    path = Path(path)
    if not _is_stream(path):
        yield path
        return
    with _temporary_folder() as folder:
        copy = folder / ("standard-input" if str(path) in STDIN_NAMES else path.name)
        with _open_stream(path, wanted) as stream, os_errors_as_user_errors(copy), copy.open("wb") as file:
            shutil.copyfileobj(stream, file, BLOCK)
        if not copy.stat().st_size:
            raise TalkfaceError(f"{path} is empty (0 bytes), not {wanted}.", "Check the command that writes it.")
        yield copy


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Give a new folder that is deleted with its content; if this process is killed, a later one deletes it."""
    parent = Path(tempfile.gettempdir())
    folder = parent / f"{TEMPORARY}{unique_tag()}"
    try:
        with os_errors_as_user_errors(folder):
            remove_abandoned(parent, TEMPORARY)
            create_held(folder, folder=True)
        yield folder
    finally:
        release(folder)


def _is_stream(path: Path) -> bool:
    """Tell whether a path can be read only once, or only by this process: names of its open files."""
    if str(path) in STDIN_NAMES or path.parent in OPEN_FILES:
        return True
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except (OSError, ValueError):
        return False


@contextmanager
def _open_stream(path: Path, wanted: str) -> Iterator[BinaryIO]:
    try:
        # Descriptor 0 is duplicated: on some systems /dev/stdin cannot be opened, and closing must not close stdin.
        stream = os.fdopen(os.dup(0), "rb") if str(path) in STDIN_NAMES else _open_pipe(path, wanted)
    except OSError as error:
        raise TalkfaceError(f"{path} cannot be opened: {_reason(error)}.", f"Give {wanted} as a file.") from error
    with stream:
        if stat.S_ISCHR(os.fstat(stream.fileno()).st_mode):
            kind = "a terminal" if stream.isatty() else "a device"
            raise TalkfaceError(f"{path} is {kind}, not {wanted}.", f"Give {wanted} as a file, or pipe it in.")
        yield stream


def _open_pipe(path: Path, wanted: str) -> BinaryIO:
    """Open a pipe for reading. A named one that no program writes to would block for ever.

    Raises:
        TalkfaceError: no program has opened it for writing within FIRST_WRITER seconds.
    """
    opened: Future[BinaryIO] = Future()

    def wait_for_writer() -> None:
        try:
            opened.set_result(path.open("rb"))
        except OSError as error:
            opened.set_exception(error)

    threading.Thread(target=wait_for_writer, daemon=True).start()
    try:
        return opened.result(FIRST_WRITER)
    except TimeoutError as error:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # as a writer of nothing, which ends the thread's waiting
        opened.result().close()
        raise TalkfaceError(
            f"{path} is a pipe that no program has written to for {FIRST_WRITER:.0f} seconds.",
            f"Start the program that writes it first, or give {wanted} as a file.",
        ) from error


def is_folder(flag: str, path: Path) -> bool:
    """Tell whether `path` is a folder.

    Args:
        flag: the option that `path` was given with, for the message.

    Raises:
        TalkfaceError: the system cannot tell, for example because the name is too long.
    """
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise TalkfaceError(f"{flag} {path}: {_reason(error)}.", f"Give another name with {flag}.") from error


def check_writable_file(flag: str, path: Path) -> None:
    """Check, before any work is done, that a file can be written at `path`.

    Args:
        flag: the option that `path` was given with, for the message.

    Raises:
        TalkfaceError: `path` is a folder, or its folder does not exist or may not be written to.
    """
    folder = path.parent
    if not is_folder(flag, folder):
        kind = "is not a folder" if folder.exists() else "does not exist"
        raise TalkfaceError(f"{flag} {path}: {folder} {kind}.", "Create the folder, or name another.")
    if is_folder(flag, path):
        raise TalkfaceError(f"{flag} {path} is a folder.", "Name a file in it.")
    _check_writable(flag, path, folder)


def check_writable_folder(flag: str, path: Path) -> None:
    """Check, before any work is done, that `path` is a folder that may be written to, or that it can be created.

    Args:
        flag: the option that `path` was given with, for the message.

    Raises:
        TalkfaceError: neither is possible.
    """
    is_folder(flag, path)  # for names that are not possible
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not is_folder(flag, existing):
        raise TalkfaceError(f"{flag} {path}: {existing} is not a folder.", f"Name another folder with {flag}.")
    _check_writable(flag, path, existing)


def _check_writable(flag: str, path: Path, folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise TalkfaceError(
            f"{flag} {path}: cannot write to the folder {folder.resolve()} ({_reason(error).lower()}).",
            f"Name another folder with {flag}, or change the folder's permissions.",
        ) from error


def check_output_files(outputs: Mapping[str, Path], inputs: Iterable[str | Path]) -> None:
    """Check, before any work is done, that output files can be written and overwrite neither inputs nor each other.

    Args:
        outputs: for each flag the file that was given with it.
        inputs: the files that are read.

    Raises:
        TalkfaceError: an output is an input, two outputs are the same file, or an output cannot be written.
    """
    for flag, path in outputs.items():
        for given in inputs:
            if same_file(path, Path(given)):
                raise TalkfaceError(f"{flag} {path} is the input {given}.", f"Give another name with {flag}.")
        check_writable_file(flag, path)
    for (flag, path), (other_flag, other) in itertools.combinations(outputs.items(), 2):
        if same_file(path, other):
            raise TalkfaceError(
                f"{other_flag} {other} is the same file as {flag} {path}.", f"Give another name with {other_flag}."
            )


def same_file(one: Path, other: Path) -> bool:
    """Tell whether two paths name the same file, which need not exist."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return one.resolve() == other.resolve()


@contextmanager
def atomic_write(target: str | Path) -> Iterator[Path]:
    """Give a new file beside `target` that replaces it when the block ends, and is deleted if the block fails.

    At any time `target` is the old file or the complete new one, never a part. Ctrl-C leaves no new file behind. A
    power failure or SIGKILL leaves the old file, and the unfinished one until the same target is written again.

    Raises:
        TalkfaceError: the folder does not exist or may not be written to, `target` is a folder, or the disk refuses
            what the block writes. Errors about other files pass through.
    """
    target = Path(target).absolute()
    prefix, suffix = f".{target.stem[:40]}.", f".part{target.suffix}"
    beside = target.parent / f"{prefix}{unique_tag()}{suffix}"
    try:
        with os_errors_as_user_errors(target):
            if target.is_dir():
                raise TalkfaceError(
                    f"{target} is a folder; the result needs a file name.", f"Name a file inside {target}."
                )
            remove_abandoned(target.parent, prefix, suffix)
            # The file is created first, so that a folder that may not be written to is an error before any work.
            create_held(beside)
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(target)
    except OSError as error:
        named = {str(name) for name in (error.filename, error.filename2) if name is not None}
        if named and str(beside) not in named:
            raise
        raise write_error(target, error) from error
    finally:
        release(beside)


def write_bytes(path: str | Path, data: bytes | memoryview) -> None:
    """Write a whole file atomically.

    Raises:
        TalkfaceError: the file cannot be written there, for example because the disk is full.
    """
    with atomic_write(path) as beside:
        beside.write_bytes(data)


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write one JSON object atomically: UTF-8, indented by 2, keys in the order of `content`.

    Raises:
        TalkfaceError: as `write_bytes`.
    """
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def write_lines(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines atomically: one object per line, keys sorted.

    Raises:
        TalkfaceError: as `write_bytes`.
    """
    write_bytes(path, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows).encode())


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents, unless they exist.

    Raises:
        TalkfaceError: the folder cannot be created.
    """
    with os_errors_as_user_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def os_errors_as_user_errors(target: Path) -> Iterator[None]:
    """Turn the system's errors inside the block into a TalkfaceError about `target`."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise write_error(target, error) from error


def write_error(target: Path, error: Exception) -> TalkfaceError:
    """Return the error to raise if `error` prevents `target` from being written."""
    return TalkfaceError(
        f"{target} cannot be written: {_reason(error)}.",
        "Choose a folder that exists, may be written to and has space. Files that were written before are complete.",
    )


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def known_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; computed again only if time or size of the file has changed."""
    status = path.stat()
    return _sha256_at(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=256)
def _sha256_at(path: Path, time: int, size: int) -> str:
    return sha256(path)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
