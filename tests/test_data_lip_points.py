"""Lip points as in a mirror."""

import numpy as np

from talkface.config import ALIGNED_LIPS
from talkface.data.lip_points import MIRRORED_LIPS, mirrored_lips
from talkface.face.landmarks import LIPS


def test_mirroring_swaps_the_meshs_left_and_right_points():
    """Each point of either ring goes to its partner on the other side, as MediaPipe's rings run."""
    corners = {61: 291, 78: 308}
    tops = {0: 0, 17: 17, 13: 13, 14: 14}
    index = {point: i for i, point in enumerate(LIPS)}
    for point, partner in (corners | tops).items():
        assert MIRRORED_LIPS[index[point]] == index[partner]


def test_mirrored_lips_have_their_points_where_the_mirrored_picture_shows_them(synthetic_clips):
    """A mouth off the middle: x becomes 255 - x, because pixel 0 goes to pixel 255."""
    lips = synthetic_clips.lip_points(6.0) + np.array([7.0, 0.0], np.float32)
    expected = synthetic_clips.lip_points(6.0) - np.array([8.0, 0.0], np.float32)  # 128 + 7 -> 255 - 135 = 128 - 8
    assert np.allclose(mirrored_lips(lips), expected, atol=1e-3)


def test_a_symmetric_face_is_its_own_mirror_image():
    """The template is symmetric about x = 128, the mirror image about 127.5."""
    lips = np.array(ALIGNED_LIPS, np.float32)
    assert np.allclose(mirrored_lips(lips), lips - [1, 0], atol=0.15)


def test_mirrored_twice_is_the_mouth_itself_for_any_number_of_frames():
    lips = np.random.default_rng(0).uniform(0, 255, (2, 3, 40, 2)).astype(np.float32)
    twice = mirrored_lips(mirrored_lips(lips))
    assert twice.dtype == np.float32
    assert np.allclose(twice, lips, atol=1e-4)
