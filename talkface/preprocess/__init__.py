"""`talkface preprocess`: from talking videos to the clips that train and eval read.

    report = preprocess(PreprocessConfig(data="lrw", source=Path("lipread_mp4")))

Work is cut into shards (plan), each done by a worker (work) that decodes a video, finds and aligns the faces (making)
and lets it pass or not (gates); when all are done they are put together (summary). To continue after whatever has
stopped it, run the same command again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from talkface.config import SPLITS, data_root
from talkface.data.layouts import LAYOUTS, find_sources
from talkface.data.shards import shard_indexes
from talkface.errors import TalkfaceError
from talkface.files import make_folder
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.preprocess.gates import Gates
from talkface.preprocess.local_engine import run_local
from talkface.preprocess.plan import ShardSpec, parse_part, part_of, shards_to_do
from talkface.preprocess.summary import CONTACT_SHEET, Summary, summarise
from talkface.preprocess.worker import Progress, RunSpec


@dataclass(frozen=True)
class PreprocessConfig:
    """What to preprocess, where to, and with how many hands."""

    data: str
    """Layout of the source: lrw, grid or folder."""

    source: Path
    """The folder as downloaded."""

    split: str | None = None
    """Only this split: train, val or test."""

    out: Path | None = None
    """Folder of the data set. Default: $TALKFACE_DATA/NAME, or ./data/NAME."""

    name: str | None = None
    """By which train and eval find the data set. Default: the layout's name, or for "folder" the source folder's."""

    workers: int = 0
    """Worker processes; 0 for one per core, of this machine or of the Ray cluster."""

    engine: str = "local"
    """local: processes of this machine; ray: a Ray cluster (pip install "talkface[ray]")."""

    shard: str | None = None
    """i/n: do the i-th of n equal parts, i from 1, for array jobs that share a file system."""

    limit: int | None = None
    """Only the first videos of each split."""

    split_list: Path | None = None
    """For "folder": text file with lines "PATH SPLIT". Default: a hash of each video's folder decides, 90/5/5."""

    clips_per_shard: int = 64
    """Videos in one shard: what a kill loses at most, per worker."""

    gates: Gates = field(default_factory=Gates)
    """Limits within which a video becomes a clip."""


@dataclass(frozen=True)
class Report:
    """What came of it."""

    root: Path
    """Folder of the data set."""

    name: str
    summary: Summary
    """Of the whole data set, earlier runs included."""

    videos: int
    """Done in this run."""

    frames: int
    """In the clips of this run."""

    seconds: float
    workers: int
    left: int
    """Videos that are left to other parts of --shard, or to a run without it."""

    @property
    def contact_sheet(self) -> Path:
        return self.root / CONTACT_SHEET

    @property
    def frames_per_second(self) -> float:
        """Aligned frames a second, all workers together."""
        return self.frames / max(self.seconds, 1e-9)

    def rows(self) -> list[tuple[str, dict[str, int]]]:
        """The table by reason: (reason, {split: videos}), "kept" first, then by number."""
        reasons = {reason for _, reason in self.summary.counts}
        by_reason = {r: {s: self.summary.counts.get((s, r), 0) for s in SPLITS} for r in reasons}
        return sorted(by_reason.items(), key=lambda row: (row[0] != "kept", -sum(row[1].values()), row[0]))


def preprocess(config: PreprocessConfig, on_step: Callable[[int, int], None] = lambda done, total: None) -> Report:
    """Turn videos into clips; videos that earlier runs have done are not done again.

    Args:
        config: what and how.
        on_step: called with (videos done, videos to do) after each.

    Raises:
        TalkfaceError: no such folder, layout or engine; no video found; no ffmpeg; the disk is full.
    """
    _check(config)
    ffmpeg_exe()
    part = parse_part(config.shard)
    sources = find_sources(config.data, config.source, config.split, config.split_list)
    if config.limit is not None:
        sources = [s for split in SPLITS for s in [s for s in sources if s.split == split][: config.limit]]
    name = config.name or (config.data if config.data != "folder" else config.source.resolve().name)
    root = Path(config.out) if config.out else data_root() / name
    everything = shards_to_do(sources, root, config.clips_per_shard)
    units = part_of(everything, part)
    total, done, begun = _videos(units), {}, time.monotonic()

    def report(progress: Progress) -> None:
        if progress.frames is not None:
            done[progress.name] = progress.frames
            on_step(len(done), total)

    try:
        workers = _engine(config.engine)(units, RunSpec(root, name, config.gates), config.workers, report)
    except BaseException:
        # What there is can be looked at, and read. What ended the run must be told, not what ends this.
        with suppress(Exception):
            if shard_indexes(root):
                summarise(root, name)
        raise
    seconds = time.monotonic() - begun
    make_folder(root)
    summary = summarise(root, name)
    return Report(root, name, summary, len(done), sum(done.values()), seconds, workers, _videos(everything) - total)


def _videos(units: list[ShardSpec]) -> int:
    return sum(len(unit.sources) for unit in units)


def _check(config: PreprocessConfig) -> None:
    if config.data not in LAYOUTS:
        raise TalkfaceError(f"--data {config.data} is no layout.", f"Choose one of {', '.join(LAYOUTS)}.")
    if config.split not in (None, *SPLITS):
        raise TalkfaceError(f"--split {config.split} is no split.", f"Choose one of {', '.join(SPLITS)}.")
    if config.split_list and config.data != "folder":
        raise TalkfaceError(f"--split-list does not go with --data {config.data}, which has splits of its own.")
    numbers = {
        "workers": (config.workers, 0),
        "limit": (config.limit, 1),
        "clips-per-shard": (config.clips_per_shard, 1),
    }
    for flag, (value, least) in numbers.items():
        if value is not None and value < least:
            raise TalkfaceError(f"--{flag} {value} is too small.", f"Give at least {least}.")


def _engine(name: str) -> Callable[[list[ShardSpec], RunSpec, int, Callable[[Progress], None]], int]:
    """What does the units: returns how many workers did."""
    if name == "local":
        return run_local
    if name == "ray":
        from talkface.preprocess.ray_engine import run_ray  # wants the extra talkface[ray]

        return run_ray
    raise TalkfaceError(f"--engine {name} is not known.", "Choose local or ray.")
