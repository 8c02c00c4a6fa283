"""What a worker does: one shard after the other, the next video decoded while the faces of this one are found."""

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
from talkface.preprocess import gates
from talkface.preprocess.build import ClipResult, DecodedVideo, make, take
from talkface.preprocess.gates import Gates
from talkface.preprocess.plan import ShardSpec


@dataclass(frozen=True)
class RunSpec:
    """What all units of a run have in common."""

    root: Path
    dataset: str
    gates: Gates


@dataclass(frozen=True)
class Progress:
    """What a worker tells: it is at a video (frames None), or done with it."""

    name: str
    frames: int | None = None
    """In the clips of the video."""


@dataclass(frozen=True)
class ShardAttempt:
    """A unit to do, and what is known of earlier attempts at it."""

    unit: ShardSpec
    crashed: tuple[str, ...] = ()
    """Videos that have killed a worker; they are skipped."""

    prefetch: bool = True
    """Decode the next video meanwhile. Without it, who dies, dies of the video that was told last."""

    def after_death(self, at: str) -> ShardAttempt:
        """How to go on after the death of a worker that was last heard of at video `at`.

        Raises:
            TalkfaceError: the worker died before it came to a video.
        """
        if self.prefetch:
            return replace(self, prefetch=False)
        if not at:
            raise TalkfaceError(
                "The worker processes die before they begin.",
                "Look for a message above, for free memory, or try fewer --workers.",
            )
        return replace(self, crashed=(*self.crashed, at))


@functools.cache
def finder() -> FaceFinder:
    """The face networks, loaded once in a worker; one thread, for every core has a worker."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return FaceFinder("cpu")


def work_on(attempt: ShardAttempt, job: RunSpec, report: Callable[[Progress], None] = lambda progress: None) -> None:
    """Write the shard of a unit.

    Args:
        attempt: which videos, and how.
        job: of which run.
        report: called when a video begins, now and then while it lasts, and when it is done.

    Raises:
        TalkfaceError: no ffmpeg, or the shard cannot be written.
    """
    unit, nets = attempt.unit, finder()
    ffmpeg_exe()  # missing on one machine of many, it must not make videos count as unreadable
    healthy = [source for source in unit.sources if source.name not in attempt.crashed]
    with ShardWriter(job.root, unit.stem) as shard:
        for source, pieces in groupby(_decoded(healthy, job.gates, attempt.prefetch, report), key=attrgetter("source")):
            frames = 0
            for taken in pieces:
                made = _made(taken, job, nets)
                _write(shard, taken, made)
                frames += len(made.clip) if made.clip else 0
                report(Progress(source.name))
            report(Progress(source.name, frames))
        for source in unit.sources:
            if source.name in attempt.crashed:
                _write(shard, DecodedVideo(source, [], None), _crash("the worker process died"))
                report(Progress(source.name, 0))


def _decoded(
    sources: list[Source], limits: Gates, prefetch: bool, report: Callable[[Progress], None]
) -> Iterator[DecodedVideo]:
    """The videos in order, decoded, long ones in pieces."""
    if not prefetch:
        yield from _guarded(sources, limits, lambda source: report(Progress(source.name)))
        return
    pieces = _guarded(sources, limits, lambda source: None)  # from the thread nothing is told: pipes have one user
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, pieces, None)
        while (taken := coming.result()) is not None:
            coming = thread.submit(next, pieces, None)
            yield taken


def _guarded(sources: list[Source], limits: Gates, begin: Callable[[Source], None]) -> Iterator[DecodedVideo]:
    """One video that nobody foresaw must not cost the other half million; its traceback goes into the manifest."""
    for source in sources:
        begin(source)
        try:
            yield from take(source, limits)
        except Exception:
            yield DecodedVideo(source, [], None, reason=gates.CRASHED, detail=traceback.format_exc(limit=-3))


def _made(taken: DecodedVideo, job: RunSpec, nets: FaceFinder) -> ClipResult:
    try:
        return make(taken, job.dataset, nets, job.gates)
    except Exception:
        return _crash(traceback.format_exc(limit=-3))


def _crash(detail: str) -> ClipResult:
    return ClipResult(None, gates.CRASHED, {"detail": detail})


def _write(shard: ShardWriter, taken: DecodedVideo, made: ClipResult) -> None:
    source, facts = taken.source, {"status": made.reason, "facts": made.facts}
    if made.clip is not None:
        shard.add(made.clip, **facts, curve=[round(float(value), 3) for value in made.curve])
    else:
        shard.skip(name=taken.name, split=source.split, speaker=source.speaker, source=source.file, **facts)
