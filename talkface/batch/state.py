"""What batches have written to a folder, in OUT_DIR/.talkface: so that a batch can be resumed and overwrites nothing.

    state.jsonl     one line for each complete video: its name, its hash, and the hash of what it was made from
    unfinished/     videos that are being written

A line is written before its video appears under its name. A video is therefore one of ours exactly if its hash is in
the state, wherever the batch was killed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from talkface._version import __version__
from talkface.batch.jobs import Job
from talkface.batch.options import NOT_OF_ONE_JOB
from talkface.config import weights_dir
from talkface.errors import TalkfaceError
from talkface.files import known_sha256, make_folder, os_errors_as_user_errors, require_file, sha256, write_error

FOLDER = ".talkface"


@dataclass(frozen=True)
class Record:
    """A complete video."""

    out: str
    """Its name, relative to the folder of the batch, with forward slashes."""
    sha256: str
    key: str
    """`job_key` of the job that made it."""
    frames: int
    seconds: float
    """Time that the job took."""
    notes: tuple[str, ...] = ()


def job_key(job: Job) -> str:
    """Return the hash of all that determines a video: the inputs, the options, the weights and the version.

    Args:
        job: the job.

    Raises:
        TalkfaceError: an input or the weights cannot be read.
    """

    def hash_of(path: Path, wanted: str) -> str:
        return known_sha256(require_file(path, wanted))

    options = {field.name: getattr(job.options, field.name) for field in fields(job.options)}
    own_weights = options.pop("weights")
    bundled = weights_dir() / "SHA256SUMS"
    facts = {
        "version": __version__,
        "photo": hash_of(job.photo, "a photo"),
        "speech": hash_of(job.speech, "a recording"),
        "bundled": hash_of(bundled, "a list of hashes") if bundled.is_file() else "",
        "weights": hash_of(Path(own_weights), "a weights file") if own_weights else "",
        "options": {name: str(value) for name, value in sorted(options.items()) if name not in NOT_OF_ONE_JOB},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class State:
    """The state of a folder; see `opened`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / FOLDER
        self._file = self.folder / "state.jsonl"
        self._records = {record.out: record for record in _read(self._file)}

    def record(self, out: Path) -> Record | None:
        """Return the record of a video, if it has one."""
        return self._records.get(out.as_posix())

    def is_complete(self, out: Path) -> bool:
        """Tell whether the video is there as it was written."""
        record, path = self.record(out), self.root / out
        return record is not None and path.is_file() and sha256(path) == record.sha256

    def new_part(self, out: Path) -> Path:
        """Return a name for a video that is being written."""
        return self.folder / "unfinished" / f"{uuid.uuid4().hex}{out.suffix}"

    def check_free(self, out: Path) -> None:
        """Check that a video can be written without overwriting a file that no batch has written.

        Raises:
            TalkfaceError: there is such a file.
        """
        if os.path.lexists(self.root / out) and not self.is_complete(out):
            changed = "it was changed after a batch had written it" if self.record(out) else "no batch has written it"
            raise TalkfaceError(
                f"{self.root / out} exists, and {changed}: it is kept.", "Move it away, or name another --out-dir."
            )

    def publish(self, part: Path, record: Record) -> None:
        """Give a complete video its name.

        Raises:
            TalkfaceError: meanwhile there is another file of that name, or the disk refuses.
        """
        out = self.root / record.out
        make_folder(out.parent)
        self.check_free(Path(record.out))
        with os_errors_as_user_errors(out):
            if not os.path.lexists(out):
                self._add(record)
                try:
                    os.link(part, out)  # unlike a rename, it fails if there is a file now
                    part.unlink()
                    return
                except FileExistsError:
                    self.check_free(Path(record.out))
                except OSError:  # a file system without links
                    pass
            else:
                self._add(record)
            part.replace(out)

    def _add(self, record: Record) -> None:
        line = json.dumps(dataclasses.asdict(record), ensure_ascii=False) + "\n"
        with self._file.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._records[record.out] = record


@contextmanager
def opened(root: Path) -> Iterator[State]:
    """Give the state of a folder, for which no other batch can open it meanwhile. What a killed batch left is deleted.

    Raises:
        TalkfaceError: another batch is writing to the folder, or the disk refuses.
    """
    folder = root / FOLDER
    make_folder(folder)
    with _locked(folder / "lock", root):
        unfinished = folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        make_folder(unfinished)
        try:
            yield State(root)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def _locked(path: Path, root: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, however it ends. Windows has no such lock in the standard library."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        file = path.open("w")
    except OSError as error:
        raise write_error(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TalkfaceError(
                f"Another batch is writing to {root}.", "Wait until it has ended, or name another --out-dir."
            ) from error
        except OSError:  # a file system without locks
            pass
        yield
        with suppress(OSError):
            path.unlink()


def _read(path: Path) -> Iterator[Record]:
    """Yield the records of a state file. The last line may be a part, if the batch was killed."""
    names = {field.name for field in fields(Record)}
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError, TypeError):
            values: dict[str, Any] = json.loads(line)
            if isinstance(values, dict):
                known = {name: value for name, value in values.items() if name in names}
                yield Record(**known | {"notes": tuple(known.get("notes", ()))})
