"""The plan of a run: which videos are left, and how they are divided into shards.

The plan depends on nothing but the list of videos and the finished shards. Therefore a run that was killed continues
with the same shards as a run without interruption, and array jobs that start at different times agree on their parts: a
finished shard disappears from the plan and leaves the other shards as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from talkface.data.layouts import Source, video_name
from talkface.data.shards import read_lines, shard_indexes
from talkface.errors import TalkfaceError

SHARD_BYTES = 1 << 29  # of source videos in one shard: about half an hour of work if the videos are long


@dataclass(frozen=True)
class ShardSpec:
    """A shard to write: one unit of work."""

    number: int
    split: str
    sources: tuple[Source, ...]

    @property
    def stem(self) -> str:
        """Name of the shard without suffix."""
        return f"{self.split}-{self.number:05d}"


def shards_to_do(sources: list[Source], root: Path, clips_per_shard: int) -> list[ShardSpec]:
    """The videos that are not in a finished shard yet, divided into shards.

    Args:
        sources: all videos, sorted.
        root: folder of the data set.
        clips_per_shard: largest number of videos in a shard.
    """
    finished = shard_indexes(root)
    done = {(line["split"], video_name(line["name"])) for index in finished for line in read_lines(index)}
    used = {index.stem for index in finished}
    shards: list[ShardSpec] = []
    for split in sorted({source.split for source in sources}):
        left = [source for source in sources if source.split == split and (split, source.name) not in done]
        free = (number for number in count() if f"{split}-{number:05d}" not in used)
        shards += [ShardSpec(next(free), split, chunk) for chunk in _chunks(left, clips_per_shard)]
    return shards


def part_of(shards: list[ShardSpec], part: tuple[int, int]) -> list[ShardSpec]:
    """The shards of one part of an array job.

    Args:
        shards: all shards to do.
        part: (i, n): the i-th of n parts, i from 1. The number of a shard decides, not its place in the list, because
            finished shards are missing in the list.
    """
    i, n = part
    return [shard for shard in shards if shard.number % n == i - 1]


def _chunks(sources: list[Source], most: int) -> Iterator[tuple[Source, ...]]:
    """`sources` in order, divided after every `most` videos, or earlier if these have SHARD_BYTES."""
    chunk: list[Source] = []
    size = 0
    for source in sources:
        chunk.append(source)
        with suppress(OSError):  # a link that leads nowhere
            size += source.path.stat().st_size
        if len(chunk) == most or size >= SHARD_BYTES:
            yield tuple(chunk)
            chunk, size = [], 0
    if chunk:
        yield tuple(chunk)


def parse_part(text: str | None) -> tuple[int, int]:
    """The part that a value of --shard names: (2, 8) for "2/8", (1, 1) for None.

    Raises:
        TalkfaceError: not i/n with 1 <= i <= n.
    """
    if text is None:
        return 1, 1
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    i, n = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= i <= n:
        raise TalkfaceError(
            f"--shard {text} is not a valid part: expected i/n with i from 1 to n.",
            "For example, write --shard 1/8 to --shard 8/8.",
        )
    return i, n
