"""The work of one worker process: it writes a shard, and decodes the next video while it builds the current clip."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import cv2
import torch

from talkface.data.layouts import Source
from talkface.data.shards import ShardWriter
from talkface.errors import TalkfaceError
from talkface.face.find import FaceFinder
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.preprocess import reasons
from talkface.preprocess.build import ClipResult, DecodedVideo, build_clip, decode
from talkface.preprocess.limits import QualityLimits
from talkface.preprocess.plan import ShardSpec


@dataclass(frozen=True)
class RunSpec:
    """What all shards of a run have in common."""

    root: Path
    """Folder of the data set."""

    dataset: str
    """Name of the data set."""

    limits: QualityLimits


@dataclass(frozen=True)
class Progress:
    """What a worker reports: it has begun or continues a video (frames is None), or it has finished the video."""

    name: str
    frames: int | None = None
    """Number of frames in the clips of the video."""


@dataclass(frozen=True)
class ShardAttempt:
    """A shard to write, and what is known from earlier attempts."""

    shard: ShardSpec
    crashed: tuple[str, ...] = ()
    """Names of videos that made a worker process crash; they are skipped."""

    prefetch: bool = True
    """Whether the next video is decoded in advance. Without it, the video that a worker reported last is the only one
    that can have made its process crash."""

    def after_crash(self, last_video: str) -> ShardAttempt:
        """The next attempt, after the worker process has crashed.

        Args:
            last_video: name of the video that the worker reported last; "" if none.

        Raises:
            TalkfaceError: the process crashed before it began a video.
        """
        if self.prefetch:
            return replace(self, prefetch=False)
        if not last_video:
            raise TalkfaceError(
                "The worker processes crash before they begin the first video.",
                "Look for a message above, check the free memory, or use fewer --workers.",
            )
        return replace(self, crashed=(*self.crashed, last_video))


@functools.cache
def face_finder() -> FaceFinder:
    """The face networks, loaded once per process; with one thread, because there is one worker for each core."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return FaceFinder("cpu")


def build_shard(
    attempt: ShardAttempt, run: RunSpec, report: Callable[[Progress], None] = lambda progress: None
) -> None:
    """Write a shard.

    Args:
        attempt: the shard, and how to write it.
        run: the run that it belongs to.
        report: called when a video begins, after each of its pieces, and when it is finished.

    Raises:
        TalkfaceError: there is no ffmpeg, or the shard cannot be written.
    """
    sources, finder = attempt.shard.sources, face_finder()
    ffmpeg_exe()  # if one machine of many has no ffmpeg, the videos must not count as unreadable
    healthy = [source for source in sources if source.name not in attempt.crashed]
    with ShardWriter(run.root, attempt.shard.stem) as writer:
        decoded = _decode_all(healthy, run.limits, attempt.prefetch, report)
        for source, pieces in groupby(decoded, key=attrgetter("source")):
            frames = 0
            for video in pieces:
                result = _build(video, run, finder)
                _write(writer, video, result)
                frames += len(result.clip) if result.clip else 0
                report(Progress(source.name))
            report(Progress(source.name, frames))
        for source in sources:
            if source.name in attempt.crashed:
                _write(writer, DecodedVideo(source), _crash("the worker process crashed"))
                report(Progress(source.name, 0))


def _decode_all(
    sources: list[Source], limits: QualityLimits, prefetch: bool, report: Callable[[Progress], None]
) -> Iterator[DecodedVideo]:
    """The decoded videos, in order; long ones in pieces."""
    if not prefetch:
        yield from _decode_each(sources, limits, lambda source: report(Progress(source.name)))
        return
    videos = _decode_each(sources, limits, lambda source: None)  # `report` may be used from one thread only
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, videos, None)
        while (video := coming.result()) is not None:
            coming = thread.submit(next, videos, None)
            yield video


def _decode_each(
    sources: list[Source], limits: QualityLimits, begin: Callable[[Source], None]
) -> Iterator[DecodedVideo]:
    """As `_decode_all`. An unexpected exception must not end the whole run: its traceback goes into the manifest."""
    for source in sources:
        begin(source)
        try:
            yield from decode(source, limits)
        except Exception:
            yield DecodedVideo(source, reason=reasons.CRASHED, detail=traceback.format_exc(limit=-3))


def _build(video: DecodedVideo, run: RunSpec, finder: FaceFinder) -> ClipResult:
    try:
        return build_clip(video, run.dataset, finder, run.limits)
    except Exception:
        return _crash(traceback.format_exc(limit=-3))


def _crash(detail: str) -> ClipResult:
    return ClipResult(None, reasons.CRASHED, {"detail": detail})


def _write(writer: ShardWriter, video: DecodedVideo, result: ClipResult) -> None:
    source, facts = video.source, {"status": result.reason, "facts": result.facts}
    if result.clip is not None and result.curve is not None:
        writer.add(result.clip, **facts, curve=[round(float(value), 3) for value in result.curve])
    else:
        writer.skip(name=video.name, split=source.split, speaker=source.speaker, source=source.file, **facts)
