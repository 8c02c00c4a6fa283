"""The engine for many machines: one Ray actor per CPU, on the cluster at RAY_ADDRESS or on one of this machine.

Every machine must have talkface installed and must see the inputs and the folder of the batch under the same paths. The
actors write their videos there; only jobs and outcomes go through Ray. The crash of an actor costs one job.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from talkface.ray_cluster import ray_cluster
from talkface.workers import CRASHED, CRASHED_FIX, Failed, Finished, attempt


class _Actor:
    """Does one task at a time, in the folder of the driver, so that relative names mean the same."""

    def __init__(self, folder: str) -> None:
        os.chdir(folder)

    def attempt(self, task: Callable, arguments: tuple) -> Finished | Failed:
        return attempt(task, arguments, lambda value: None)


def run_ray(
    task: Callable, arguments: Sequence[tuple], workers: int, on_end: Callable[[int, Finished | Failed], None]
) -> int:
    """As `talkface.batch.local_engine.run_local`, on a Ray cluster; 0 workers for one actor per CPU of the cluster.

    Raises:
        TalkfaceError: Ray is not installed, or the cluster does not answer.
    """
    with ray_cluster() as ray:
        count = min(workers or int(ray.cluster_resources().get("CPU", 1)), len(arguments))
        _run(ray, task, arguments, max(count, 1), on_end)
    return count


def _run(
    ray: Any,
    task: Callable,
    arguments: Sequence[tuple],
    count: int,
    on_end: Callable[[int, Finished | Failed], None],
) -> None:
    waiting = list(reversed(range(len(arguments))))
    actor_class = ray.remote(num_cpus=1, max_restarts=0)(_Actor)
    running: dict[Any, tuple[int, Any]] = {}

    def begin(actor: Any = None) -> None:
        actor = actor or actor_class.remote(str(Path.cwd()))
        number = waiting.pop()
        running[actor.attempt.remote(task, arguments[number])] = number, actor

    while waiting or running:
        while waiting and len(running) < count:
            begin()
        (call,), _ = ray.wait(list(running), num_returns=1)
        number, actor = running.pop(call)
        try:
            outcome = ray.get(call)
        except ray.exceptions.RayError as error:  # the actor or its machine has died
            outcome = Failed(CRASHED, CRASHED_FIX, str(error))
        else:
            if waiting:
                begin(actor)
        on_end(number, outcome)
