"""What a generator gets of sound that is still coming: for each frame only the sound before its look-ahead ends.

Frame k is shown from k / fps on. Sound later than k / fps + look-ahead has no effect on it. The speech recogniser is
run again for each frame, on the last 2 s of sound, and the Audio Encoder gets the frames before and after frame k whose
features are known, as at the end of a clip. Correlation of the mouth's opening with the real one (data set `talk`,
validation), by look-ahead in ms; the whole recording gives 0.648:

    80     120    160    200    240    320    400
    0.542  0.609  0.632  0.641  0.644  0.642  0.637

At 240 ms: the last 1 s of sound 0.626, the last 3 s 0.650, a window for every fourth frame 0.633. What stands for the
features after those that are known (nothing, the last ones again, zeros) made no difference.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from talkface.config import (
    MFCC_FFT,
    MFCC_HOP,
    MFCC_STEPS,
    MFCC_WINDOW,
    SOUND_RATE,
    SPEECH_RATE,
    STEPS_PER_SECOND,
)
from talkface.live.sound import LiveSound
from talkface.media.audio import mel_decibels, mfcc_at_level, speech_level
from talkface.media.windows import mfcc_windows
from talkface.model.frames import REACH
from talkface.model.hearing import features_at, window_vectors
from talkface.model.inference import AlignedFace, predict_lips
from talkface.model.onnx_engine import OnnxGenerator
from talkface.model.recogniser_sizes import PADDING, VECTORS_PER_SECOND

if TYPE_CHECKING:
    from talkface.model.generator import Generator
    from talkface.model.hearing import AnyEncoder

WINDOW = 2.0  # s that the recogniser takes in
LEVEL_SECONDS = 10  # of sound that the level of the speech is taken from
LEVEL_FLOOR = -45.0  # dB: what is softer than this is not taken for speech
GRID = 0.02  # s: the length of a window is a multiple of this


class FrameContext(NamedTuple):
    """The features of a frame and of its neighbours."""

    features: np.ndarray
    """float32 (n, F), or (n, 20, 13) MFCC windows: of the frame, of up to 8 before it and of those after it that are
    known, at most 8."""
    place: int
    """Which of them the frame is."""


class FeatureSource(Protocol):
    """Makes the features of frames from live sound."""

    def around(self, number: int) -> FrameContext:
        """The features of a frame, once the sound of its look-ahead has come."""


class RecogniserFeatures:
    """Features of the speech recogniser.

    Args:
        encoder: of `load_speech_encoder`.
        sound: what is heard.
        fps: frames per second.
        look_ahead: seconds.
    """

    def __init__(self, encoder: AnyEncoder, sound: LiveSound, fps: Fraction, look_ahead: float) -> None:
        self.encoder, self.sound, self.fps, self.look_ahead = encoder, sound, fps, look_ahead

    def around(self, number: int) -> FrameContext:
        """The features of a frame: float32 (n, 768)."""
        due = float(number / self.fps) + self.look_ahead
        # After the end of the sound there is silence, as `talkface.model.hearing` has it for whole recordings.
        end = min(due, self.sound.duration + PADDING) if self.sound.ended else due
        start = max(end - WINDOW, -PADDING)
        end = start + max(int((end - start) / GRID + 1e-6), 5) * GRID
        vectors = window_vectors(self.encoder, self.sound.window(start, end, SOUND_RATE))
        first = max(number - REACH, 0)
        times = (np.arange(first, number + REACH + 1) + 0.5) / float(self.fps)
        # Both vectors of a frame that counts as known lie within the window.
        known = (times + 1 / VECTORS_PER_SECOND <= end + 1e-6) | (np.arange(len(times)) <= number - first)
        return FrameContext(features_at(vectors, times[known] - start - PADDING), number - first)


class MfccFeatures:
    """The paper's windows of MFCC, whose level follows the speech of the last seconds.

    Args:
        sound: what is heard.
        fps: frames per second.
        look_ahead: seconds.
        alone: whether frames before and after the one are left out, for generators that take one window a frame.
    """

    def __init__(self, sound: LiveSound, fps: Fraction, look_ahead: float, alone: bool = False) -> None:
        self.sound, self.fps, self.look_ahead, self.reach = sound, fps, look_ahead, 0 if alone else REACH
        self._loudest: deque[float] = deque(maxlen=LEVEL_SECONDS * STEPS_PER_SECOND)
        self._next_step = 0  # the first one that has not counted for the level

    def around(self, number: int) -> FrameContext:
        """The windows of a frame: float32 (n, 20, 13)."""
        due = float(number / self.fps) + self.look_ahead
        over = self.sound.ended and due >= self.sound.duration
        end = self.sound.duration if over else due
        first = max(number - self.reach, 0)
        begin = max(int((first + 0.5) / float(self.fps) * STEPS_PER_SECOND) - MFCC_STEPS // 2 - 1, 0)
        # A step takes in 12.5 ms after its time, or silence after the end of the sound.
        last = max(int((end - (0 if over else MFCC_WINDOW / 2 / SPEECH_RATE)) * STEPS_PER_SECOND), begin)
        start = begin / STEPS_PER_SECOND - MFCC_FFT / 2 / SPEECH_RATE
        samples = self.sound.window(start, max(end, start), SPEECH_RATE)
        length = (last - begin) * MFCC_HOP + MFCC_FFT
        decibels = mel_decibels(np.pad(samples[:length], (0, max(length - len(samples), 0))))
        mfcc = mfcc_at_level(decibels, self._level(decibels, begin))
        frames = self._frames_known(number, last)
        return FrameContext(
            mfcc_windows(mfcc, frames - first, self.fps, offset=-begin / STEPS_PER_SECOND, first=first), number - first
        )

    def _frames_known(self, number: int, last: int) -> int:
        """One more than the last frame whose whole window is known; the frame itself counts in any case."""
        half = MFCC_STEPS // 2
        known = int(((last - half) / STEPS_PER_SECOND) * float(self.fps) + 0.5)
        return max(number + 1, min(known, number + self.reach + 1))

    def _level(self, decibels: np.ndarray, begin: int) -> float:
        """The level of the speech so far, in dB; the steps of `decibels` begin with number `begin`."""
        new = decibels[max(self._next_step - begin, 0) :].max(1)
        self._loudest.extend(new.tolist())
        self._next_step = max(self._next_step, begin + len(decibels))
        return max(speech_level(np.array(self._loudest)), LEVEL_FLOOR)


def live_lips(
    generator: Generator | OnnxGenerator,
    face: AlignedFace,
    features: FeatureSource,
    numbers: Iterable[int],
    expression: float = 1.0,
) -> Iterator[np.ndarray]:
    """The lips of each frame, float32 (40, 2) px of the aligned face.

    Args:
        generator: in eval mode.
        face: who speaks.
        features: where features come from.
        numbers: of the frames; each is asked for when its sound has come.
        expression: factor on the opening of the mouth.
    """
    for number in numbers:
        heard = features.around(number)
        *_, lips = _first(predict_lips(generator, face, heard.features, expression), heard.place + 1)
        yield lips


def _first(lips: Iterator[np.ndarray], count: int) -> Iterator[np.ndarray]:
    return (one for one, _ in zip(lips, range(count), strict=False))
