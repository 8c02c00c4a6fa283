"""Shards on disk: WebDataset-style tar files, each with an index beside it that says where every clip lies.

    <data set>/shards/train-00003.tar     the clips of one unit of work, members of a clip side by side
    <data set>/shards/train-00003.jsonl   one line for each source video of the unit: where its clip lies, or why it was
                                          skipped. Its appearance commits the shard: it is renamed into place last
    <data set>/index.jsonl                the lines of all kept clips, sorted: what the reader reads
    <data set>/dataset.json               format, name, counts, sound offset

The format is plain tar (POSIX ustar/pax), so `webdataset`, `tar` and object stores read it as it is. It is written with
Python's own tarfile: webdataset's ShardWriter tells no byte offsets, which seek-and-read needs, and stamps members with
the time of day, while here the same clips must give the same bytes.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from talkface.data.clip import Clip, pack
from talkface.errors import TalkfaceError
from talkface.files import atomic_write, make_folder, os_errors_as_user_errors

FORMAT = 2  # 2 adds the sound of each clip; format 1 is still read
SHARDS = "shards"
INDEX = "index.jsonl"
DATASET = "dataset.json"


class ShardWriter:
    """Writes one shard and its index; both appear under their names only when it is left without an exception.

    Args:
        root: folder of the data set.
        stem: name of the shard without suffix, as in "train-00003".

    Raises:
        TalkfaceError: it cannot be written there, as on a full disk.
    """

    def __init__(self, root: Path, stem: str) -> None:
        self.stem = stem
        folder = Path(root) / SHARDS
        make_folder(folder)
        self.tar_path, self.index_path = folder / f"{stem}.tar", folder / f"{stem}.jsonl"
        with os_errors_as_user_errors(self.tar_path):
            for stale in folder.glob(f".{stem}.*.part*"):
                stale.unlink(missing_ok=True)
        self._lines: list[dict] = []

    def __enter__(self) -> ShardWriter:
        with ExitStack() as stack:
            beside = stack.enter_context(atomic_write(self.tar_path))
            self._file = stack.enter_context(beside.open("wb"))
            self._tar = stack.enter_context(tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT))
            self._stack = stack.pop_all()
        return self

    def add(self, clip: Clip, **facts) -> None:
        """Append a clip; `facts` go into its line of the index as they are."""
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

    def skip(self, **facts) -> None:
        """Note a source video that gave no clip."""
        self._lines.append(facts)

    def __exit__(self, kind, error, trace) -> None:
        self._stack.__exit__(kind, error, trace)
        if kind is None:
            write_lines(self.index_path, self._lines)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that readers see the old one or the new one, never a part.

    Raises:
        TalkfaceError: it cannot be written there, as on a full disk.
    """
    with atomic_write(path) as beside:
        beside.write_bytes(data)


def write_lines(path: Path, rows: Iterable[dict]) -> None:
    """Write JSON lines atomically."""
    write_bytes(path, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows).encode())


def write_json(path: Path, facts: dict) -> None:
    """Write one JSON object atomically."""
    write_bytes(path, json.dumps(facts, indent=1).encode())


def read_lines(path: Path) -> list[dict]:
    """Read JSON lines."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def shard_indexes(root: Path) -> list[Path]:
    """The indexes of all finished shards of a data set, sorted."""
    return sorted(path for path in (Path(root) / SHARDS).glob("*.jsonl") if not path.name.startswith("."))


def read_members(root: Path, line: dict) -> list[bytes]:
    """The contents of a clip's members, read in one go.

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
        raise TalkfaceError(
            f"{root / line['shard']} ends at byte {line['offset'] + len(block)}, inside clip {line['name']}.",
            "Copy the data set again, or delete the shard with its .jsonl and run talkface preprocess again.",
        )
    return [block[offset : offset + size] for offset, size in line["data"]]
