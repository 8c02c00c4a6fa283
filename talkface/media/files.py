"""Which files may be read, and how every file is written: beside its place first, then moved there whole."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from talkface.errors import TalkfaceError


def existing_file(path: str | Path, wanted: str) -> Path:
    """`path` as an absolute path of something that can be opened and is not empty.

    Args:
        path: any name: spaces, quotes, a leading dash, non-ASCII letters.
        wanted: what should be there, for the message ("a recording", "a photo").

    Raises:
        TalkfaceError: nothing is there, or a folder, or an empty file, or one that may not be read.
    """
    path = Path(path)
    absolute = path.absolute()
    if absolute.is_dir():
        raise TalkfaceError(f"{path} is a folder, not {wanted}.", f"Give {wanted} inside it.")
    if not absolute.exists():
        raise TalkfaceError(f"There is no file {path}.", f"Check the name; it is looked for in {absolute.parent}.")
    if not os.access(absolute, os.R_OK):
        raise TalkfaceError(f"{path} may not be read.", "Change its permissions, or copy it to where you may read it.")
    if absolute.is_file() and absolute.stat().st_size == 0:
        raise TalkfaceError(f"{path} is empty (0 bytes), not {wanted}.", "Copy or download it again.")
    return absolute


@contextmanager
def replacing(target: str | Path) -> Iterator[Path]:
    """A new file beside `target` that takes its place when the block ends, and vanishes when the block fails.

    Whoever looks at `target` sees the old file or the whole new one, never a part; Ctrl-C leaves nothing behind.

    Raises:
        TalkfaceError: the folder is missing or may not be written, or `target` is a folder.
    """
    target = Path(target).absolute()
    if target.is_dir():
        raise TalkfaceError(f"{target} is a folder; the result needs a file name.", f"Name a file inside {target}.")
    beside = target.parent / f".talkface-{uuid.uuid4().hex[:12]}{target.suffix}"
    try:
        # Touched first, so that a folder which may not be written is found out before any work is done.
        beside.touch(exist_ok=False)
        yield beside
        beside.replace(target)
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)) != beside:
            raise
        reason = error.strerror or str(error)
        raise TalkfaceError(
            f"{target} cannot be written: {reason}.", "Choose a folder that exists, may be written and has space."
        ) from error
    finally:
        beside.unlink(missing_ok=True)
