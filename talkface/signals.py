"""Signals that end the program, held back while a file or process is made that must be cleaned up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


def ending_signals() -> list[int]:
    """Return the numbers of the signals that end the program; Windows has no SIGHUP."""
    return [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


@contextmanager
def held_back() -> Iterator[None]:
    """Handle signals that arrive inside the block at its end.

    Their handlers raise an exception wherever the program is, for example between the start of a child process and the
    statement that notes it. Other threads than the main one are never interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    handlers: dict[int, Any] = {n: h for n in ending_signals() if callable(h := signal.getsignal(n))}
    for number in handlers:
        signal.signal(number, lambda number, frame: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in arrived:
            handlers[number](number, None)
