"""Which videos become clips: one figure over its limit is enough, and the reason names it."""

import films
import numpy as np
import pytest

from talkface.errors import TalkfaceError
from talkface.preprocess import gates
from talkface.preprocess.build import largest_change
from talkface.preprocess.gates import Gates

BEFORE = {"frames": 29, "level_db": 5.0, "seconds": 1.16, "sound_seconds": 1.18}
FACES = {"lost": 0.0, "faces": 1, "eye_distance": 45.0, "yaw": 4.0, "jump": 0.05, "growth": 0.02}


def test_a_video_within_all_limits_passes():
    assert Gates().before_faces(BEFORE) is None
    assert Gates().on_faces(FACES) is None
    assert Gates().on_pictures({"change": 3.0}) is None


@pytest.mark.parametrize(
    "figure, value, reason",
    [
        ("frames", 9, gates.TOO_SHORT),
        ("level_db", -80.0, gates.NO_SOUND),
        ("sound_seconds", 0.8, gates.LENGTHS_DIFFER),
        ("sound_seconds", 1.5, gates.LENGTHS_DIFFER),
    ],
)
def test_lengths_and_loudness_are_judged_before_faces_are_looked_for(figure, value, reason):
    assert Gates().before_faces(BEFORE | {figure: value}) == reason


@pytest.mark.parametrize(
    "figure, value, reason",
    [
        ("faces", 2, gates.SEVERAL_FACES),
        ("lost", 0.1, gates.FACE_LOST),
        ("eye_distance", 17.0, gates.FACE_TOO_SMALL),
        ("yaw", 41.0, gates.TURNED_AWAY),
        ("jump", 0.5, gates.CUT_INSIDE),
        ("growth", 0.3, gates.CUT_INSIDE),
    ],
)
def test_faces_are_judged_by_number_size_angle_and_steadiness(figure, value, reason):
    assert Gates().on_faces(FACES | {figure: value}) == reason


def test_a_video_without_a_face_is_judged_though_nothing_is_known_of_the_face():
    assert Gates().on_faces({"lost": 1.0, "faces": 0}) == gates.NO_FACE


def test_limits_can_be_set():
    assert Gates(min_eye_distance=50).on_faces(FACES) == gates.FACE_TOO_SMALL
    assert Gates(max_lost=0.2).on_faces(FACES | {"lost": 0.1}) is None


@pytest.mark.parametrize(
    "limits, told",
    [
        ({"piece_frames": 5}, "--gate piece_frames=5 is less than min_frames, 10"),
        ({"min_frames": 0}, "--gate min_frames=0 is less than 1"),
        ({"max_yaw": float("nan")}, "--gate max_yaw=nan is no finite number"),
        ({"max_lost": float("inf")}, "--gate max_lost=inf is no finite number"),
    ],
)
def test_limits_that_no_video_can_be_judged_by_are_refused(limits, told):
    with pytest.raises(TalkfaceError, match=told) as error:
        Gates(**limits)
    assert error.value.fix


def test_a_cut_to_another_person_in_the_same_place_shows_in_the_pictures_and_speech_does_not():
    someone = films.talking(films.syllables(8))
    other = [np.roll(255 - picture, 3, axis=1) for picture in someone]
    assert largest_change(someone) < 10
    assert Gates().on_pictures({"change": largest_change(someone + other)}) == gates.CUT_INSIDE
