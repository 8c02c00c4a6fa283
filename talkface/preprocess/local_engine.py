"""The engine of one machine: a worker process per core, each fed with one shard at a time over a pipe.

Not concurrent.futures: there the death of one worker (a decoder's crash, the kernel short of memory) ends the whole
pool. Here it costs one video. The shard is done again without decoding prefetch; if a worker dies once more, the video
that it was at is skipped as "crashed".
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait

from talkface.device import cores
from talkface.errors import TalkfaceError
from talkface.preprocess.plan import ShardSpec
from talkface.preprocess.worker import Progress, RunSpec, ShardAttempt, finder, work_on

TIMEOUT = 600.0  # seconds without a word from a worker, after which it is taken for dead


class _Worker:
    """A process and the pipe to it."""

    def __init__(self, job: RunSpec, attempt: ShardAttempt) -> None:
        # Spawned, not forked: a fork of a process in which torch has run threads can hang.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, job), daemon=True)
        self.process.start()
        theirs.close()
        self.give(attempt)

    def give(self, attempt: ShardAttempt) -> None:
        self.attempt, self.at, self.heard = attempt, "", time.monotonic()
        self.pipe.send(attempt)

    def hear(self) -> Progress | BaseException | None:
        """What it says: progress, None when its unit is done, or what ended it."""
        try:
            message = self.pipe.recv()
        except (EOFError, OSError) as end:
            message = end
        self.heard = time.monotonic()
        if isinstance(message, Progress) and message.frames is None:
            self.at = message.name
        return message

    def end(self, at_work: bool = False) -> None:
        self.pipe.close()  # an idle worker ends by itself
        if at_work:
            self.process.terminate()
        self.process.join(10)
        self.process.kill()


def run_local(units: list[ShardSpec], job: RunSpec, workers: int, report: Callable[[Progress], None]) -> int:
    """Do all units with `workers` processes; 0 for one per core.

    Returns:
        How many processes there were.

    Raises:
        TalkfaceError: what ended a worker, as when the networks' weights are missing or the disk is full.
    """
    workers = min(workers or cores(), len(units))
    waiting = [ShardAttempt(unit) for unit in reversed(units)]
    crew: list[_Worker] = []
    try:
        while waiting or crew:
            while waiting and len(crew) < workers:
                crew.append(_Worker(job, waiting.pop()))
            for worker in _ready(crew):
                message = worker.hear()
                if isinstance(message, Progress):
                    report(message)
                elif message is None and waiting:
                    worker.give(waiting.pop())
                elif message is None or isinstance(message, (EOFError, OSError)):
                    crew.remove(worker)
                    worker.end()
                    waiting += [worker.attempt.after_death(worker.at)] if message is not None else []
                else:
                    raise message
    finally:
        for worker in crew:
            worker.end(at_work=True)
    return workers


def _ready(crew: list[_Worker]) -> list[_Worker]:
    """Workers that have something to say, or have died. Those that have been silent for too long are killed."""
    for worker in crew:
        if time.monotonic() - worker.heard > TIMEOUT:
            worker.process.kill()
    pipes = wait([worker.pipe for worker in crew], timeout=5.0)
    return [worker for worker in crew if worker.pipe in pipes]


def _serve(pipe: Connection, job: RunSpec) -> None:
    """A worker's life: units come over the pipe, progress goes back, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # by way of the clean-up
    try:
        finder()
        while True:
            attempt = pipe.recv()
            work_on(attempt, job, pipe.send)
            pipe.send(None)
    except (EOFError, BrokenPipeError):
        return  # the parent is gone
    except TalkfaceError as error:
        pipe.send(error)
    except Exception:
        pipe.send(RuntimeError(f"in a worker:\n{traceback.format_exc()}"))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
