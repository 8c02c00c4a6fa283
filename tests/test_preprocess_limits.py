"""The quality limits: one figure beyond its limit is enough to skip a video, and the reason names the figure."""

import numpy as np
import pytest

from talkface.errors import TalkfaceError
from talkface.preprocess import reasons
from talkface.preprocess.build import largest_change
from talkface.preprocess.limits import QualityLimits, default_limits

STREAMS = {"decode_errors": 0, "frames": 29, "level_db": 5.0, "seconds": 1.16, "sound_seconds": 1.18}
FACES = {"lost": 0.0, "faces": 1, "eye_distance": 45.0, "yaw": 4.0, "jump": 0.05, "growth": 0.02}


def test_a_video_within_all_limits_passes():
    assert QualityLimits().check_streams(STREAMS) is None
    assert QualityLimits().check_faces(FACES) is None
    assert QualityLimits().check_aligned({"change": 3.0}) is None


@pytest.mark.parametrize(
    "figure, value, reason",
    [
        ("decode_errors", 21, reasons.DAMAGED),
        ("frames", 9, reasons.TOO_SHORT),
        ("level_db", -80.0, reasons.NO_SOUND),
        ("sound_seconds", 0.8, reasons.LENGTHS_DIFFER),
        ("sound_seconds", 1.5, reasons.LENGTHS_DIFFER),
    ],
)
def test_errors_lengths_and_loudness_are_checked_before_faces_are_detected(figure, value, reason):
    assert QualityLimits().check_streams(STREAMS | {figure: value}) == reason


def test_a_few_decoding_errors_are_accepted():
    assert QualityLimits().check_streams(STREAMS | {"decode_errors": 20}) is None
    assert QualityLimits(max_decode_errors=2).check_streams(STREAMS | {"decode_errors": 3}) == reasons.DAMAGED


def test_a_video_without_sound_passes_only_if_no_sound_is_needed():
    silent = STREAMS | {"sound_seconds": 0.0, "level_db": -200.0}
    assert QualityLimits().check_streams(silent) == reasons.NO_SOUND
    assert QualityLimits(need_sound=False).check_streams(silent) is None
    assert QualityLimits(need_sound=False).check_streams(STREAMS | {"sound_seconds": 0.8}) == reasons.LENGTHS_DIFFER


@pytest.mark.parametrize(
    "figure, value, reason",
    [
        ("faces", 2, reasons.SEVERAL_FACES),
        ("lost", 0.1, reasons.FACE_LOST),
        ("eye_distance", 17.0, reasons.FACE_TOO_SMALL),
        ("yaw", 41.0, reasons.TURNED_AWAY),
        ("jump", 0.5, reasons.CUT_INSIDE),
        ("growth", 0.3, reasons.CUT_INSIDE),
    ],
)
def test_faces_are_checked_for_number_size_angle_and_steadiness(figure, value, reason):
    assert QualityLimits().check_faces(FACES | {figure: value}) == reason


def test_a_video_without_a_face_is_checked_without_figures_of_a_face():
    assert QualityLimits().check_faces({"lost": 1.0, "faces": 0}) == reasons.NO_FACE


def test_limits_can_be_changed():
    assert QualityLimits(min_eye_distance=50).check_faces(FACES) == reasons.FACE_TOO_SMALL
    assert QualityLimits(max_lost=0.2).check_faces(FACES | {"lost": 0.1}) is None


@pytest.mark.parametrize(
    "limits, problem",
    [
        ({"piece_frames": 5}, "--gate piece_frames=5 is less than min_frames, which is 10"),
        ({"min_frames": 0}, "--gate min_frames=0 is less than 1"),
        ({"max_yaw": float("nan")}, "--gate max_yaw=nan is not a finite number"),
        ({"max_lost": float("inf")}, "--gate max_lost=inf is not a finite number"),
    ],
)
def test_impossible_limits_are_refused(limits, problem):
    with pytest.raises(TalkfaceError, match=problem) as error:
        QualityLimits(**limits)
    assert error.value.fix


def test_a_cut_to_another_person_in_the_same_place_is_found_and_speech_is_not_taken_for_a_cut(video_factory):
    someone = video_factory.talking_frames(video_factory.loudness(8))
    other = [np.roll(255 - picture, 3, axis=1) for picture in someone]
    assert largest_change(someone) < 10
    assert QualityLimits().check_aligned({"change": largest_change(someone + other)}) == reasons.CUT_INSIDE


def test_a_portrait_is_a_clip_of_one_frame_without_sound():
    still = STREAMS | {"frames": 1, "seconds": 0.04, "sound_seconds": 0.0}
    assert default_limits("photos").check_streams(still) is None
    assert default_limits("folder", need_sound=False).check_streams(still) == reasons.TOO_SHORT
