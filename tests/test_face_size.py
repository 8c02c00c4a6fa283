"""Faces that are small in the photo or in the video."""

import numpy as np
import pytest

from talkface.config import EYE_DISTANCE
from talkface.errors import TalkfaceError
from talkface.face.size import check_face_size


def alignment(eye_distance):
    return np.eye(2, 3) * EYE_DISTANCE / eye_distance


def test_a_face_that_can_be_seen_has_no_note():
    assert check_face_size(alignment(100), alignment(25), (4000, 3000), "group.jpg") == ()


def test_a_face_that_is_small_in_the_video_has_a_note_with_both_sizes_and_the_options_that_help():
    (note,) = check_face_size(alignment(100), alignment(15), (8000, 6000), "group.jpg")
    assert "about 240 px wide in group.jpg (8000x6000) and 36 px in the video" in note
    assert "--max-size 3200" in note  # where the eyes are 40 px apart
    assert "--crop" in note


def test_a_larger_video_is_not_recommended_if_the_photo_has_no_more_pixels():
    (note,) = check_face_size(alignment(15), alignment(15), (640, 480), "small.jpg")
    assert "--max-size" not in note
    assert "--crop" in note


def test_a_face_that_is_invisible_in_the_video_is_refused_unless_the_video_shows_it_alone():
    with pytest.raises(TalkfaceError, match="19 px in the video, too small to be seen") as error:
        check_face_size(alignment(100), alignment(7.9), (9000, 2000), "panorama.jpg")
    assert "--max-size 3600" in error.value.fix
    assert check_face_size(alignment(100), None, (9000, 2000), "panorama.jpg") == ()


@pytest.mark.parametrize("video", [None, alignment(7)])
def test_a_face_that_is_too_small_in_the_photo_is_refused(video):
    with pytest.raises(TalkfaceError, match=r"tiny\.jpg is too small: its eyes are 7 px apart; at least 8"):
        check_face_size(alignment(7), video, (640, 480), "tiny.jpg")
