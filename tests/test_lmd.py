import numpy as np
import pytest

from talkface.metrics.lmd import collapsed_mouth_distance, landmark_distance

SQUARE = np.array([[[0.0, 0], [2, 0], [2, 2], [0, 2]]])


def test_a_square_mouth_twice_as_large_is_off_by_the_half_diagonal():
    assert landmark_distance(SQUARE, 2 * SQUARE).item() == pytest.approx(np.sqrt(2))


def test_one_point_of_four_moved_by_four_pixels():
    moved = SQUARE.copy()
    moved[0, 0, 1] -= 4  # the centroid follows by 1: three points are off by 1, the moved one by 3
    assert landmark_distance(SQUARE, moved).item() == pytest.approx((3 * 1 + 3) / 4)


def test_the_position_of_the_mouth_does_not_change_the_distance():
    np.testing.assert_allclose(landmark_distance(SQUARE, SQUARE + np.array([13.0, -7.0])), 0, atol=1e-12)


def test_scale_and_rotation_are_not_removed():
    turned = SQUARE @ np.array([[0.0, 1], [-1, 0]])
    assert landmark_distance(SQUARE, turned).item() == pytest.approx(2)


def test_the_mean_is_over_the_points_of_each_frame():
    real = np.concatenate([SQUARE, SQUARE])
    fake = np.concatenate([SQUARE, 3 * SQUARE])
    np.testing.assert_allclose(landmark_distance(real, fake), [0, 2 * np.sqrt(2)])


def test_a_missing_face_has_the_distance_of_a_mouth_shrunk_to_a_point():
    assert collapsed_mouth_distance(SQUARE).item() == pytest.approx(np.sqrt(2))
    assert landmark_distance(SQUARE, 0 * SQUARE).item() == pytest.approx(np.sqrt(2))
