"""Which videos become clips. Each gate is a figure measured on the video, its limit, and the reason that is given."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from talkface.errors import TalkfaceError

KEPT = "kept"
UNREADABLE = "cannot be read"
TOO_SHORT = "too short"
NO_SOUND = "no sound"
LENGTHS_DIFFER = "sound and picture differ in length"
NO_FACE = "no face"
FACE_LOST = "face not seen throughout"
SEVERAL_FACES = "several faces"
FACE_TOO_SMALL = "face too small"
TURNED_AWAY = "face turned away"
CUT_INSIDE = "cut inside"
OUT_OF_STEP = "sound and picture out of step"
CRASHED = "crashed"


@dataclass(frozen=True)
class Gates:
    """Limits within which a video becomes a clip.

    Raises:
        TalkfaceError: a limit is no finite number, or not 1 <= min_frames <= piece_frames.
    """

    min_frames: int = 10
    """Frames at 25 a second."""

    piece_frames: int = 250
    """Frames at 25 a second: longer videos become several clips, for a worker holds two pieces in memory."""

    max_length_difference: float = 0.25
    """Seconds between the end of the sound and of the picture."""

    need_sound: bool = True
    """Whether a video without sound is skipped. Clips without sound serve the training stages that need none."""

    min_level_db: float = -75.0
    """Loudness of the speech; below is silence."""

    min_eye_distance: float = 18.0
    """Median distance of the eye centres in the source, px. The aligned face has 70."""

    max_yaw: float = 40.0
    """Median angle to the side, degrees."""

    max_lost: float = 0.0
    """Share of frames without a face."""

    max_jump: float = 0.45
    """Move of the face from one frame to the next, in eye distances."""

    max_growth: float = 0.25
    """Change of the face's size from one frame to the next, as a share."""

    max_change: float = 25.0
    """Mean difference of two consecutive aligned faces, gray levels of 255. Heads that turn fast reach 17."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not math.isfinite(value):
                raise TalkfaceError(f"--gate {name}={value} is no finite number.", f"Write --gate {name}=NUMBER.")
        if self.min_frames < 1:
            raise TalkfaceError(f"--gate min_frames={self.min_frames} is less than 1.", "Give at least 1.")
        if self.piece_frames < self.min_frames:
            raise TalkfaceError(
                f"--gate piece_frames={self.piece_frames} is less than min_frames, {self.min_frames}.",
                f"Give at least {self.min_frames}, or a smaller --gate min_frames=NUMBER too.",
            )

    def before_faces(self, facts: dict) -> str | None:
        """The reason to skip a video of which only lengths and loudness are known, or None."""
        if facts["frames"] < self.min_frames:
            return TOO_SHORT
        if facts["sound_seconds"] == 0 and not self.need_sound:
            return None
        if facts["level_db"] < self.min_level_db:
            return NO_SOUND
        if abs(facts["seconds"] - facts["sound_seconds"]) > self.max_length_difference:
            return LENGTHS_DIFFER
        return None

    def on_faces(self, facts: dict) -> str | None:
        """The reason to skip a video for what its faces are like, or None."""
        if facts["lost"] == 1:
            return NO_FACE
        if facts["faces"] > 1:
            return SEVERAL_FACES
        if facts["lost"] > self.max_lost:
            return FACE_LOST
        if facts["eye_distance"] < self.min_eye_distance:
            return FACE_TOO_SMALL
        if facts["yaw"] > self.max_yaw:
            return TURNED_AWAY
        if facts["jump"] > self.max_jump or facts["growth"] > self.max_growth:
            return CUT_INSIDE
        return None

    def on_pictures(self, facts: dict) -> str | None:
        """The reason to skip a video for how its aligned faces change, or None."""
        return CUT_INSIDE if facts["change"] > self.max_change else None
