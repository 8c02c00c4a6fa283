import cv2
import numpy as np
import pytest
from skimage.data import astronaut
from skimage.metrics import structural_similarity

from talkface.metrics.ssim import ssim


def test_ssim_is_scikit_images_on_8_bit_colour():
    face = cv2.resize(astronaut()[:200, 130:330], (256, 256), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).integers(0, 256, face.shape, dtype=np.uint8)
    others = [cv2.GaussianBlur(face, (0, 0), 2), face[:, ::-1], noise, 255 - face, np.zeros_like(face)]
    fake, real = np.stack(others), np.stack([face] * len(others))
    expected = [structural_similarity(face, f, channel_axis=2, data_range=255) for f in others]
    np.testing.assert_allclose(ssim(real, fake), expected, atol=1e-9)


def test_identical_frames_score_one():
    noise = np.random.default_rng(1).integers(0, 256, (2, 64, 80, 3), dtype=np.uint8)
    np.testing.assert_allclose(ssim(noise, noise), 1, atol=1e-12)


def test_two_flat_frames_score_their_luminance_term():
    a, b = np.full((1, 32, 32, 3), 50, np.uint8), np.full((1, 32, 32, 3), 100, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim(a, b).item() == pytest.approx((2 * 50 * 100 + c1) / (50**2 + 100**2 + c1))
