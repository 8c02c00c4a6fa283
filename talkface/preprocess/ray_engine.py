"""The engine of many machines: a Ray task per shard, on the cluster that RAY_ADDRESS names or on one of this machine.

Every machine must see the videos and the data set's folder under the same paths, and have talkface installed. Workers
write their shards there themselves; through Ray go only the names of videos and what became of them. As with the local
engine, a worker's death costs one video.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from talkface.errors import TalkfaceError
from talkface.preprocess.plan import ShardSpec
from talkface.preprocess.worker import Progress, RunSpec, ShardAttempt, work_on

TIMEOUT = 600.0  # seconds without a word from a task that has begun, after which it is ended
POLL = 1.0  # seconds


class _Board:
    """An actor that workers report, and the driver reads."""

    def __init__(self) -> None:
        self._said: list[tuple[str, Progress]] = []

    def report(self, unit: str, progress: Progress) -> None:
        self._said.append((unit, progress))

    def read(self) -> list[tuple[str, Progress]]:
        said, self._said = self._said, []
        return said


def run_ray(units: list[ShardSpec], job: RunSpec, workers: int, report: Callable[[Progress], None]) -> int:
    """Do all units with at most `workers` tasks at a time; 0 for as many as the cluster has CPUs.

    Returns:
        How many tasks there were at a time.

    Raises:
        TalkfaceError: Ray is not installed; or what ended a worker, as `run_local`.
    """
    ray = _ray()
    ours = not ray.is_initialized()
    if ours:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(log_to_driver=False)
    try:
        workers = min(workers or int(ray.cluster_resources().get("CPU", 1)), len(units))
        _Crew(ray, job, report).do(units, workers)
    finally:
        if ours:
            ray.shutdown()
    return workers


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise TalkfaceError("--engine ray needs Ray.", 'pip install "talkface[ray]"') from error
    return ray


class _Crew:
    """The tasks at work, and what was last heard of each."""

    def __init__(self, ray: Any, job: RunSpec, report: Callable[[Progress], None]) -> None:
        self.ray, self.report = ray, report
        self.job = ray.put(job)
        self.board = ray.remote(num_cpus=0)(_Board).remote()
        # What failed is tried again by us, who know at which video it was; Ray would start from the beginning for ever.
        self.task = ray.remote(num_cpus=1, max_retries=0)(_serve)
        self.at_work: dict[Any, ShardAttempt] = {}
        self.heard: dict[str, tuple[str, float]] = {}  # of a shard: last video, and when

    def do(self, units: list[ShardSpec], workers: int) -> None:
        waiting = [ShardAttempt(unit) for unit in reversed(units)]
        while waiting or self.at_work:
            while waiting and len(self.at_work) < workers:
                attempt = waiting.pop()
                self.at_work[self.task.remote(attempt, self.job, self.board)] = attempt
            finished, _ = self.ray.wait(list(self.at_work), timeout=POLL)
            self._listen()
            waiting += [again for task in finished if (again := self._end(task))]
            self._end_the_silent()

    def _listen(self) -> None:
        for unit, progress in self.ray.get(self.board.read.remote()):
            self.heard[unit] = progress.name, time.monotonic()
            self.report(progress)

    def _end(self, task: Any) -> ShardAttempt | None:
        """What is still to be done of a task that has ended."""
        attempt = self.at_work.pop(task)
        at, _ = self.heard.pop(attempt.unit.stem, ("", 0.0))
        errors = self.ray.exceptions
        try:
            self.ray.get(task)
        except errors.RayTaskError as error:
            raise error.cause from error
        except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError, errors.TaskCancelledError):
            return attempt.after_death(at)
        return None

    def _end_the_silent(self) -> None:
        for task, attempt in self.at_work.items():
            _, when = self.heard.get(attempt.unit.stem, ("", time.monotonic()))
            if time.monotonic() - when > TIMEOUT:
                self.ray.cancel(task, force=True)


def _serve(attempt: ShardAttempt, job: RunSpec, board: Any) -> None:
    """A task: one unit. It waits until it was heard, so that the last word of one who dies is known."""
    import ray

    def report(progress: Progress) -> None:
        ray.get(board.report.remote(attempt.unit.stem, progress))

    work_on(attempt, job, report)
