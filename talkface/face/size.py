"""Checks that a face is large enough to be seen, in the photo and in the video that is made of it."""

from __future__ import annotations

import math

import numpy as np

from talkface.config import EYE_DISTANCE
from talkface.errors import TalkfaceError
from talkface.face.align import scale

MIN_EYE_DISTANCE = 8.0  # px; of a smaller face neither eyes nor lips can be told apart
CLEAR_EYE_DISTANCE = 20.0  # px; a smaller face in the video is too small for its lips to be read
WANTED_EYE_DISTANCE = 40.0  # px, of the video size that is recommended
FACE_WIDTH = 2.4  # widths of a face over its eye distance, on average


def check_face_size(
    photo: np.ndarray, video: np.ndarray | None, photo_size: tuple[int, int], name: str
) -> tuple[str, ...]:
    """Check the size of a face, and return a note if it will be small in the video.

    Args:
        photo: alignment of the face in the photo, (2, 3).
        video: its alignment in the frames of the video, (2, 3); None if the video shows the aligned face alone.
        photo_size: width and height of the photo in px.
        name: the photo's name for messages.

    Raises:
        TalkfaceError: the eyes are less than 8 px apart, in the photo or in the video.
    """
    in_photo = EYE_DISTANCE / scale(photo)
    if in_photo < MIN_EYE_DISTANCE:
        raise TalkfaceError(
            f"The face in {name} is too small: its eyes are {in_photo:.0f} px apart; at least "
            f"{MIN_EYE_DISTANCE:.0f} are needed.",
            "Use a larger photo, or choose another face with --face N.",
        )
    if video is None:
        return ()
    in_video = EYE_DISTANCE / scale(video)
    longer = max(photo_size)
    sizes = (
        f"about {FACE_WIDTH * in_photo:.0f} px wide in {name} ({photo_size[0]}x{photo_size[1]}) and "
        f"{FACE_WIDTH * in_video:.0f} px in the video"
    )
    larger = min(longer, math.ceil(longer * WANTED_EYE_DISTANCE / in_photo / 2) * 2)
    advice = f"--max-size {larger} makes the video larger, --crop" if in_photo > 1.2 * in_video else "--crop"
    if in_video < MIN_EYE_DISTANCE:
        raise TalkfaceError(f"The face is {sizes}, too small to be seen.", f"{advice} shows the face alone.")
    if in_video < CLEAR_EYE_DISTANCE:
        return (f"The face is {sizes}: its lips are hard to see. {advice} shows the face alone.",)
    return ()
