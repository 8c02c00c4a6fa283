import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from talkface.config import ALIGNED_LIPS, ALIGNED_NOSE, ALIGNED_STABLE, EYE_CENTRE
from talkface.errors import TalkfaceError
from talkface.face import select
from talkface.face.align import apply
from talkface.face.find import Face
from talkface.face.landmarks import EYES, STABLE, nose_base
from talkface.face.outline import OVAL
from talkface.face.select import select_face, upright

ASTRONAUT = Path(__file__).parent.parent / "examples" / "astronaut.jpg"
PHOTO = np.random.default_rng(0).integers(0, 256, (400, 600, 3), np.uint8)


def face_at(left, scale=1.0, yaw=0.0):
    """A face whose stable points are the template's, `scale` times as large, `left` px further to the right."""
    points = np.full((468, 2), 128.0, np.float32)
    points[list(STABLE)] = ALIGNED_STABLE
    points = points * scale + (left, 0)
    box = np.array([left + 60 * scale, 60 * scale, 140 * scale, 160 * scale], np.float32)
    return Face(box, points.astype(np.float32), 1.0, yaw)


@pytest.fixture
def seen(monkeypatch):
    """The faces that the finder finds, in a list to fill."""
    faces = []

    class Finder:
        def __init__(self, device):
            pass

        def find(self, picture):
            return faces

        def find_in(self, picture, box):
            return faces[0] if faces else None

    monkeypatch.setattr(select, "FaceFinder", Finder)
    return faces


def test_the_only_face_is_selected_without_a_note(seen):
    seen.append(face_at(0))
    choice = select_face(PHOTO, "photo.jpg")
    assert (choice.number, choice.found, choice.notes) == (1, 1, ())
    np.testing.assert_allclose(choice.transform, [[1, 0, 0], [0, 1, 0]], atol=1e-5)


def test_the_largest_of_several_faces_is_selected_with_a_note(seen):
    seen += [face_at(0, 0.5), face_at(200), face_at(400, 0.7)]
    choice = select_face(PHOTO, "group.jpg")
    assert (choice.number, choice.found) == (2, 3)
    (note,) = choice.notes
    assert "group.jpg has 3 faces" in note
    assert "number 2 from the left" in note


def test_a_face_is_selected_by_its_number_from_the_left(seen):
    seen += [face_at(0, 0.5), face_at(200)]
    choice = select_face(PHOTO, "group.jpg", number=1)
    assert (choice.number, choice.notes) == (1, ())
    np.testing.assert_allclose(choice.transform, [[2, 0, 0], [0, 2, 0]], atol=1e-4)


def test_the_lips_are_in_pixels_of_the_aligned_face(seen):
    seen += [face_at(200, 0.5)]
    assert np.allclose(select_face(PHOTO, "photo.jpg").lips, 128, atol=1e-3)  # where face_at has its mouth at scale 1
    seen.clear()
    lips = select_face(PHOTO, "drawing.jpg", box=(100, 100, 200, 200)).lips
    assert np.array_equal(lips, np.array(ALIGNED_LIPS, np.float32))


def test_the_base_of_the_nose_is_in_pixels_of_the_aligned_face(seen):
    seen += [face_at(200, 0.5)]
    choice = select_face(PHOTO, "photo.jpg")
    assert choice.nose.dtype == np.float32
    np.testing.assert_allclose(choice.nose, (nose_base(seen[0].points) - (200, 0)) / 0.5, atol=1e-3)
    seen.clear()
    nose = select_face(PHOTO, "drawing.jpg", box=(100, 100, 200, 200)).nose
    assert np.array_equal(nose, np.array(ALIGNED_NOSE, np.float32))


def test_lips_may_reach_as_far_as_the_outline_of_the_face_and_anywhere_where_there_is_none(seen):
    face = face_at(200, 0.5)
    turn = 2 * np.pi * np.arange(len(OVAL)) / len(OVAL)
    outline = np.array([128, 140]) + 80 * np.stack([np.sin(turn), -np.cos(turn)], 1)  # px of the aligned face
    face.points[list(OVAL)] = outline * 0.5 + (200, 0)
    seen += [face]
    reach = select_face(PHOTO, "photo.jpg").reach
    y, x = np.mgrid[:256, :256]
    inside = 80 - np.hypot(x - 128, y - 140)
    assert reach[inside < -1].max() == 0
    assert reach[inside > 13].min() == 1
    seen.clear()
    assert select_face(PHOTO, "drawing.jpg", box=(100, 100, 200, 200)).reach is None


@pytest.mark.parametrize("number", [0, -1, 3])
def test_a_face_number_out_of_range_is_refused(seen, number):
    seen += [face_at(0), face_at(200)]
    with pytest.raises(TalkfaceError, match=f"--face {number}: group.jpg has 2 faces"):
        select_face(PHOTO, "group.jpg", number=number)


def test_a_photo_without_a_face_is_refused_with_its_size_and_a_fix(seen):
    with pytest.raises(TalkfaceError, match=r"No face found in wall.jpg \(600x400\)") as error:
        select_face(PHOTO, "wall.jpg")
    assert "--box" in error.value.fix


@pytest.mark.parametrize("options", [{}, {"box": (10, 10, 300, 300)}, {"number": 1}])
def test_a_profile_is_refused(seen, options):
    seen.append(face_at(0, yaw=-62))
    with pytest.raises(TalkfaceError, match="turned about 62 degrees"):
        select_face(PHOTO, "coin.jpg", **options)


def test_a_turned_and_a_small_face_are_accepted_with_a_note(seen):
    seen.append(face_at(0, scale=0.2, yaw=30))
    turned, small = select_face(PHOTO, "photo.jpg").notes
    assert "30 degrees" in turned
    assert "14 px between the eyes" in small


@pytest.mark.parametrize(
    "box, problem",
    [
        ((0, 0, 0, 10), "both must be at least 8"),
        ((0, 0, -50, 50), "-50 px wide"),
        ((500, 10, 200, 200), "extends beyond"),
        ((-1, 10, 200, 200), "extends beyond"),
        ((10, 300, 100, 200), "which is 600x400 pixels"),
        ((float("nan"), 0, 9, 9), "--box nan,0,9,9 is not four numbers"),
        ((0, 0, float("inf"), 9), "is not four numbers"),
    ],
)
def test_a_box_outside_the_photo_is_refused(seen, box, problem):
    with pytest.raises(TalkfaceError, match=problem):
        select_face(PHOTO, "photo.jpg", box=box)


def test_fan_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(TalkfaceError, match="face-alignment cannot be loaded") as error:
        select_face(PHOTO, "photo.jpg", landmarks="fan")
    assert "pip install" in error.value.fix


def test_a_box_and_a_number_at_once_are_refused(seen):
    with pytest.raises(TalkfaceError, match="--face and --box"):
        select_face(PHOTO, "photo.jpg", box=(0, 0, 100, 100), number=1)


def test_a_box_without_a_detected_face_is_assumed_to_hold_an_upright_face(seen):
    box = (100, 50, 200, 240)
    choice = select_face(PHOTO, "drawing.png", box=box)
    assert choice.box == box
    assert "assumed to enclose an upright face" in choice.notes[0]
    np.testing.assert_array_equal(choice.transform, upright(box))


def test_the_alignment_of_an_upright_box_agrees_with_that_of_a_real_face():
    """The proportions assumed for a drawing, against those of a real face."""
    picture = cv2.cvtColor(cv2.imread(str(ASTRONAUT)), cv2.COLOR_BGR2RGB)
    (face,) = select.FaceFinder().find(picture)
    eyes = apply(upright(tuple(face.box)), face.points[list(EYES)]).reshape(2, 2, 2).mean(1)
    assert np.abs(eyes.mean(0) - EYE_CENTRE).max() < 6
    assert abs(eyes[1, 0] - eyes[0, 0] - 70) < 6
