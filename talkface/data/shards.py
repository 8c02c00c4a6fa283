"""Shards on disk: tar files in the WebDataset format, each with an index that says where every clip lies.

    <data set>/shards/train-00003.tar     the clips of one shard; the members of a clip are adjacent
    <data set>/shards/train-00003.jsonl   one line for each source video: where its clip lies, or why it was skipped.
                                          It is renamed into place last: a shard without this file is not finished
    <data set>/index.jsonl                the lines of all kept clips, sorted: `open_dataset` reads this file
    <data set>/dataset.json               format, name, layout, counts, sound offset of each source

The format is plain tar (POSIX ustar/pax), so `webdataset`, `tar` and object stores can read it. It is written with
Python's tarfile module instead of webdataset's ShardWriter, because that one does not report the byte offsets, which
random access needs, and stores the time of day, while here the same clips always give the same bytes.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable
from contextlib import ExitStack
from io import SEEK_END
from pathlib import Path
from types import TracebackType
from typing import Any

from talkface.data.clip import Clip, pack
from talkface.errors import TalkfaceError
from talkface.files import atomic_write, make_folder, os_errors_as_user_errors, write_lines

FORMAT = 2  # 2 adds the sound of each clip; format 1 is still read
SHARDS = "shards"
INDEX = "index.jsonl"
DATASET = "dataset.json"


class ShardWriter:
    """Writes one shard and its index. Both files appear only if the `with` block ends without an exception.

    Args:
        root: folder of the data set.
        stem: name of the shard without suffix, for example "train-00003".

    Raises:
        TalkfaceError: the shard cannot be written there, for example because the disk is full.
    """

    def __init__(self, root: Path, stem: str) -> None:
        self.stem = stem
        folder = Path(root) / SHARDS
        make_folder(folder)
        self.tar_path, self.index_path = folder / f"{stem}.tar", folder / f"{stem}.jsonl"
        with os_errors_as_user_errors(self.tar_path):
            for stale in folder.glob(f".{stem}.*.part*"):
                stale.unlink(missing_ok=True)
        self._lines: list[dict[str, Any]] = []

    def __enter__(self) -> ShardWriter:
        with ExitStack() as stack:
            beside = stack.enter_context(atomic_write(self.tar_path))
            self._file = stack.enter_context(beside.open("wb"))
            self._tar = stack.enter_context(tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT))
            self._stack = stack.pop_all()
        return self

    def add(self, clip: Clip, **facts: Any) -> None:
        """Append a clip. `facts` are copied into its line of the index."""
        start, data = self._file.tell(), []
        for suffix, content in pack(clip):
            member = tarfile.TarInfo(f"{clip.name}.{suffix}")
            member.size = len(content)
            self._tar.addfile(member)
            data.append([self._file.tell() - start, len(content)])
            self._file.write(content)
            self._file.write(b"\0" * (-len(content) % tarfile.BLOCKSIZE))
            self._tar.offset = self._file.tell()
        where = {
            "shard": f"{SHARDS}/{self.stem}.tar",
            "offset": start,
            "data": data,
            "frames": len(clip),
            "sound": bool(clip.sound),
        }
        about = {"name": clip.name, "split": clip.split, "speaker": clip.speaker, "source": clip.source}
        self._lines.append({**about, **facts, **where})

    def skip(self, **facts: Any) -> None:
        """Record a source video that gave no clip: `facts` become a line of the index."""
        self._lines.append(facts)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if kind is None:
            write_lines(self.index_path, self._lines)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def shard_indexes(root: Path) -> list[Path]:
    """The index files of all finished shards of a data set, sorted."""
    return sorted(path for path in (Path(root) / SHARDS).glob("*.jsonl") if not path.name.startswith("."))


def read_some_members(root: Path, line: dict[str, Any], members: Iterable[int]) -> list[bytes]:
    """The contents of some of a clip's members, one seek and one read each.

    Args:
        root: folder of the data set.
        line: the clip's line of the index.
        members: their positions among the clip's members, in the order of `talkface.data.clip.pack`.

    Raises:
        TalkfaceError: the shard is shorter than its index says.
    """
    found = []
    with (root / line["shard"]).open("rb") as file:
        for member in members:
            start, size = line["data"][member]
            file.seek(line["offset"] + start)
            found.append(file.read(size))
            if len(found[-1]) < size:
                raise _cut_shard(root, line, file.seek(0, SEEK_END))
    return found


def read_members(root: Path, line: dict[str, Any]) -> list[bytes]:
    """The contents of a clip's members, with one seek and one read.

    Args:
        root: folder of the data set.
        line: the clip's line of the index.

    Raises:
        TalkfaceError: the shard is shorter than its index says.
    """
    end = sum(line["data"][-1])
    with (root / line["shard"]).open("rb") as file:
        file.seek(line["offset"])
        block = file.read(end)
    if len(block) < end:
        raise _cut_shard(root, line, line["offset"] + len(block))
    return [block[offset : offset + size] for offset, size in line["data"]]


def _cut_shard(root: Path, line: dict[str, Any], size: int) -> TalkfaceError:
    return TalkfaceError(
        f"{root / line['shard']} ends at byte {size}, inside clip {line['name']}.",
        "Copy the data set again, or delete the shard and its .jsonl file and run talkface preprocess again.",
    )
