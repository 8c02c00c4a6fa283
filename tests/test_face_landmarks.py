import numpy as np
import pytest

from talkface.face import landmarks


@pytest.fixture
def points():
    return np.random.default_rng(0).random((2, 3, 468, 2)).astype(np.float32)


def test_index_lists_contain_no_point_twice():
    for indices in (landmarks.LIPS, landmarks.STABLE, landmarks.LIPS_REGION, landmarks.LEFT_EYE_REGION):
        assert len(set(indices)) == len(indices)
    assert len(landmarks.LIPS) == 40
    assert len(landmarks.LIPS_REGION) == 80
    assert len(landmarks.LEFT_EYE_REGION) == len(set(landmarks.RIGHT_EYE_REGION)) == 71
    assert len(landmarks.FROM_468_TO_68) == 68


def test_68_points_are_returned_unchanged(points):
    sixty_eight = landmarks.to_68(points)
    assert sixty_eight.shape == (2, 3, 68, 2)
    assert landmarks.to_68(sixty_eight) is sixty_eight


def test_lips_from_68_points_keep_the_known_points_and_interpolate_linearly_between_them(points):
    lips = landmarks.lips(landmarks.to_68(points))
    assert lips.shape == (2, 3, 40, 2)
    assert lips.dtype == np.float32
    exact = landmarks.lips(points)
    known = [i for i, point in enumerate(landmarks.LIPS) if point in landmarks.FROM_468_TO_68[48:]]
    assert len(known) == 20
    assert lips[..., known, :] == pytest.approx(exact[..., known, :])
    # 61 and 91 are known, 146 lies between them on the outline.
    assert lips[..., 1, :] == pytest.approx((exact[..., 0, :] + exact[..., 2, :]) / 2)


def test_the_eye_distance_is_measured_between_the_means_of_each_eyes_corners():
    points = np.zeros((468, 2))
    points[[33, 133, 362, 263]] = (0, 0), (20, 2), (60, 30), (80, 32)
    assert landmarks.eye_distance(points) == pytest.approx(np.hypot(60, 30))
    assert landmarks.eye_distance(landmarks.to_68(points)) == pytest.approx(np.hypot(60, 30))


def test_a_closed_mouth_has_opening_zero_and_a_gap_is_measured_in_eye_distances():
    points = np.zeros((468, 2))
    assert landmarks.mouth_opening(landmarks.lips(points), 60.0) == 0
    points[[87, 14, 317]] = (0, 12)
    assert landmarks.mouth_opening(landmarks.lips(points), 60.0) == pytest.approx(0.2)


def test_mouth_opening_accepts_a_whole_clip(points):
    opening = landmarks.mouth_opening(landmarks.lips(points), landmarks.eye_distance(points))
    assert opening.shape == (2, 3)
