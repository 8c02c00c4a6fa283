"""The work of one process of a batch: it renders one job after another and keeps the networks and faces.

PyTorch is imported only where a job is rendered, so that the parent process, which names the function, does without.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talkface.batch.jobs import Job
from talkface.batch.state import job_key
from talkface.errors import TalkfaceError
from talkface.files import sha256
from talkface.kept import Kept

REPORT_EVERY = 0.2  # seconds between two reports of a job
COARSE_RATE = 2000  # Hz; enough to measure the length of a recording


@dataclass(frozen=True)
class Task:
    """A job, and where its unfinished video is written."""

    job: Job
    part: Path
    max_seconds: float | None = None
    """A longer recording is refused. None: any length."""


@dataclass(frozen=True)
class Result:
    """What a job has made."""

    sha256: str
    """Of the video."""
    key: str
    """`job_key`"""
    frames: int
    seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """A job's progress."""

    frames: int
    """Frames done."""
    total: int


@functools.cache
def kept_in_this_process() -> Kept:
    """Return the networks and faces of this process, which gets one thread: there is one process for each core."""
    import cv2

    from talkface.graphs import limit_threads

    os.environ["OMP_NUM_THREADS"] = "1"  # read by PyTorch, should a job need it
    limit_threads(1)
    cv2.setNumThreads(1)
    return Kept()


def render_job(task: Task, report: Callable[[Any], None]) -> Result:
    """Render one job into `task.part`.

    Args:
        task: the job.
        report: called with a `Step` now and then, and with each note, a str.

    Raises:
        TalkfaceError: as `talkface.rendering.render`, or the recording is too long.
    """
    from talkface.rendering import render

    job, started = task.job, time.monotonic()
    last_report = 0.0

    def on_step(done: int, total: int) -> None:
        nonlocal last_report
        if done == total or time.monotonic() - last_report > REPORT_EVERY:
            last_report = time.monotonic()
            report(Step(done, total))

    kept = kept_in_this_process()
    key = job_key(job)
    if task.max_seconds is not None:
        _check_length(job.speech, task.max_seconds, job.options.track)
        _check_video(job.photo, task.max_seconds)
    try:
        done = render(job.photo, job.speech, task.part, job.options, on_step=on_step, on_note=report, kept=kept)
    except TalkfaceError as error:
        raise TalkfaceError(str(error).replace(str(task.part), str(job.out)), error.fix) from error
    return Result(sha256(task.part), key, done.frames, time.monotonic() - started, tuple(done.notes))


def _check_video(photo: Path, max_seconds: float) -> None:
    """Check the length of a video to dub, which is tracked from its start to its end."""
    from talkface.media.kind import is_video
    from talkface.media.video import probe

    if is_video(photo) and probe(photo).duration > max_seconds:
        raise TalkfaceError(f"{photo.name} is longer than {max_seconds:g} seconds.", "Give a shorter video.")


def _check_length(speech: Path, max_seconds: float, track: int | None) -> None:
    """Check the length of a recording by decoding no more of it than is allowed; its header may lie."""
    from talkface.media.decode import stream_audio

    samples = 0
    for block in stream_audio(speech, COARSE_RATE, track):
        samples += len(block)
        if samples > max_seconds * COARSE_RATE:
            raise TalkfaceError(
                f"{speech.name} is longer than {max_seconds:g} seconds.", "Give a shorter recording, or a part of it."
            )
