"""The engine for many machines: one Ray task per shard, on the cluster at RAY_ADDRESS or on one of this machine.

Every machine must have talkface installed and must see the videos and the folder of the data set under the same paths.
The workers write their shards there; only the names and the results of videos go through Ray. As with the local engine,
the crash of a worker process costs one video.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from talkface.preprocess.plan import ShardSpec
from talkface.preprocess.worker import Progress, RunSpec, ShardAttempt, build_shard
from talkface.ray_cluster import ray_cluster

TIMEOUT = 600.0  # seconds without a report, after which a task that has begun counts as hung and is cancelled
POLL = 1.0  # seconds


class _ProgressQueue:
    """A Ray actor to which the tasks report and from which the driver reads."""

    def __init__(self) -> None:
        self._reports: list[tuple[str, Progress]] = []

    def report(self, shard: str, progress: Progress) -> None:
        self._reports.append((shard, progress))

    def read(self) -> list[tuple[str, Progress]]:
        """All reports since the last call."""
        reports, self._reports = self._reports, []
        return reports


def run_ray(shards: list[ShardSpec], run: RunSpec, workers: int, report: Callable[[Progress], None]) -> int:
    """Write all shards with at most `workers` tasks at a time; 0 for one task per CPU of the cluster.

    Returns:
        The number of tasks at a time.

    Raises:
        TalkfaceError: Ray is not installed, the cluster does not answer, or as `run_local`.
    """
    with ray_cluster() as ray:
        count = min(workers or int(ray.cluster_resources().get("CPU", 1)), len(shards))
        _Scheduler(ray, run, report).write(shards, count)
    return count


class _Scheduler:
    """Starts the tasks, and restarts those that crash or hang."""

    def __init__(self, ray: Any, run: RunSpec, report: Callable[[Progress], None]) -> None:
        self.ray, self.report = ray, report
        self.run = ray.put(run)
        self.queue = ray.remote(num_cpus=0)(_ProgressQueue).remote()
        # No retries by Ray: it would start the shard from the beginning again and again. We know the video that failed.
        self.task = ray.remote(num_cpus=1, max_retries=0)(_ray_task)
        self.running: dict[Any, ShardAttempt] = {}
        self.last_report: dict[str, tuple[str, float]] = {}  # by shard: the video, and when it was reported

    def write(self, shards: list[ShardSpec], count: int) -> None:
        """Write all shards with at most `count` tasks at a time."""
        waiting = [ShardAttempt(shard) for shard in reversed(shards)]
        while waiting or self.running:
            while waiting and len(self.running) < count:
                attempt = waiting.pop()
                self.running[self.task.remote(attempt, self.run, self.queue)] = attempt
            finished, _ = self.ray.wait(list(self.running), timeout=POLL)
            self._read_reports()
            waiting += [again for task in finished if (again := self._collect(task))]
            self._cancel_hung()

    def _read_reports(self) -> None:
        for shard, progress in self.ray.get(self.queue.read.remote()):
            self.last_report[shard] = progress.name, time.monotonic()
            self.report(progress)

    def _collect(self, task: Any) -> ShardAttempt | None:
        """The next attempt if a task has crashed, None if it has written its shard."""
        attempt = self.running.pop(task)
        video, _ = self.last_report.pop(attempt.shard.stem, ("", 0.0))
        errors = self.ray.exceptions
        try:
            self.ray.get(task)
        except errors.RayTaskError as error:
            raise error.cause from error
        except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError, errors.TaskCancelledError):
            return attempt.after_crash(video)
        return None

    def _cancel_hung(self) -> None:
        for task, attempt in self.running.items():
            _, when = self.last_report.get(attempt.shard.stem, ("", time.monotonic()))
            if time.monotonic() - when > TIMEOUT:
                self.ray.cancel(task, force=True)


def _ray_task(attempt: ShardAttempt, run: RunSpec, queue: Any) -> None:
    """Write one shard. Each report is waited for, so that the last video of a crashed task is known."""
    import ray

    def report(progress: Progress) -> None:
        ray.get(queue.report.remote(attempt.shard.stem, progress))

    build_shard(attempt, run, report)
