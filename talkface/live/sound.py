"""The last seconds of a sound that is still coming, at the rate that a listener wants."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from scipy.signal import resample_poly

from talkface.live.source import Block
from talkface.media.pcm import SoundFormat

KEPT_SECONDS = 4.0
PIECE_SECONDS = 0.1  # larger blocks are taken piece by piece


class LiveSound:
    """Takes blocks when more sound is needed, and keeps the last seconds of them.

    Args:
        blocks: the source.
        sound: its format.
        on_block: called with the samples of each block as it is taken.
    """

    def __init__(
        self, blocks: Iterable[Block], sound: SoundFormat, on_block: Callable[[np.ndarray], None] | None = None
    ) -> None:
        self._blocks, self._sound, self._on_block = _pieces(blocks, sound), sound, on_block
        self._held = np.zeros(0, np.float32)
        self._first = 0  # number of the first sample held
        self._arrivals: deque[tuple[int, float]] = deque()  # the sample at which each block ends, and when it came
        self.ended = False

    @property
    def samples(self) -> int:
        """How many samples have come."""
        return self._first + len(self._held)

    @property
    def duration(self) -> float:
        """Seconds of sound that have come."""
        return self.samples / self._sound.rate

    def wait_until(self, time: float) -> bool:
        """Take blocks until the sound before `time` (seconds) is there; False if it ends before that."""
        wanted = math.ceil(time * self._sound.rate - 1e-6)
        while self.samples < wanted and not self.ended:
            block = next(self._blocks, None)
            if block is None:
                self.ended = True
            else:
                self._take(block)
        return self.samples >= wanted

    def _take(self, block: Block) -> None:
        if self._on_block:
            self._on_block(block.samples)
        held = np.concatenate([self._held, self._sound.to_mono(block.samples)])
        drop = max(len(held) - round(KEPT_SECONDS * self._sound.rate), 0)
        self._held, self._first = held[drop:], self._first + drop
        self._arrivals.append((self.samples, block.arrived))
        while self._arrivals[0][0] < self._first:
            self._arrivals.popleft()

    def arrival(self, time: float) -> float:
        """When the sample at `time` (seconds) came, in seconds of the source's clock; the last one's after the end."""
        sample = time * self._sound.rate
        return next((when for end, when in self._arrivals if end > sample), self._arrivals[-1][1])

    def window(self, start: float, end: float, rate: int) -> np.ndarray:
        """The sound from `start` to `end` (seconds), float32 at `rate` Hz; silence where there is none."""
        first, last = (round(time * self._sound.rate) for time in (start, end))
        numbers = slice(max(first - self._first, 0), max(last - self._first, 0))
        inside = self._held[numbers]
        before = min(max(self._first - first, 0), last - first)
        padded = np.pad(inside, (before, last - first - before - len(inside)))
        if rate == self._sound.rate:
            return padded
        common = math.gcd(rate, self._sound.rate)
        resampled = resample_poly(padded, rate // common, self._sound.rate // common).astype(np.float32)
        wanted = round((end - start) * rate)
        return np.pad(resampled[:wanted], (0, max(wanted - len(resampled), 0)))


def _pieces(blocks: Iterable[Block], sound: SoundFormat) -> Iterator[Block]:
    """The blocks in pieces of PIECE_SECONDS at most."""
    size = max(1, round(PIECE_SECONDS * sound.rate))
    for block in blocks:
        for start in range(0, len(block.samples), size):
            yield block._replace(samples=block.samples[start : start + size])
