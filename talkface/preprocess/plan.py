"""Which videos are still to be done, and in which shards.

The plan follows from the list of videos and from the shards that are finished, and from nothing else. So a run that was
killed continues where it stopped, with the shards that one run would have made; and array jobs that start at different
times agree on who does what, because taking a finished shard out of the plan leaves the others as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from talkface.data.layouts import Source, video_name
from talkface.data.shards import read_lines, shard_indexes
from talkface.errors import TalkfaceError

SHARD_BYTES = 1 << 29  # of source video in one shard: about half an hour where the videos are long


@dataclass(frozen=True)
class ShardSpec:
    """One shard's worth of work."""

    number: int
    split: str
    sources: tuple[Source, ...]

    @property
    def stem(self) -> str:
        """Name of the shard without suffix."""
        return f"{self.split}-{self.number:05d}"


def shards_to_do(sources: list[Source], root: Path, clips_per_shard: int) -> list[ShardSpec]:
    """What is not in a finished shard yet, cut into shards.

    Args:
        sources: all videos, sorted.
        root: folder of the data set.
        clips_per_shard: videos in a shard, at most.
    """
    finished = shard_indexes(root)
    done = {(line["split"], video_name(line["name"])) for index in finished for line in read_lines(index)}
    taken = {index.stem for index in finished}
    units: list[ShardSpec] = []
    for split in sorted({source.split for source in sources}):
        left = [source for source in sources if source.split == split and (split, source.name) not in done]
        free = (number for number in count() if f"{split}-{number:05d}" not in taken)
        units += [ShardSpec(next(free), split, chunk) for chunk in _chunks(left, clips_per_shard)]
    return units


def part_of(units: list[ShardSpec], part: tuple[int, int]) -> list[ShardSpec]:
    """Every n-th of the units from the i-th on; (i, n), i from 1. By number, for finished ones are not in the list."""
    i, n = part
    return [unit for unit in units if unit.number % n == i - 1]


def _chunks(sources: list[Source], most: int) -> Iterator[tuple[Source, ...]]:
    """`sources` in order, `most` at a time or as many as make up `SHARD_BYTES` of video."""
    chunk, size = [], 0
    for source in sources:
        chunk.append(source)
        size += source.path.stat().st_size
        if len(chunk) == most or size >= SHARD_BYTES:
            yield tuple(chunk)
            chunk, size = [], 0
    if chunk:
        yield tuple(chunk)


def parse_part(text: str | None) -> tuple[int, int]:
    """ "2/8" as (2, 8); None as (1, 1).

    Raises:
        TalkfaceError: not i/n with 1 <= i <= n.
    """
    if text is None:
        return 1, 1
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    i, n = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= i <= n:
        raise TalkfaceError(f"--shard {text} is not i/n with i from 1 to n.", "Write --shard 1/8 to --shard 8/8.")
    return i, n
