"""Sound as it comes: blocks from a pipe or from Python, with the times of their arrival, and silence where none comes.

A block is (samples, channels) in the format of the source.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from talkface.errors import TalkfaceError
from talkface.files import STDIN_NAMES
from talkface.media.pcm import SoundFormat, parse_sound_format

Clock = Callable[[], float]
READ_SECONDS = 0.1  # the most that is read at a time
HELD_SECONDS = 10.0  # read ahead of a source that outruns time; then the writer of the pipe has to wait
MOST_SECONDS = 60.0  # read ahead of a source in real time, if this machine is slower
BACKLOG_SECONDS = 4.0  # of sound that may wait in the pipe until we begin to read
FASTER = 1.25  # times real time, from which on a source outruns time
GRACE = 0.25  # s without sound until silence takes its place: capture programs write up to 0.2 s at a time
SILENCE_SECONDS = 0.02  # of one block of silence


class Block(NamedTuple):
    """Some sound."""

    samples: np.ndarray
    """(samples, channels)."""
    arrived: float
    """When it came, in seconds of the clock."""


def stamped(blocks: Iterable[np.ndarray], clock: Clock = time.perf_counter) -> Iterator[Block]:
    """Blocks with the time at which they were given."""
    for block in blocks:
        yield Block(block, clock())


def array_blocks(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Blocks as Python programs have them, in the format f32le with one channel: float32 (samples, 1).

    Args:
        blocks: float in [-1, 1] or int16; (samples,) or (samples, channels), whose mean is taken.

    Raises:
        TalkfaceError: a block is something else.
    """
    for block in blocks:
        array = np.asarray(block)
        if array.ndim not in (1, 2) or not (array.dtype == np.int16 or np.issubdtype(array.dtype, np.floating)):
            raise TalkfaceError(
                f"A block of sound has shape {array.shape} and type {array.dtype}.",
                "Give int16, or float from -1 to 1, as (samples,) or (samples, channels).",
            )
        scaled = array.astype(np.float32) / (2**15 if array.dtype == np.int16 else 1)
        yield scaled.reshape(len(scaled), -1).mean(1, keepdims=True) if scaled.size else np.zeros((0, 1), np.float32)


def source_name(path: str | Path) -> str:
    """The name of a source for messages."""
    return "Standard input" if str(path) in STDIN_NAMES else str(path)


def open_sound(path: str | Path) -> BinaryIO:
    """Open raw sound that comes through a pipe or a file; "-" is standard input.

    Raises:
        TalkfaceError: it cannot be opened, or it is a terminal.
    """
    standard = str(path) in STDIN_NAMES
    try:
        stream: BinaryIO = os.fdopen(os.dup(0), "rb") if standard else Path(path).open("rb")  # noqa: SIM115
    except OSError as error:
        raise TalkfaceError(
            f"{path} cannot be opened: {error.strerror}.", "Give - to read sound from standard input."
        ) from error
    if stream.isatty():
        stream.close()
        raise TalkfaceError(
            f"{source_name(path)} is a terminal, not a recording.",
            "Pipe sound in, as in: arecord -t raw -f S16_LE -r 16000 | talkface render photo.jpg - ...",
        )
    return stream


def read_blocks(stream: BinaryIO, sound: SoundFormat) -> Iterator[np.ndarray]:
    """Yield sound as soon as some has come, READ_SECONDS at most, and close the stream at its end.

    An incomplete sample at the end is left out.
    """
    wanted = max(1, round(READ_SECONDS * sound.rate)) * sound.sample_bytes
    held = b""
    with stream:
        while data := os.read(stream.fileno(), wanted):
            held += data
            whole = len(held) // sound.sample_bytes * sound.sample_bytes
            if whole:
                yield sound.decode(held[:whole])
            held = held[whole:]


class SteadySource:
    """Blocks from another thread, and silence at real-time pace while none come. Iterate over it once.

    Sound that comes faster than it plays is passed on as fast as it is taken, and its writer waits for us. Silence is
    inserted only while the sound passed on is shorter than the time since the start.

    Args:
        blocks: read in a thread of its own from now on; it may block as long as it likes.
        sound: its format.
        path: name of the source; "-" is standard input.
        clock: seconds; a test may bring its own.

    Raises:
        TalkfaceError: while it is iterated: the source ended without any sound.
    """

    def __init__(
        self, blocks: Iterable[np.ndarray], sound: SoundFormat, path: str | Path, clock: Clock = time.perf_counter
    ) -> None:
        self.clock, self.sound, self.path = clock, sound, path
        self.silence = 0.0  # seconds inserted
        self.outruns_time = False  # whether the sound has come faster than it plays, as from a file
        self.ended = False  # although some blocks may still be held
        self._received = 0  # samples
        self._held = 0.0  # seconds
        self._room = threading.Condition()
        self._queue: queue.Queue[Block | BaseException | None] = queue.Queue()
        threading.Thread(target=self._read, args=(blocks,), daemon=True).start()

    @classmethod
    def open(cls, path: str | Path, sound_format: str) -> SteadySource:
        """Read raw sound from a pipe or a file from now on; "-" is standard input.

        Raises:
            TalkfaceError: it cannot be opened, it is a terminal, or the format is not valid.
        """
        sound = parse_sound_format(sound_format)
        return cls(read_blocks(open_sound(path), sound), sound, path)

    def skip_held(self) -> None:
        """Forget the sound that has come so far."""
        while not self.ended:
            try:
                block = self._queue.get_nowait()
            except queue.Empty:
                return
            if not isinstance(block, Block):
                self._queue.put(block)
                return
            self._release(block)

    def __iter__(self) -> Iterator[Block]:
        started = arrived = self.clock()
        passed = 0.0
        while True:
            due = max(started + passed, arrived) + GRACE
            try:
                block = self._queue.get(timeout=max(due - self.clock(), 0))
            except queue.Empty:
                passed += SILENCE_SECONDS
                self.silence += SILENCE_SECONDS
                yield Block(self.sound.silence(round(SILENCE_SECONDS * self.sound.rate)), self.clock())
                continue
            if isinstance(block, BaseException):
                raise block
            if block is None:
                break
            self._release(block)
            passed += len(block.samples) / self.sound.rate
            arrived = block.arrived
            yield block
        if not self._received:
            raise TalkfaceError(
                f"{source_name(self.path)} is empty (0 bytes), not a recording.", "Check the command that writes it."
            )

    def _release(self, block: Block) -> None:
        with self._room:
            self._held -= len(block.samples) / self.sound.rate
            self._room.notify()

    def _wait_for_room(self, begun: float) -> None:
        """Let the writer wait. A source in real time waits much later: it is this machine that is slow then."""
        if self._held > HELD_SECONDS and not self.outruns_time:
            newly = self._received / self.sound.rate - BACKLOG_SECONDS
            self.outruns_time = newly > FASTER * (self.clock() - begun)
        most = HELD_SECONDS if self.outruns_time else MOST_SECONDS
        self._room.wait_for(lambda: self._held <= most)

    def _read(self, blocks: Iterable[np.ndarray]) -> None:
        begun = self.clock()
        end: BaseException | None = None
        try:
            for block in stamped(blocks, self.clock):
                with self._room:
                    self._wait_for_room(begun)
                    self._held += len(block.samples) / self.sound.rate
                self._received += len(block.samples)
                self._queue.put(block)
        except BaseException as error:
            end = error
        self.ended = True
        self._queue.put(end)
