"""Which files may be read, and how every file is written: beside its place first, then moved there whole."""

from __future__ import annotations

import hashlib
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from talkface.errors import TalkfaceError


def require_file(path: str | Path, wanted: str) -> Path:
    """`path` as an absolute path of something that can be opened and is not empty.

    Args:
        path: any name: spaces, quotes, a leading dash, non-ASCII letters.
        wanted: what should be there, for the message ("a recording", "a photo").

    Raises:
        TalkfaceError: nothing is there, or a folder, or an empty file, or one that may not be read.
    """
    path = Path(path)
    absolute = path.absolute()
    try:
        status = absolute.stat()
    except FileNotFoundError as error:
        raise TalkfaceError(
            f"There is no file {path}.", f"Check the name; it is looked for in {absolute.parent}."
        ) from error
    except (OSError, ValueError) as error:  # a name too long, a folder that may not be entered, a null character
        raise TalkfaceError(f"{path} cannot be opened: {_reason(error)}.", "Check the name.") from error
    if stat.S_ISDIR(status.st_mode):
        raise TalkfaceError(f"{path} is a folder, not {wanted}.", f"Give {wanted} inside it.")
    if not os.access(absolute, os.R_OK):
        raise TalkfaceError(f"{path} may not be read.", "Change its permissions, or copy it to where you may read it.")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise TalkfaceError(f"{path} is empty (0 bytes), not {wanted}.", "Copy or download it again.")
    return absolute


@contextmanager
def atomic_write(target: str | Path) -> Iterator[Path]:
    """A new file beside `target` that takes its place when the block ends, and vanishes when the block fails.

    Whoever looks at `target` sees the old file or the whole new one, never a part; Ctrl-C leaves nothing behind, and a
    power cut the old file.

    Raises:
        TalkfaceError: the folder is missing or may not be written, `target` is a folder, or the disk refuses what the
            block writes. What the system refuses of other files passes through.
    """
    target = Path(target).absolute()
    beside = target.parent / f".{target.stem[:40]}.{uuid.uuid4().hex[:12]}.part{target.suffix}"
    with os_errors_as_user_errors(target):
        if target.is_dir():
            raise TalkfaceError(f"{target} is a folder; the result needs a file name.", f"Name a file inside {target}.")
        # Touched first, so that a folder which may not be written is found out before any work is done.
        beside.touch(exist_ok=False)
    try:
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
        beside.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Makes `folder` and those that it lies in, where they are missing.

    Raises:
        TalkfaceError: it cannot be made there.
    """
    with os_errors_as_user_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def os_errors_as_user_errors(target: Path) -> Iterator[None]:
    """Inside the block, what the system refuses becomes a TalkfaceError about `target`."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise write_error(target, error) from error


def write_error(target: Path, error: Exception) -> TalkfaceError:
    """What to tell where `error` keeps `target` from being written."""
    return TalkfaceError(
        f"{target} cannot be written: {_reason(error)}.",
        "Choose a folder that exists, may be written and has space. What was written before is whole.",
    )


def sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
