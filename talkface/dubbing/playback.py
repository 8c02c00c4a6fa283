"""The frames of a video in the order in which a result of any length shows them, in constant memory.

pingpong   forwards, backwards, forwards, ...
repeat     again from the first frame
hold       the last frame stays
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, repeat
from pathlib import Path

import numpy as np

from talkface.dubbing.track import checksum
from talkface.errors import TalkfaceError

BACKWARD_BYTES = 200 * 2**20  # of frames that are in memory to be played backwards

ReadFrom = Callable[[int], Iterator[np.ndarray]]


class Player:
    """Plays a video whose frames are known by their checksums.

    Args:
        read: gives the frames from a number on.
        checksums: uint32 (T,), of the frames in the first pass.
        path: the video, for messages.
    """

    def __init__(self, read: ReadFrom, checksums: np.ndarray, path: Path) -> None:
        self.read, self.checksums, self.path = read, checksums, path

    def play(self, count: int, loop: str) -> Iterator[tuple[int, np.ndarray]]:
        """`count` frames with their numbers in the video."""
        return islice(self._endless(loop), count)

    def frame(self, number: int) -> np.ndarray:
        """One frame."""
        return self._span(number, number + 1)[0]

    def _endless(self, loop: str) -> Iterator[tuple[int, np.ndarray]]:
        last, frame = len(self.checksums) - 1, np.zeros((0, 0, 3), np.uint8)
        for number, frame in self._forwards():
            yield number, frame
        if loop == "hold" or last == 0:
            yield from repeat((last, frame))
        while loop == "repeat":
            yield from self._forwards()
        while True:
            yield from self._backwards(last, frame.nbytes)
            yield from islice(self._forwards(), 1, None)

    def _forwards(self) -> Iterator[tuple[int, np.ndarray]]:
        number = -1
        for number, frame in enumerate(islice(self.read(0), len(self.checksums))):
            yield number, frame
        if number + 1 < len(self.checksums):
            raise self._changed()

    def _backwards(self, stop: int, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """The frames before `stop`, the last one first."""
        step = max(2, BACKWARD_BYTES // size)
        while stop > 0:
            start = max(0, stop - step)
            held = self._span(start, stop)
            while held:
                stop -= 1
                yield stop, held.pop()

    def _span(self, start: int, stop: int) -> list[np.ndarray]:
        """The frames from `start` to `stop`; where seeking does not give them, the file is read from its beginning."""
        wanted = self.checksums[start:stop].tolist()
        for frames in (self.read(start), islice(self.read(0), start, None)):
            held = list(islice(frames, stop - start))
            if [checksum(frame) for frame in held] == wanted:
                return held
        raise self._changed()

    def _changed(self) -> TalkfaceError:
        return TalkfaceError(
            f"{self.path.name} gives other frames when it is read again.", "Leave the file as it is while it is dubbed."
        )
