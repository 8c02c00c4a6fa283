"""`talkface preprocess`: turns talking videos into the clips that train and eval read.

    report = preprocess(PreprocessConfig(data="lrw", source=Path("lipread_mp4")))

The work is divided into shards (`plan`). An engine (`local_engine`, `ray_engine`) distributes them to workers
(`worker`), which decode the videos, find and align the faces (`build`) and check their quality (`limits`). At the end
the finished shards become a data set (`summary`), and the sound offset of each source is estimated (`offsets`). To
continue a run that was stopped, run the same command again; the offsets are estimated again each time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from talkface.config import SPLITS, data_root
from talkface.data.layouts import LAYOUTS, find_sources, limit_evenly
from talkface.data.shards import shard_indexes
from talkface.errors import TalkfaceError
from talkface.files import make_folder
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.preprocess.limits import QualityLimits, default_limits
from talkface.preprocess.local_engine import run_local
from talkface.preprocess.offsets import OffsetPlan, load_predictor
from talkface.preprocess.plan import ShardSpec, parse_part, part_of, shards_to_do
from talkface.preprocess.summary import CONTACT_SHEET, Summary, summarise
from talkface.preprocess.worker import Progress, RunSpec

MAX_AV_OFFSET = 1.0  # seconds; a larger one by hand was probably meant in milliseconds or frames


@dataclass(frozen=True)
class PreprocessConfig:
    """What to preprocess, and how."""

    data: str
    """Layout of the source: lrw, grid, folder or photos."""

    source: Path
    """The folder as downloaded."""

    split: str | None = None
    """Only this split: train, val or test. Default: all of them."""

    out: Path | None = None
    """Folder of the data set. Default: $TALKFACE_DATA/NAME, or ./data/NAME."""

    name: str | None = None
    """Name by which train and eval find the data set. Default: that of the layout, or of the source for "folder"."""

    workers: int = 0
    """Number of worker processes; 0 for one per core of this machine or of the Ray cluster."""

    engine: str = "local"
    """local: processes on this machine; ray: a Ray cluster (pip install "talkface[ray]")."""

    shard: str | None = None
    """i/n: do only the i-th of n equal parts, i from 1; for array jobs that share a file system."""

    limit: int | None = None
    """At most this many videos of each split, spread evenly over speakers and names. The choice is always the same."""

    split_list: Path | None = None
    """For "folder" and "photos": text file with lines "PATH SPLIT". Default: a hash of the folder of a video, or of the
    name of a photo, decides (90/5/5 %)."""

    clips_per_shard: int = 64
    """Largest number of videos in a shard. A run that is killed loses at most one unfinished shard per worker."""

    limits: QualityLimits | None = None
    """Quality limits within which a video becomes a clip. Default: those of the layout."""

    av_offset: float | Literal["estimate"] = "estimate"
    """Seconds by which the sound lags behind the picture, for all sources; "estimate" to estimate that of each."""

    av_weights: Path | None = None
    """Generator whose Audio Encoder estimates the sound offsets. Default: the bundled one. For a fair evaluation it
    must not have been trained on these videos."""


@dataclass(frozen=True)
class Report:
    """The result of a run."""

    root: Path
    """Folder of the data set."""

    name: str
    summary: Summary
    """Contents of the whole data set, including earlier runs."""

    videos: int
    """Number of videos done in this run."""

    frames: int
    """Number of frames in the clips of this run."""

    seconds: float
    workers: int
    left: int
    """Number of videos of other parts of --shard that are not done yet. The run that leaves none estimates offsets."""

    @property
    def contact_sheet(self) -> Path:
        """The picture of sample faces."""
        return self.root / CONTACT_SHEET

    @property
    def frames_per_second(self) -> float:
        """Aligned frames per second, of all workers together."""
        return self.frames / max(self.seconds, 1e-9)

    def rows(self) -> list[tuple[str, dict[str, int]]]:
        """Number of videos by status and split, as (status, {split: videos}): "kept" first, then the most frequent."""
        reasons = {reason for _, reason in self.summary.counts}
        by_reason = {r: {s: self.summary.counts.get((s, r), 0) for s in SPLITS} for r in reasons}
        return sorted(by_reason.items(), key=lambda row: (row[0] != "kept", -sum(row[1].values()), row[0]))


def preprocess(
    config: PreprocessConfig,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    on_clip: Callable[[int, int], None] | None = None,
) -> Report:
    """Turn videos into clips. Videos that earlier runs have done are not done again.

    Args:
        config: what to preprocess, and how.
        on_step: called with (videos done, videos to do) after each video.
        on_clip: called with (clips heard, clips to hear) while the sound offsets are estimated. Default: `on_step`.

    Raises:
        TalkfaceError: the folder, layout, engine or weights file does not exist, no video was found, there is no
            ffmpeg, or the disk is full.
    """
    _check(config)
    ffmpeg_exe()
    load = partial(load_predictor, config.av_weights)
    if config.av_weights:
        load()  # a wrong file must not be noticed only when all videos are done
    part = parse_part(config.shard)
    sources = find_sources(config.data, config.source, config.split, config.split_list)
    if config.limit is not None:
        sources = limit_evenly(sources, config.limit)
    name = config.name or (config.data if config.data != "folder" else config.source.resolve().name)
    root = Path(config.out) if config.out else data_root() / name
    all_shards = shards_to_do(sources, root, config.clips_per_shard)
    shards = part_of(all_shards, part)
    done: dict[str, int] = {}  # number of frames, by video
    total, begun = _count_videos(shards), time.monotonic()

    def report(progress: Progress) -> None:
        if progress.frames is not None:
            done[progress.name] = progress.frames
            on_step(len(done), total)

    limits = config.limits or default_limits(config.data)
    try:
        workers = _engine(config.engine)(shards, RunSpec(root, name, limits), config.workers, report)
    except BaseException:
        # The finished shards become a readable data set. An error in this must not replace the one that ended the run.
        with suppress(Exception):
            if shard_indexes(root):
                summarise(root, name, config.data)
        raise
    seconds = time.monotonic() - begun
    make_folder(root)
    left = _count_videos(shards_to_do(sources, root, config.clips_per_shard))
    if config.av_offset != "estimate":
        plan = OffsetPlan(seconds=config.av_offset)
    else:
        plan = OffsetPlan(load=None if left else load, on_step=on_clip or on_step)
    summary = summarise(root, name, config.data, plan)
    return Report(root, name, summary, len(done), sum(done.values()), seconds, workers, left)


def _count_videos(shards: list[ShardSpec]) -> int:
    return sum(len(shard.sources) for shard in shards)


def _check(config: PreprocessConfig) -> None:
    if config.data not in LAYOUTS:
        raise TalkfaceError(f"--data {config.data} is not a valid layout.", f"Choose one of {', '.join(LAYOUTS)}.")
    if config.split not in (None, *SPLITS):
        raise TalkfaceError(f"--split {config.split} is not a valid split.", f"Choose one of {', '.join(SPLITS)}.")
    if config.split_list and config.data not in ("folder", "photos"):
        raise TalkfaceError(
            f"--split-list cannot be used with --data {config.data}, a layout that defines the splits itself.",
            "Leave out --split-list, or use --data folder.",
        )
    if config.av_offset != "estimate":
        if not math.isfinite(config.av_offset) or abs(config.av_offset) > MAX_AV_OFFSET:
            raise TalkfaceError(
                f"--av-offset {config.av_offset} is not a valid offset.",
                f"Give seconds from {-MAX_AV_OFFSET} to {MAX_AV_OFFSET}, or estimate.",
            )
        if config.av_weights:
            raise TalkfaceError(
                "--av-weights has no effect beside --av-offset SECONDS, which estimates nothing.",
                "Leave out one of them.",
            )
    numbers = {
        "workers": (config.workers, 0),
        "limit": (config.limit, 1),
        "clips-per-shard": (config.clips_per_shard, 1),
    }
    for flag, (value, least) in numbers.items():
        if value is not None and value < least:
            raise TalkfaceError(f"--{flag} {value} is too small.", f"Give at least {least}.")


def _engine(name: str) -> Callable[[list[ShardSpec], RunSpec, int, Callable[[Progress], None]], int]:
    """The function that writes shards with the engine of this name and returns the number of its workers."""
    if name == "local":
        return run_local
    if name == "ray":
        from talkface.preprocess.ray_engine import run_ray

        return run_ray
    raise TalkfaceError(f"--engine {name} is not a valid engine.", "Choose local or ray.")
