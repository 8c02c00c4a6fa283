"""The engine for one machine: worker processes, one for each core, each of which gets one shard at a time over a pipe.

This is not concurrent.futures, because there the crash of one worker process (a bug in a decoder, too little memory)
ends the whole pool. Here it costs one video: the shard is written again without decoding in advance, and if the process
crashes again, the video that it was working on is skipped as "crashed".
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
from talkface.preprocess.worker import Progress, RunSpec, ShardAttempt, build_shard, face_finder

TIMEOUT = 600.0  # seconds without a message, after which a worker counts as hung and is killed


class _Worker:
    """A worker process, the pipe to it, and its current shard."""

    def __init__(self, run: RunSpec, attempt: ShardAttempt) -> None:
        # Spawned, not forked: the fork of a process in which torch has run threads can hang.
        context = multiprocessing.get_context("spawn")
        self.pipe, other_end = context.Pipe()
        self.process = context.Process(target=_worker_main, args=(other_end, run), daemon=True)
        self.process.start()
        other_end.close()
        self.assign(attempt)

    def assign(self, attempt: ShardAttempt) -> None:
        """Send it the next shard."""
        self.attempt, self.last_video, self.last_message = attempt, "", time.monotonic()
        self.pipe.send(attempt)

    def receive(self) -> Progress | BaseException | None:
        """Its next message: progress, None if its shard is finished, or the exception that ended it."""
        try:
            message = self.pipe.recv()
        except (EOFError, OSError) as end:
            message = end
        self.last_message = time.monotonic()
        if isinstance(message, Progress) and message.frames is None:
            self.last_video = message.name
        return message

    def stop(self, terminate: bool = False) -> None:
        """End the process: an idle worker ends when its pipe is closed, one with a shard must be terminated."""
        self.pipe.close()
        if terminate:
            self.process.terminate()
        self.process.join(10)
        self.process.kill()


def run_local(shards: list[ShardSpec], run: RunSpec, workers: int, report: Callable[[Progress], None]) -> int:
    """Write all shards with `workers` processes; 0 for one process per core.

    Returns:
        The number of processes.

    Raises:
        TalkfaceError: a worker could not go on, for example because the weights are missing or the disk is full.
    """
    count = min(workers or cores(), len(shards))
    waiting = [ShardAttempt(shard) for shard in reversed(shards)]
    busy: list[_Worker] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < count:
                busy.append(_Worker(run, waiting.pop()))
            for worker in _with_message(busy):
                message = worker.receive()
                if isinstance(message, Progress):
                    report(message)
                elif message is None and waiting:
                    worker.assign(waiting.pop())
                elif message is None or isinstance(message, (EOFError, OSError)):
                    busy.remove(worker)
                    worker.stop()
                    waiting += [worker.attempt.after_crash(worker.last_video)] if message is not None else []
                else:
                    raise message
    finally:
        for worker in busy:
            worker.stop(terminate=True)
    return count


def _with_message(workers: list[_Worker]) -> list[_Worker]:
    """The workers that have sent a message or have ended. Those without a message for TIMEOUT are killed."""
    for worker in workers:
        if time.monotonic() - worker.last_message > TIMEOUT:
            worker.process.kill()
    ready = wait([worker.pipe for worker in workers], timeout=5.0)
    return [worker for worker in workers if worker.pipe in ready]


def _worker_main(pipe: Connection, run: RunSpec) -> None:
    """The main function of a worker process: shards come over the pipe and progress goes back, until it is closed."""
    # Ctrl-C and the end of a terminal reach the parent process too, which ends its workers.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # so that files are cleaned up
    try:
        face_finder()
        while True:
            build_shard(pipe.recv(), run, pipe.send)
            pipe.send(None)
    except (EOFError, BrokenPipeError):
        return  # the parent process has ended
    except TalkfaceError as error:
        pipe.send(error)
    except Exception:
        pipe.send(RuntimeError(f"in a worker:\n{traceback.format_exc()}"))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
