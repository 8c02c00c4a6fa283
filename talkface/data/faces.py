"""A frame of a clip as the face that is to speak."""

from __future__ import annotations

import numpy as np

from talkface.data.clip import Clip
from talkface.face.landmarks import nose_base
from talkface.face.outline import reach_map
from talkface.model.inference import AlignedFace


def aligned_face(clip: Clip, number: int) -> AlignedFace:
    """Frame `number` of a clip with its landmarks."""
    points = clip.points68[number]
    return AlignedFace(clip.frame(number), clip.lips[number].astype(np.float32), nose_base(points), reach_map(points))
