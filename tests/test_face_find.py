import cv2
import numpy as np
import pytest
import skimage.data

from talkface.config import SIZE
from talkface.face import align, landmarks
from talkface.face.find import PROFILE_YAW, FaceFinder

MIDDLE = (223.0, 130.0)  # of the astronaut's face


@pytest.fixture(scope="module")
def finder():
    return FaceFinder()


@pytest.fixture(scope="module")
def astronaut():
    return skimage.data.astronaut()


@pytest.fixture(scope="module")
def face(finder, astronaut):
    [face] = finder.find(astronaut)
    return face


def moved(image, scale=1.0, degrees=0.0, size=(512, 512), to=(256, 256)):
    """The astronaut rotated and scaled about the face, which is moved to `to`; and the transform."""
    matrix = cv2.getRotationMatrix2D(MIDDLE, degrees, scale)
    matrix[:, 2] += np.array(to) - MIDDLE
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.warpAffine(image, matrix, size, flags=flags), matrix


def lip_error(found, expected):
    """Mean distance between the lips in eye distances."""
    off = np.linalg.norm(landmarks.lips(found) - landmarks.lips(expected), axis=1)
    return off.mean() / landmarks.eye_distance(expected)


def test_the_astronaut_has_one_face_that_looks_at_the_camera(face):
    assert face.points.shape == (468, 2)
    assert face.points.dtype == np.float32
    assert face.score > 0.9
    assert abs(face.yaw) < 15 < PROFILE_YAW
    assert face.faces_seen == 1
    x, y, width, height = face.box
    assert x < MIDDLE[0] < x + width
    assert y < MIDDLE[1] < y + height


@pytest.mark.parametrize("degrees", [20, 45, -45, 90, -90, 180])
def test_a_rotated_face_is_found_and_its_alignment_is_upright(finder, astronaut, face, degrees):
    picture, matrix = moved(astronaut, degrees=degrees)
    [found] = finder.find(picture)
    assert lip_error(found.points, align.apply(matrix, face.points)) < 0.025
    aligned = align.apply(align.fit_transform(found.points), found.points)
    left, right = landmarks.eye_centres(aligned)
    assert abs(right[1] - left[1]) < 4


@pytest.mark.parametrize("scale", [3.0, 1.0, 0.5])
def test_the_points_scale_with_the_image(finder, astronaut, face, scale):
    picture, matrix = moved(astronaut, scale, size=(1280, 720), to=(640, 360))
    [found] = finder.find(picture)
    assert lip_error(found.points, align.apply(matrix, face.points)) < 0.03


def test_a_face_too_small_for_the_whole_image_is_found_in_tiles(finder, astronaut, face):
    picture, matrix = moved(astronaut, 0.5, size=(1920, 1080), to=(1500, 800))
    assert finder.detect(picture) == []
    [found] = finder.find(picture)
    assert lip_error(found.points, align.apply(matrix, face.points)) < 0.05


def test_two_faces_are_returned_from_left_to_right(finder, astronaut):
    small, _ = moved(astronaut, 0.8, size=(400, 512), to=(200, 200))
    large, _ = moved(astronaut, 1.2, size=(400, 512), to=(200, 256))
    left, right = finder.find(np.hstack((small, large)))
    assert left.box[0] + left.box[2] < 400 < right.box[0]
    assert left.box[2] < right.box[2]
    assert left.faces_seen == right.faces_seen == 2


def test_mirroring_the_image_negates_the_yaw(finder, astronaut, face):
    [mirrored] = finder.find(np.ascontiguousarray(astronaut[:, ::-1]))
    assert mirrored.yaw == pytest.approx(-face.yaw, abs=4)


def test_a_face_in_profile_has_a_yaw_beyond_the_limit(finder):
    [cameraman] = finder.find(np.dstack([skimage.data.camera()] * 3))
    assert abs(cameraman.yaw) > PROFILE_YAW


@pytest.mark.parametrize("name", ["coffee", "rocket"])
def test_no_face_is_found_where_there_is_none(finder, name):
    assert finder.find(getattr(skimage.data, name)()) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (20, 3, 3), (30, 400, 3)])
def test_tiny_and_narrow_images_have_no_face(finder, shape):
    assert finder.find(np.zeros(shape, np.uint8)) == []


def test_a_face_is_found_in_a_given_box(finder, astronaut, face):
    found = finder.find_in(astronaut, (170, 60, 110, 140))
    assert lip_error(found.points, face.points) < 0.03
    assert finder.find_in(astronaut, (300, 300, 100, 100)) is None


def test_tracking_follows_a_face_that_moves_rotates_and_grows(finder, astronaut, face):
    steps = [(0.8 + 0.02 * i, 2.0 * i, (150 + 6 * i, 200)) for i in range(30)]
    pairs = [moved(astronaut, scale, degrees, to=to) for scale, degrees, to in steps]
    faces = list(finder.track((picture for picture, _ in pairs), batch=8))
    assert len(faces) == 30
    for found, (_, matrix) in zip(faces, pairs, strict=True):
        assert lip_error(found.points, align.apply(matrix, face.points)) < 0.03


def test_tracking_yields_none_while_there_is_no_face_and_finds_it_again(finder, astronaut):
    empty = np.zeros_like(astronaut)
    frames = [empty] * 3 + [astronaut] * 5 + [empty] * 10 + [astronaut] * 2
    seen = [found is not None for found in finder.track(iter(frames), batch=4)]
    assert seen == [False] * 3 + [True] * 5 + [False] * 10 + [True] * 2


def test_tracking_counts_faces(finder, astronaut):
    one, _ = moved(astronaut, size=(400, 400), to=(200, 200))
    two = np.hstack((one, one))
    alone = np.hstack((one, np.zeros_like(one)))
    counts = [found.faces_seen for found in finder.track([alone] * 25 + [two] * 2)]
    assert counts == [1] * 25 + [2] * 2


def test_a_face_on_a_screen_behind_the_speaker_is_not_counted(finder, astronaut):
    one, _ = moved(astronaut, size=(400, 400), to=(200, 200))
    behind = np.zeros_like(one)
    behind[:200, 100:300] = one[::2, ::2]
    (photo,) = [finder.find(np.hstack((one, behind)))]
    (face,) = finder.track([np.hstack((one, behind))])
    assert (len(photo), face.faces_seen) == (2, 1)


def test_tracking_reads_no_further_than_its_batch(finder, astronaut):
    taken = []
    frames = (taken.append(i) or astronaut for i in range(100))
    tracked = finder.track(frames, batch=4)
    next(tracked)
    assert len(taken) == 4


def test_landmarks_of_aligned_faces_equal_the_transformed_landmarks_of_the_photo(finder, astronaut, face):
    M = align.fit_transform(face.points)
    frames = np.stack([align.warp(astronaut, M)] * 3)
    points, flags = finder.landmarks_aligned(frames)
    assert points.shape == (3, 468, 2)
    assert (flags > 0.9).all()
    for found in points:
        assert lip_error(found, align.apply(M, face.points)) < 0.03


def test_aligned_frames_without_a_face_are_flagged(finder):
    points, flags = finder.landmarks_aligned(np.full((2, SIZE, SIZE, 3), 90, np.uint8))
    assert points.shape == (2, 468, 2)
    assert (flags < 0.5).all()


def test_no_aligned_frames_give_no_landmarks(finder):
    points, flags = finder.landmarks_aligned(np.empty((0, SIZE, SIZE, 3), np.uint8))
    assert points.shape == (0, 468, 2)
    assert flags.shape == (0,)


def test_what_only_tiles_show_and_is_no_face_in_a_crop_of_its_own_is_not_found(finder):
    coins = np.repeat(skimage.data.coins()[:, :, None], 3, 2)  # a coin's portrait passes the mesh with a flag of 1
    assert finder.find(coins) == []


def test_an_animal_that_the_detector_takes_for_a_face_is_not_certain(finder):
    [cat] = finder.find(skimage.data.cat())
    assert not cat.certain


def test_a_certain_face_displaces_those_that_are_not(finder, astronaut):
    both = np.hstack([np.pad(skimage.data.cat(), ((0, 212), (0, 0), (0, 0))), astronaut])
    [found] = finder.find(both)
    assert found.certain
    assert found.faces_seen == 1
    assert found.box[0] > 451
