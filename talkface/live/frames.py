"""Frames of a face that says what is in a sound that is still coming.

A frame is made as soon as the sound of its look-ahead is there. After the end of the sound the remaining frames follow
at once: there are ceil(duration x fps) of them, as for a recording.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import numpy as np

from talkface.live.hearing import FeatureSource, MfccFeatures, RecogniserFeatures, live_lips
from talkface.live.sound import LiveSound
from talkface.media.timing import frame_count
from talkface.model.backend import speech_encoder_beside
from talkface.model.inference import AlignedFace, OutputFrame, generate_frames
from talkface.model.onnx_engine import OnnxGenerator
from talkface.model.talking import is_paper, takes_mfcc

if TYPE_CHECKING:
    from talkface.model.checkpoint import AnyGenerator
    from talkface.model.generator import Generator

LATE = 0.1  # s after which a frame that is due is not made any more
HURRY = 0.7  # of 1 / fps: frames are due at this distance at least, so that a delay is made up for bit by bit
PACE_SECONDS = 1.0  # of sound over which the pace of the source is judged
REAL_TIME = 0.7  # s that this much sound takes at least to come, if it comes in real time: blocks may hold 0.3 s


@dataclass
class Latency:
    """How long after its sound each frame left.

    Frames do not count whose sound came faster than it plays, as from a file, or before `ready`.
    """

    ready: float = -np.inf
    """When the first frame could have been made."""
    seconds: list[float] = field(default_factory=list)
    _sound: dict[int, float] = field(default_factory=dict)

    def expect(self, number: int, start: float, sound: LiveSound) -> None:
        """The sound at the start of a frame, at `start` seconds, has come."""
        arrival = sound.arrival(start)
        if arrival < self.ready or start < PACE_SECONDS:
            return
        if arrival - sound.arrival(start - PACE_SECONDS) >= REAL_TIME:
            self._sound[number] = arrival

    def left(self, number: int, now: float | None = None) -> None:
        """A frame has left."""
        arrival = self._sound.pop(number, None)
        if arrival is not None:
            self.seconds.append((time.perf_counter() if now is None else now) - arrival)

    def percentile(self, percent: float) -> float | None:
        """Seconds; None if no frame counts."""
        return float(np.percentile(self.seconds, percent)) if self.seconds else None


class LiveFrames:
    """The pictures of the video in order, uint8 RGB. Iterate over it once.

    Args:
        generator: in eval mode.
        face: who speaks.
        show: makes the picture of a frame: the aligned face, or the photo with the face in it.
        sound: what is said.
        fps: frames per second.
        look_ahead: seconds of sound after the start of a frame that it may depend on.
        expression: factor on the opening of the mouth.
        is_late: told when a frame became due, says whether it is too late to make it: then the one before is repeated.
        due: when the first frame is due at the earliest, in seconds of the clock.
        latency: told when the sound of each frame came.
    """

    def __init__(
        self,
        generator: AnyGenerator | OnnxGenerator,
        face: AlignedFace,
        show: Callable[[OutputFrame], np.ndarray],
        sound: LiveSound,
        fps: Fraction,
        look_ahead: float,
        *,
        expression: float = 1.0,
        is_late: Callable[[float], bool] | None = None,
        due: float = -np.inf,
        latency: Latency | None = None,
    ) -> None:
        self.sound, self.fps, self.look_ahead = sound, fps, look_ahead
        self.repeated, self._show = 0, show
        self._is_late, self._due, self._latency, self._current = is_late, due, latency, -1
        if is_paper(generator):
            from talkface.model.torch_engine import generate_paper_frames

            features: FeatureSource = MfccFeatures(sound, fps, look_ahead, alone=True)
            windows = (heard.features[heard.place] for heard in map(features.around, self._numbers()))
            self._made: Iterator[OutputFrame] = generate_paper_frames(generator, face, windows)
            return
        speaker = cast("Generator | OnnxGenerator", generator)
        if takes_mfcc(speaker):
            features = MfccFeatures(sound, fps, look_ahead)
        else:
            features = RecogniserFeatures(speech_encoder_beside(speaker), sound, fps, look_ahead)
        lips = live_lips(speaker, face, features, self._numbers(), expression)
        self._made = generate_frames(speaker, face, lips, float(fps))

    def __iter__(self) -> Iterator[np.ndarray]:
        number, picture = 0, None
        for frame in self._made:
            yield from self._repeated(picture, self._current - number)
            picture = self._show(frame)
            yield picture
            number = self._current + 1
        yield from self._repeated(picture, frame_count(self.sound.duration, self.fps) - number)

    def _repeated(self, picture: np.ndarray | None, times: int) -> Iterator[np.ndarray]:
        """The picture in place of frames that were too late."""
        if picture is not None:
            self.repeated += times
            yield from itertools.repeat(picture, times)

    def _numbers(self) -> Iterable[int]:
        """The numbers of the frames that are made, each when the sound of its look-ahead has come."""
        number, due, period = 0, self._due, float(1 / self.fps)
        while True:
            start = float(number / self.fps)
            whole = self.sound.wait_until(start + self.look_ahead)
            if not whole and number >= frame_count(self.sound.duration, self.fps):
                return
            due = max(self.sound.arrival(start + self.look_ahead), due + HURRY * period)
            if self._latency:
                self._latency.expect(number, start, self.sound)
            if number == 0 or not whole or self._is_late is None or not self._is_late(due):
                self._current = number
                yield number
            number += 1
