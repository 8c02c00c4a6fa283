"""Reading preprocessed clips. This needs only numpy and OpenCV: no librosa, ffmpeg or face model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from talkface.config import SPLITS, data_root
from talkface.data.clip import Clip, decode_frame, unpack, unpack_arrays
from talkface.data.sample import NAME as SAMPLE
from talkface.data.sample import sample_root
from talkface.data.shards import DATASET, FORMAT, INDEX, read_lines, read_members, read_some_members, shard_indexes
from talkface.errors import TalkfaceError

WHERE_TO_GET = {
    "lrw": "LRW comes from https://www.robots.ox.ac.uk/~vgg/data/lip_reading/lrw1.html (BBC's agreement).",
    "grid": "GRID comes from https://zenodo.org/records/3625687 (CC BY 4.0).",
}


class ClipDataset:
    """The clips of a data set, in a fixed order. `dataset[i]` reads one clip from disk with one seek and one read.

    It holds no open file, so it can be passed to worker processes, for example those of a DataLoader.

    Args:
        root: the folder that `talkface preprocess` wrote.
        lines: lines of its index, one for each clip.
    """

    def __init__(self, root: Path, lines: list[dict]) -> None:
        self.root = Path(root)
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, i: int) -> Clip:
        line = self._lines[i]
        return unpack(read_members(self.root, line), line.get("av_offset", 0.0))

    def __iter__(self) -> Iterator[Clip]:
        return (self[i] for i in range(len(self)))

    def arrays(self, i: int) -> dict[str, np.ndarray]:
        """The arrays of clip i by name (lips, points68, ...), without its frames and sound."""
        return unpack_arrays(read_some_members(self.root, self._lines[i], [1])[0])

    def without_pictures(self, i: int) -> Clip:
        """Clip i, read without its pictures, which are most of its bytes: `encoded` holds empty files."""
        line = self._lines[i]
        others = range(len(line["data"]) - line["frames"])
        members = read_some_members(self.root, line, others)
        return unpack(members + [b""] * line["frames"], line.get("av_offset", 0.0))

    def frames(self, i: int, numbers: list[int]) -> list[np.ndarray]:
        """Some frames of clip i, uint8 RGB (256, 256, 3), without reading the others."""
        line = self._lines[i]
        first = len(line["data"]) - line["frames"]
        return [decode_frame(data) for data in read_some_members(self.root, line, [first + n for n in numbers])]

    @property
    def has_sound(self) -> list[bool]:
        """Whether each clip keeps its sound."""
        return [line.get("sound", False) for line in self._lines]

    @property
    def keeps_no_sound(self) -> list[bool]:
        """Whether each clip is of format 1, which keeps MFCC but no sound."""
        return ["sound" not in line for line in self._lines]

    @property
    def names(self) -> list[str]:
        """The name of each clip."""
        return [line["name"] for line in self._lines]

    @property
    def clip_speakers(self) -> list[str]:
        """The speaker of each clip; "" if unknown."""
        return [line["speaker"] for line in self._lines]

    @property
    def clip_people(self) -> list[str]:
        """Who is in each clip: its speaker, or its own name if the speaker is unknown."""
        return [line["speaker"] or line["name"] for line in self._lines]

    @property
    def speakers(self) -> list[str]:
        """All speakers, sorted, each of them once."""
        return sorted(set(self.clip_speakers))

    @property
    def lengths(self) -> list[int]:
        """The number of frames of each clip, from the index: no clip is read."""
        return [line["frames"] for line in self._lines]

    def select(self, indices: list[int]) -> ClipDataset:
        """A data set with only these clips, in this order."""
        return ClipDataset(self.root, [self._lines[i] for i in indices])


def open_dataset(name_or_dir: str | Path, split: str | None = None) -> ClipDataset:
    """Open a preprocessed data set.

    Args:
        name_or_dir: a name, which is searched for in $TALKFACE_DATA (default ./data), or the folder itself. "sample" is
            the bundled sample, unless there is another data set of that name.
        split: train, val or test; None for all.

    Raises:
        TalkfaceError: there is no such data set, its preprocessing has not finished, or the split is empty.
    """
    root = _find(name_or_dir)
    facts = json.loads((root / DATASET).read_text(encoding="utf-8"))
    if facts["format"] > FORMAT:
        raise TalkfaceError(
            f"{root} was written by a newer talkface (clip format {facts['format']}; this one reads 1 to {FORMAT}).",
            "Update talkface, or preprocess the data set again.",
        )
    lines = read_lines(root / INDEX)
    chosen = [line for line in lines if split in (None, line["split"])]
    if not chosen:
        counts = ", ".join(f"{name} {sum(line['split'] == name for line in lines)}" for name in SPLITS)
        raise TalkfaceError(
            f"{root} has no clips{f' of split {split!r}' if split else ''} (it has {counts}).",
            f"Run talkface preprocess with --split {split} on its videos."
            if split
            else "Its manifest.jsonl gives the reasons.",
        )
    return ClipDataset(root, chosen)


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """At most `wanted` of the numbers below `count`, evenly spaced from the first to the last."""
    return np.linspace(0, count - 1, min(wanted, count)).round().astype(int).tolist()


def _find(name_or_dir: str | Path) -> Path:
    candidates = [data_root() / name_or_dir, Path(name_or_dir)]
    for root in candidates:
        if (root / DATASET).is_file() and (root / INDEX).is_file():
            return root
    name = str(name_or_dir)
    if name == SAMPLE and not any(shard_indexes(root) for root in candidates):
        return sample_root()
    if name == "visemes":
        raise TalkfaceError(f"There is no synthetic speech in {candidates[0]}.", "Make it with `talkface visemes`.")
    known = name in WHERE_TO_GET
    command = f"talkface preprocess --data {name if known else 'folder'} --source DIR"
    command += "" if known else f" --out {candidates[0]}"
    if any(shard_indexes(root) for root in candidates):
        raise TalkfaceError(f"The preprocessing of {name} has not finished.", f"Run the same command again: {command}")
    raise TalkfaceError(
        f"No preprocessed data set {name!r} in {data_root().resolve()}.",
        f"{WHERE_TO_GET[name]} Then run: {command}" if known else f"Run: {command}",
    )
