"""A photo that lives: the one door that rendering uses. It imports no network."""

from __future__ import annotations

import numpy as np

from talkface.face.paste import PastedFrame
from talkface.face.teeth import TeethLayer
from talkface.motion.accents import Accents
from talkface.motion.field import MotionField
from talkface.motion.lids import find_eyes
from talkface.motion.limits import allowance
from talkface.motion.paste import LivingPaster
from talkface.motion.schedule import Schedule


class LivingPhoto:
    """A photo whose head moves a little, whose brows rise with the speech, and whose eyes blink.

    Args:
        photo: uint8 RGB (H, W, 3). It is not modified.
        M: float64 (2, 3), pixels of the photo to pixels of the aligned face.
        mesh: float32 (468, 3), px of the photo.
        yaw: degrees by which the face is turned to the side.
        mfcc: float32 (steps, 13) of the speech.
        duration: of the video, seconds.
        seed: of the movement.
        motion: how much head and brows move, in [0, 1].
        blink: whether the eyes blink.
        teeth: of `talkface.face.teeth.teeth_layer`, or None.
    """

    def __init__(
        self,
        photo: np.ndarray,
        M: np.ndarray,
        mesh: np.ndarray,
        yaw: float,
        mfcc: np.ndarray,
        duration: float,
        *,
        seed: int = 0,
        motion: float = 0.5,
        blink: bool = True,
        teeth: TeethLayer | None = None,
    ) -> None:
        height, width = photo.shape[:2]
        self.allowed = allowance(photo, mesh, yaw)
        """The share of the movement that the photo allows, in [0, 1]."""
        self.schedule = Schedule(duration, Accents(mfcc), seed, motion * self.allowed, blink)
        self.paster = LivingPaster(photo, M, MotionField(mesh, width, height), find_eyes(mesh, photo), teeth)

    def frame(self, generated: PastedFrame, seconds: float) -> np.ndarray:
        """One frame of the generator pasted into the photo as it is at a moment: uint8 RGB (H, W, 3), a new array."""
        return self.paster.paste_pose(generated, self.schedule.at(seconds))
