"""One person is followed through a video: by position and size, and anew after a cut."""

import cv2
import numpy as np
import pytest

from talkface.face.find import FaceFinder
from talkface.face.tracking import CutDetector, PersonTracker

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def finder():
    return FaceFinder()


@pytest.fixture(scope="module")
def portrait(video_factory):
    return video_factory.portrait()


def room(*faces, width=640, height=320):
    """A grey picture with faces: (portrait, x, y)."""
    picture = np.full((height, width, 3), 90, np.uint8)
    for face, x, y in faces:
        picture[y : y + len(face), x : x + len(face)] = face
    return picture


def centres(tracked):
    return [None if one.face is None else round(float(one.face.box[0] + one.face.box[2] / 2)) for one in tracked]


def test_a_face_that_walks_past_another_one_is_followed_and_not_the_other(finder, portrait):
    frames = [room((portrait, 20 + 4 * k, 30), (portrait[:, ::-1], 370, 30)) for k in range(20)]
    left = centres(PersonTracker(finder, number=1).follow(frames))
    right = centres(PersonTracker(finder, number=2).follow(frames))
    assert np.abs(np.diff(left) - 4).max() <= 2
    assert np.ptp(right) <= 2
    assert right[0] > left[-1] + 100


def test_a_face_that_is_hidden_is_found_again_where_it_was(finder, portrait):
    shown = room((portrait, 20, 30), (portrait[:, ::-1], 370, 30))
    hidden = room((cv2.blur(portrait, (91, 91)), 20, 30), (portrait[:, ::-1], 370, 30))
    tracked = list(PersonTracker(finder, number=1).follow([shown] * 3 + [hidden] * 3 + [shown] * 3))
    found = centres(tracked)
    assert found[3:6] == [None] * 3
    np.testing.assert_allclose(found[:3], found[6:], atol=1)


def test_a_cut_begins_a_shot_in_which_the_person_is_chosen_anew(finder, portrait):
    night = room(width=640)
    night[:] = 15
    night[40:296, 300:556] = portrait
    frames = [room((portrait, 20, 30))] * 4 + [night] * 4
    tracked = list(PersonTracker(finder).follow(frames))
    assert [one.shot for one in tracked] == [0] * 4 + [1] * 4
    found = centres(tracked)
    assert found[4] - found[3] == pytest.approx(280, abs=3)


def test_a_pan_and_a_flicker_of_light_are_no_cuts():
    random = np.random.default_rng(0)
    wide = cv2.resize(random.integers(0, 255, (4, 16, 3)).astype(np.uint8), (2000, 360), interpolation=cv2.INTER_CUBIC)
    pan = [np.ascontiguousarray(wide[:, 30 * k : 30 * k + 640]) for k in range(12)]
    detector = CutDetector()
    assert not any([detector.is_cut(frame) for frame in pan][2:])
    detector = CutDetector()
    assert [detector.is_cut(frame) for frame in (pan[0], pan[0], pan[0] // 10 * 9, pan[0])] == [False] * 4
    assert detector.is_cut(255 - pan[0])
