"""What a worker does: one shard after the other, the next video decoded while the faces of this one are found."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch

from talkface.data.layouts import Source
from talkface.data.shards import ShardWriter
from talkface.face.find import FaceFinder
from talkface.preprocess import gates
from talkface.preprocess.gates import Gates
from talkface.preprocess.making import Made, Taken, make, take
from talkface.preprocess.plan import Unit


@dataclass(frozen=True)
class Job:
    """What all units of a run have in common."""

    root: Path
    dataset: str
    gates: Gates


@dataclass(frozen=True)
class Progress:
    """What a worker tells: it begins a video (frames None), or is done with it."""

    name: str
    frames: int | None = None


@functools.cache
def finder() -> FaceFinder:
    """The face networks, loaded once in a worker; one thread, for every core has a worker."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return FaceFinder("cpu")


def work_on(
    unit: Unit,
    job: Job,
    tell: Callable[[Progress], None] = lambda progress: None,
    crashed: Iterable[str] = (),
    ahead: bool = True,
) -> int:
    """Write the shard of a unit.

    Args:
        unit: which videos.
        job: of which run.
        tell: called when a video begins and when it is done.
        crashed: names of videos that have killed a worker before; they are skipped.
        ahead: decode the next video meanwhile. Without it, who dies, dies of the present video.

    Returns:
        Frames in the shard's clips.
    """
    frames = 0
    nets, crashed = finder(), set(crashed)
    with ShardWriter(job.root, unit.stem) as shard:
        for source, taken in _taken([s for s in unit.sources if s.name not in crashed], job.gates, ahead, tell):
            made = _made(taken, job, nets)
            _write(shard, source, made)
            done = len(made.clip) if made.clip else 0
            frames += done
            tell(Progress(source.name, done))
        for source in unit.sources:
            if source.name in crashed:
                _write(shard, source, Made(None, gates.CRASHED, {"detail": "the worker process died"}))
                tell(Progress(source.name, 0))
    return frames


def _taken(
    sources: list[Source], limits: Gates, ahead: bool, tell: Callable[[Progress], None]
) -> Iterator[tuple[Source, Taken]]:
    """The videos in order, decoded; with `ahead`, one further than was asked for."""
    with ThreadPoolExecutor(1) as thread:
        coming = [thread.submit(take, source, limits) for source in sources[:1]] if ahead else []
        for i, source in enumerate(sources):
            tell(Progress(source.name))
            if not ahead:
                yield source, _guarded(functools.partial(take, source, limits), source)
                continue
            taken = _guarded(coming.pop().result, source)
            coming += [thread.submit(take, following, limits) for following in sources[i + 1 : i + 2]]
            yield source, taken


def _guarded(decode: Callable[[], Taken], source: Source) -> Taken:
    """One video that nobody foresaw must not cost the other half million; its traceback goes into the manifest."""
    try:
        return decode()
    except Exception:
        return Taken(source, [], None, gates.CRASHED, traceback.format_exc(limit=-3))


def _made(taken: Taken, job: Job, nets: FaceFinder) -> Made:
    try:
        return make(taken, job.dataset, nets, job.gates)
    except Exception:
        return Made(None, gates.CRASHED, {"detail": traceback.format_exc(limit=-3)})


def _write(shard: ShardWriter, source: Source, made: Made) -> None:
    facts = {"status": made.reason, "facts": made.facts}
    if made.clip is not None:
        shard.add(made.clip, **facts, curve=[round(float(value), 3) for value in made.curve])
    else:
        shard.skip(name=source.name, split=source.split, speaker=source.speaker, source=source.file, **facts)
