"""Worker processes that do one task at a time. The crash of a process costs its task and nothing else.

This is not concurrent.futures, because there the crash of one process (a bug in a decoder, too little memory) ends the
whole pool. A task is a function that can be imported, and arguments that can be pickled. It is called with `report`, a
function that sends what it is given to the parent process:

    worker = Worker()
    worker.begin(render_job, job)
    for worker, message in messages([worker]):      # Reported(value), ..., then Finished(result) or Failed(...)
        ...
    worker.stop()
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from talkface.errors import TalkfaceError

TIMEOUT = 600.0  # seconds without a message, after which a process counts as hung and is killed
CRASHED = "The process that worked on it has crashed."
CRASHED_FIX = "Check the free memory. If it crashes again while nothing else runs, report a bug with this input."


@dataclass(frozen=True)
class Reported:
    """A task is under way and has reported `value`."""

    value: Any


@dataclass(frozen=True)
class Finished:
    """A task has returned `result`."""

    result: Any


@dataclass(frozen=True)
class Failed:
    """A task has failed."""

    problem: str
    fix: str = ""
    trace: str = ""
    """The traceback of a bug; empty for an error that the user can fix."""


Message = Reported | Finished | Failed


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Worker:
    """A process, the pipe to it, and whether it is alive. It starts at once and imports what its tasks need."""

    def __init__(self) -> None:
        # Spawned, not forked: the fork of a process in which torch has run threads can hang.
        context = multiprocessing.get_context("spawn")
        self.pipe, other_end = context.Pipe()
        self.process = context.Process(target=_main, args=(other_end,), daemon=True)
        self.process.start()
        other_end.close()
        self.alive, self.busy = True, False

    def begin(self, task: Callable[..., Any], *arguments: Any) -> None:
        """Let the process call `task(*arguments, report)`."""
        self.busy, self._last_message = True, time.monotonic()
        with suppress(OSError):  # it has crashed while idle; `receive` says so
            self.pipe.send((task, arguments))

    def receive(self) -> Message:
        """Return the next message of the task; waits for it."""
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            message, self.alive = Failed(CRASHED, CRASHED_FIX), False
        self._last_message = time.monotonic()
        self.busy = isinstance(message, Reported)
        return message

    def kill_if_hung(self) -> None:
        """Kill the process if its task has sent no message for TIMEOUT seconds."""
        if self.busy and time.monotonic() - self._last_message > TIMEOUT:
            self.process.kill()

    def stop(self) -> None:
        """End the process; a task that is under way is interrupted and deletes its unfinished files."""
        self.pipe.close()
        if self.busy:
            self.process.terminate()
        self.process.join(10)
        self.process.kill()
        self.process.join()
        self.alive = self.busy = False


def messages(workers: Sequence[Worker], timeout: float = 5.0) -> Iterator[tuple[Worker, Message]]:
    """Yield one message of each busy worker that has sent one, or has ended, within `timeout` seconds."""
    busy = [worker for worker in workers if worker.busy]
    for worker in busy:
        worker.kill_if_hung()
    ready = wait([worker.pipe for worker in busy], timeout)
    for worker in busy:
        if worker.pipe in ready:
            yield worker, worker.receive()


def attempt(task: Callable[..., Any], arguments: Sequence[Any], report: Callable[[Any], None]) -> Finished | Failed:
    """Call a task and return its outcome; its exceptions become `Failed`."""
    try:
        return Finished(task(*arguments, report))
    except TalkfaceError as error:
        return Failed(str(error), error.fix)
    except Exception as bug:
        name = type(bug).__name__
        return Failed(f"Bug in talkface: {name}: {bug}", "Report it with the traceback.", traceback.format_exc())


def _main(pipe: Connection) -> None:
    """The main function of a process: tasks come over the pipe and messages go back, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent process, which ends its workers
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # so that files are cleaned up
    with suppress(EOFError, OSError):  # the parent process has ended
        while True:
            task, arguments = pipe.recv()
            pipe.send(attempt(task, arguments, lambda value: pipe.send(Reported(value))))
