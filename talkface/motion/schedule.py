"""How far lids are closed, the head is turned and brows are raised at each moment: functions of time and a seed.

The same seed gives the same movement at every frame rate.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from talkface.motion.accents import Accents
from talkface.motion.field import HeadPose
from talkface.motion.geometry import smoothstep

CLOSING, SHUT, OPENING = 0.1, 0.04, 0.2  # s: parts of a blink
BLINK = CLOSING + SHUT + OPENING
PAUSES = (2.0, 6.0)  # s from one blink to the next
TWICE = 0.12  # share of blinks that are followed by another one at once
BETWEEN_TWO = 0.1  # s between the two
QUIET_ENDS = 0.5  # s at the beginning and the end without a blink

ONSET = 1.0  # s in which movement begins, so that a video begins with the photo
WAVES = 5  # sinusoids in each component
SLOWEST, FASTEST = 0.12, 1.9  # Hz
# At --motion 1: degrees that the slow movement reaches (three standard deviations), and those that an accent adds.
RANGES = np.array((13.8, 11.0, 7.0))  # yaw, pitch, roll
ACCENTS = np.array((5.3, 11.5, 3.7))
LEAN = 0.11  # Hz: how often the sides to which accents turn the head change


class Pose(NamedTuple):
    """What has moved against the photo."""

    head: HeadPose
    closed: float
    """How far the lids are closed, in [0, 1]."""


def closing(seconds: float) -> float:
    """How far the lids are closed so long after a blink has begun, in [0, 1]."""
    if seconds < CLOSING + SHUT:
        return float(smoothstep(seconds / CLOSING))
    return 1 - float(smoothstep((seconds - CLOSING - SHUT) / OPENING))


def blink_times(duration: float, seed: int) -> np.ndarray:
    """When blinks begin in a video of `duration` seconds, float64 (blinks,) in seconds, ascending.

    Every blink lies between 0.5 s after the beginning and 0.5 s before the end.
    """
    random = np.random.default_rng((seed, 0))
    times: list[float] = []
    now = QUIET_ENDS + random.uniform(0.3, 1.0) * (PAUSES[0] + PAUSES[1]) / 2 - PAUSES[0] / 2
    while now + BLINK <= duration - QUIET_ENDS:
        times.append(now)
        second = now + BLINK + BETWEEN_TWO
        if random.random() < TWICE and second + BLINK <= duration - QUIET_ENDS:
            times.append(second)
            now = second
        now += random.uniform(*PAUSES)
    return np.array(times)


class Schedule:
    """The movement of one video.

    Args:
        duration: of the video, seconds.
        accents: of its speech.
        seed: of the movement.
        motion: how much head and brows move, in [0, 1].
        blink: whether the lids close.
    """

    def __init__(self, duration: float, accents: Accents, seed: int, motion: float, blink: bool) -> None:
        self.accents, self.motion = accents, motion
        self.blinks = blink_times(duration, seed) if blink else np.empty(0)
        random = np.random.default_rng((seed, 1))
        low, high = np.log((SLOWEST, FASTEST))
        # One frequency from each fifth of the range, so that no component happens to be all slow or all fast.
        parts = (np.arange(WAVES) + random.random((3, WAVES))) / WAVES
        self._turns = 2 * np.pi * np.exp(low + (high - low) * parts)  # (3, WAVES) radians a second
        self._phases = random.uniform(0, 2 * np.pi, (3, WAVES))
        sizes = self._turns**-0.5
        self._sizes = sizes / (3 * np.sqrt((sizes**2).sum(1, keepdims=True) / 2)) * RANGES[:, None]
        self._lean = random.uniform(0, 2 * np.pi, 2)

    def at(self, seconds: float) -> Pose:
        """The pose at a moment."""
        return Pose(self._head(seconds), self._closed(seconds))

    def _closed(self, seconds: float) -> float:
        begun = np.searchsorted(self.blinks, seconds, "right")
        since = seconds - self.blinks[begun - 1] if begun else BLINK
        return closing(since) if since < BLINK else 0.0

    def _head(self, seconds: float) -> HeadPose:
        if self.motion == 0:
            return HeadPose()
        slow = (self._sizes * (np.sin(self._turns * seconds + self._phases) - np.sin(self._phases))).sum(1)
        slow = RANGES * np.tanh(slow / RANGES)
        accent = self.accents.at(seconds)
        aside, tilt = np.sin(2 * np.pi * LEAN * seconds * np.array((1, 1.6)) + self._lean)
        angles = slow + accent * ACCENTS * (aside, 1, tilt)
        share = self.motion * float(smoothstep(seconds / ONSET))
        yaw, pitch, roll = (float(angle) for angle in share * angles)
        return HeadPose(yaw, pitch, roll, min(1.0, share * accent))
