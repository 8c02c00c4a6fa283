"""Work in a second thread, in order and with a bounded queue: paste-back and encoding beside the network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")
WAITING = 4  # items that may wait, which bounds the memory


class Beside(Generic[Item]):
    """Calls a function with one item after another in a second thread.

    As a context manager it waits for the thread at the end of its block, and drops the items that still wait if the
    block fails.

    Args:
        work: what is done with each item. An exception of it is raised by the next call of `put` or `finish`.
    """

    def __init__(self, work: Callable[[Item], None]) -> None:
        self._work = work
        self._waiting: deque[Future[None]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="beside")

    def __enter__(self) -> Beside[Item]:
        return self

    def put(self, item: Item) -> int:
        """Queue an item; waits while the queue is full.

        Returns:
            How many items were finished since the last call.
        """
        self._waiting.append(self._thread.submit(self._work, item))
        finished = 0
        while self._waiting and (len(self._waiting) > WAITING or self._waiting[0].done()):
            self._waiting.popleft().result()
            finished += 1
        return finished

    def finish(self) -> int:
        """Wait until all items are finished.

        Returns:
            How many items were finished since the last call.
        """
        finished = len(self._waiting)
        while self._waiting:
            self._waiting.popleft().result()
        return finished

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
