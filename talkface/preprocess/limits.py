"""The quality limits that decide whether a video becomes a clip."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from talkface.errors import TalkfaceError
from talkface.preprocess import reasons


@dataclass(frozen=True)
class QualityLimits:
    """A video becomes a clip if each of its measured figures is within the limit given here.

    Raises:
        TalkfaceError: a limit is not a finite number, or not 1 <= min_frames <= piece_frames.
    """

    min_frames: int = 10
    """Number of frames, at 25 frames per second."""

    piece_frames: int = 250
    """Number of frames, at 25 frames per second. A longer video becomes several clips: a worker holds at most two
    pieces in memory."""

    max_decode_errors: int = 20
    """Number of errors that the decoder reports. A file without damage has none."""

    max_length_difference: float = 0.25
    """Seconds between the end of the sound and the end of the picture."""

    need_sound: bool = True
    """Whether a video without sound is skipped. Some training stages can use clips without sound."""

    min_level_db: float = -75.0
    """Loudness of the speech in dB. Below this level the sound counts as silence."""

    min_eye_distance: float = 18.0
    """Median distance between the eye centres in the source, px. In an aligned face it is 70 px."""

    max_yaw: float = 40.0
    """Median angle by which the head is turned to the side, degrees."""

    max_lost: float = 0.0
    """Share of the frames without a detected face."""

    max_jump: float = 0.45
    """Movement of the face from one frame to the next, in eye distances."""

    max_growth: float = 0.25
    """Relative change of the size of the face from one frame to the next."""

    max_change: float = 25.0
    """Mean absolute difference of two consecutive aligned faces, in gray levels of 255. Fast turns of the head reach
    17."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not math.isfinite(value):
                raise TalkfaceError(f"--gate {name}={value} is not a finite number.", f"Write --gate {name}=NUMBER.")
        if self.min_frames < 1:
            raise TalkfaceError(f"--gate min_frames={self.min_frames} is less than 1.", "Give at least 1.")
        if self.piece_frames < self.min_frames:
            raise TalkfaceError(
                f"--gate piece_frames={self.piece_frames} is less than min_frames, which is {self.min_frames}.",
                f"Give at least {self.min_frames}, or also a smaller --gate min_frames=NUMBER.",
            )

    def check_streams(self, facts: dict[str, Any]) -> str | None:
        """The reason to skip a video because of its decoding errors, lengths or loudness, or None."""
        if facts["decode_errors"] > self.max_decode_errors:
            return reasons.DAMAGED
        if facts["frames"] < self.min_frames:
            return reasons.TOO_SHORT
        if facts["sound_seconds"] == 0 and not self.need_sound:
            return None
        if facts["level_db"] < self.min_level_db:
            return reasons.NO_SOUND
        if abs(facts["seconds"] - facts["sound_seconds"]) > self.max_length_difference:
            return reasons.LENGTHS_DIFFER
        return None

    def check_faces(self, facts: dict[str, Any]) -> str | None:
        """The reason to skip a video because of its detected faces, or None."""
        if facts["lost"] == 1:
            return reasons.NO_FACE
        if facts["faces"] > 1:
            return reasons.SEVERAL_FACES
        if facts["lost"] > self.max_lost:
            return reasons.FACE_LOST
        if facts["eye_distance"] < self.min_eye_distance:
            return reasons.FACE_TOO_SMALL
        if facts["yaw"] > self.max_yaw:
            return reasons.TURNED_AWAY
        if facts["jump"] > self.max_jump or facts["growth"] > self.max_growth:
            return reasons.CUT_INSIDE
        return None

    def check_aligned(self, facts: dict[str, Any]) -> str | None:
        """The reason to skip a video because of how its aligned faces change over time, or None."""
        return reasons.CUT_INSIDE if facts["change"] > self.max_change else None


def default_limits(layout: str, need_sound: bool = True) -> QualityLimits:
    """Return the limits for the videos of a layout; portraits are clips of one frame without sound."""
    if layout == "photos":
        return QualityLimits(min_frames=1, need_sound=False)
    return QualityLimits(need_sound=need_sound)
