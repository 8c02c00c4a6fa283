"""Temporary files that a process leaves behind: removed when it ends, or by a later run if it was killed.

A process holds a lock on each of its temporary files. After SIGKILL or a crash the lock is gone, which tells a later
run on the same machine that nobody needs the file. Names contain a tag of the machine, because locks are not always
visible from other machines that share the folder.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import platform
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from talkface.signals import held_back

try:
    import fcntl
except ImportError:  # Windows: leftovers of killed processes stay
    fcntl = None  # type: ignore[assignment]

_held: dict[Path, int] = {}  # the temporary files of this process, and the descriptors with their locks
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_held.clear)  # a forked process must not delete the files of its parent


def unique_tag() -> str:
    """Return twelve hexadecimal digits for the name of a temporary file: four of the machine, and random ones."""
    return _machine() + uuid.uuid4().hex[:8]


def create_held(path: Path, folder: bool = False) -> None:
    """Create a temporary file or folder and lock it. `release` deletes it; so does the end of this process.

    Raises:
        OSError: it cannot be created.
    """
    with held_back():
        if folder:
            path.mkdir(mode=0o700)
        else:
            path.touch(exist_ok=False)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:  # too many open files
            _remove(path)
            raise
        _held[path] = descriptor
        if fcntl is not None:
            with suppress(OSError):  # this file system has no locks; then nobody removes the file either
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def release(path: Path) -> None:
    """Delete what `create_held` has created, if it still exists, and its lock. Without that, do nothing."""
    if path in _held:
        with held_back():
            _remove(path)
            os.close(_held.pop(path))


def remove_abandoned(folder: Path, prefix: str, suffix: str = "") -> None:
    """Delete the temporary files in `folder` whose processes have ended without deleting them.

    Args:
        folder: the folder; its subfolders are not searched.
        prefix: of their names, before the tag.
        suffix: of their names, after the tag.
    """
    if fcntl is None:
        return
    with suppress(OSError), os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.startswith(prefix + _machine()) and e.name.endswith(suffix)]
        for path in (Path(folder, name) for name in names if len(name) == len(prefix) + 12 + len(suffix)):
            if path not in _held and _is_abandoned(path):
                _remove(path)


def _is_abandoned(path: Path) -> bool:
    """Tell whether no process has a lock on the file."""
    assert fcntl is not None
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            path.unlink()


def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:4]


@atexit.register
def _release_all() -> None:
    """Delete what an exception at an unlucky moment has left."""
    for path in list(_held):
        with suppress(OSError):
            release(path)
