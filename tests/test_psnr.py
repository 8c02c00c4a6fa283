import math

import cv2
import numpy as np
import pytest
from skimage.data import astronaut
from skimage.metrics import peak_signal_noise_ratio

from talkface.metrics.psnr import psnr, psnr_lineage


@pytest.fixture(scope="module")
def face():
    return cv2.resize(astronaut()[:200, 130:330], (256, 256), interpolation=cv2.INTER_CUBIC)


def flat(value):
    return np.full((1, 256, 256, 3), value, np.uint8)


def test_psnr_is_scikit_images_frame_by_frame(face):
    blurred = cv2.GaussianBlur(face, (0, 0), 2)
    fake = np.stack([blurred, face[:, ::-1], np.roll(face, 3, 1)])
    real = np.stack([face] * 3)
    expected = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(real, fake, strict=True)]
    np.testing.assert_allclose(psnr(real, fake), expected, rtol=1e-12)


def test_a_flat_error_has_the_psnr_of_the_formula():
    assert psnr(flat(100), flat(116)).item() == pytest.approx(20 * math.log10(255 / 16))


def test_identical_frames_score_100_which_is_the_maximum():
    one_step = flat(100)
    one_step[0, 0, 0, 0] = 101
    assert psnr(flat(100), flat(100)).item() == 100
    assert psnr(flat(100), one_step).item() == 100
    assert psnr_lineage(flat(100), flat(100)).item() == 100


def test_an_error_in_brightness_lowers_the_score(face):
    darker = np.round(0.8 * face.astype(float) + 25).astype(np.uint8)
    assert psnr(face[None], darker[None]).item() < 27


@pytest.mark.parametrize("levels", [16, 32, 64, 128])
def test_psnr_lineage_gives_these_brightness_errors_the_maximum(levels):
    assert psnr_lineage(flat(100), flat(100 + levels)).item() == 100
    assert psnr(flat(100), flat(100 + levels)).item() < 25


def test_psnr_lineage_wraps_both_the_difference_and_its_square():
    # 90 - 100 wraps to 246; 246^2 = 60516 wraps to 100, as (-10)^2 would. 20^2 = 400 wraps to 144.
    assert psnr_lineage(flat(90), flat(100)).item() == pytest.approx(10 * math.log10(255**2 / 100))
    assert psnr_lineage(flat(120), flat(100)).item() == pytest.approx(10 * math.log10(255**2 / 144))


def test_psnr_lineage_is_never_below_24_db():
    assert min(psnr_lineage(flat(0), flat(v)).item() for v in range(256)) >= 24.0


def test_psnr_lineage_gives_a_mirrored_face_and_random_pictures_high_values(face):
    noise = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    assert psnr(face[None], face[None, :, ::-1]).item() < 12
    assert 27 < psnr_lineage(face[None], face[None, :, ::-1]).item() < 30
    assert 27 < psnr_lineage(face[None], noise).item() < 30


def test_psnr_lineage_is_the_formula_on_unsigned_bytes(face):
    fake = cv2.GaussianBlur(face, (0, 0), 4)
    a, b = (cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in (face, fake))
    expected = 20 * math.log10(255.0 / math.sqrt(np.mean((a - b) ** 2)))  # their line, uint8 arithmetic and all
    assert psnr_lineage(face[None], fake[None]).item() == pytest.approx(expected)


def test_shapes_and_types_are_checked():
    with pytest.raises(ValueError, match="one shape"):
        psnr(flat(1), flat(1)[:, :128])
    with pytest.raises(ValueError, match="uint8"):
        psnr(flat(1).astype(np.float32), flat(1).astype(np.float32))
