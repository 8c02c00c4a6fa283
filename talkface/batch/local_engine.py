"""The engine for one machine: worker processes, each of which renders one job at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from talkface.workers import Failed, Finished, Reported, Worker, cores, messages

GPU_WORKERS = 4  # each has its own copy of the networks on the GPU
NVIDIA = Path("/dev/nvidiactl")


def default_workers() -> int:
    """Return the number of processes: one for each core, and with an NVIDIA GPU at most GPU_WORKERS.

    This looks for a device file because PyTorch, which would tell, takes seconds to import.
    """
    return min(cores(), GPU_WORKERS) if NVIDIA.exists() else cores()


def run_local(
    task: Callable, arguments: Sequence[tuple], workers: int, on_end: Callable[[int, Finished | Failed], None]
) -> int:
    """Call `task(*arguments[i], report)` for each i with `workers` processes; 0 for `default_workers()`.

    Args:
        task: a function of a module, see `talkface.workers`.
        arguments: what it is called with.
        workers: how many processes.
        on_end: called in this process with i and the outcome as soon as a call has ended.

    Returns:
        The number of processes.
    """
    count = min(workers or default_workers(), len(arguments))
    waiting = list(reversed(range(len(arguments))))
    pool: list[Worker] = []
    current: dict[Worker, int] = {}

    def begin(worker: Worker) -> None:
        current[worker] = waiting.pop()
        worker.begin(task, *arguments[current[worker]])

    try:
        while waiting or current:
            while waiting and len(pool) < count:
                pool.append(Worker())
                begin(pool[-1])
            for worker, message in messages(pool):
                if isinstance(message, Reported):
                    continue
                done = current.pop(worker)
                if worker.alive and waiting:
                    begin(worker)  # first, so that it works while the outcome is handled
                elif not worker.alive:
                    pool.remove(worker)
                    worker.stop()
                on_end(done, message)
    finally:
        for worker in pool:
            worker.stop()
    return count
