"""Teeth, darkness and sharpness of drawn mouths, and the kernel distance of drawn distributions."""

import cv2
import numpy as np
import pytest
import torch

from talkface.face.mouth_colours import Reference, inner_mask, reference
from talkface.metrics.mouth import kernel_distance, mouth_content, sharpness
from talkface.metrics.mouth_features import BATCH, mouth_features
from talkface.metrics.perceptual import PerceptualFeatures

SKIN, LIP = (200, 160, 140), (170, 60, 70)
BLACK, TEETH, TONGUE = (15, 8, 8), (225, 220, 205), (150, 70, 75)


@pytest.fixture
def lips(synthetic_clips):
    """float32 (40, 2) px of a crop of 88 x 64."""
    return synthetic_clips.lip_points(10.0) - np.float32([84, 150])


def drawn(lips, inside, upper=None):
    """A crop: skin, lips, and between them one colour; the upper half in another one where it is given."""
    crop = np.full((64, 88, 3), SKIN, np.uint8)
    for ring, colour in ((lips[:20], LIP), (lips[20:], inside)):
        cv2.fillPoly(crop, [np.round(ring * 16).astype(np.int32)], colour, shift=4)
    if upper is not None:
        half = inner_mask(lips, crop.shape)
        half[round(lips[:, 1].mean()) :] = False
        crop[half] = upper
    return crop


def test_the_mask_between_the_lips_has_the_area_of_their_inner_outline(lips):
    mask = inner_mask(lips, (64, 88))
    x, y = lips[20:].T
    area = abs((x * np.roll(y, 1) - y * np.roll(x, 1)).sum()) / 2  # shoelace
    perimeter = np.linalg.norm(np.diff(lips[20:], axis=0, append=lips[20:21]), axis=1).sum()
    assert area <= mask.sum() <= area + perimeter  # pixels on the outline count


def test_the_reference_is_the_colour_of_the_skin_around_the_lips_and_of_the_lips(lips):
    colours = reference(drawn(lips, BLACK), lips)
    skin, lip = (np.dot(colour, [0.299, 0.587, 0.114]) for colour in (SKIN, LIP))
    assert colours.skin_luma == pytest.approx(skin, rel=1e-5)
    assert colours.skin_redness == pytest.approx((200 - 150) / (skin + 10), rel=1e-5)
    assert colours.lip_redness == pytest.approx((170 - 65) / (lip + 10), rel=1e-5)


@pytest.mark.parametrize("inside,teeth,dark", [(BLACK, 0, 1), (TEETH, 1, 0), (TONGUE, 0, 0), (LIP, 0, 0)])
def test_a_mouth_of_one_colour_is_all_teeth_all_dark_or_neither(lips, inside, teeth, dark):
    crop = drawn(lips, inside)
    found = mouth_content(crop, lips, reference(crop, lips))
    assert (found.teeth, found.dark) == (teeth, dark)
    assert found.pixels == inner_mask(lips, crop.shape).sum()


def test_white_teeth_over_a_black_mouth_count_by_their_area(lips):
    crop = drawn(lips, BLACK, upper=TEETH)
    found = mouth_content(crop, lips, reference(crop, lips))
    assert found.teeth + found.dark == 1
    assert found.teeth == pytest.approx(0.5, abs=0.08)


def test_a_darker_camera_changes_nothing(lips):
    crop = drawn(lips, BLACK, upper=TEETH)
    darker = (crop * 0.6).round().astype(np.uint8)
    bright, dim = (mouth_content(c, lips, reference(c, lips)) for c in (crop, darker))
    assert dim.teeth == pytest.approx(bright.teeth, abs=0.01)
    assert dim.dark == pytest.approx(bright.dark, abs=0.01)


def test_a_closed_mouth_shows_nothing(synthetic_clips):
    lips = synthetic_clips.lip_points(0.0) - np.float32([300, 300])  # outside the crop
    found = mouth_content(np.zeros((64, 88, 3), np.uint8), lips, Reference(100.0, 0.5, 0.3))
    assert found == (0.0, 0.0, 0)


def test_sharpness_is_the_mean_absolute_laplacian_inside():
    """Of the gray values 0 and 240 in a checkerboard: each pixel differs from its four neighbours by 240."""
    board = (240 * (np.indices((64, 88)).sum(0) % 2)).astype(np.uint8)
    crop, inside = np.repeat(board[:, :, None], 3, 2), np.zeros((64, 88), bool)
    inside[10:40, 20:60] = True
    assert sharpness(crop, inside) == pytest.approx(4 * 240)
    assert sharpness(np.full((64, 88, 3), 90, np.uint8), inside) == 0
    assert sharpness(crop, ~inside & inside) == 0


def test_a_blurred_mouth_is_less_sharp(lips):
    crop = drawn(lips, BLACK, upper=TEETH)
    inside = inner_mask(lips, crop.shape)
    assert sharpness(cv2.GaussianBlur(crop, (5, 5), 2), inside) < 0.6 * sharpness(crop, inside)


def test_the_kernel_distance_of_two_draws_of_one_distribution_is_about_zero():
    random = np.random.default_rng(0)
    found = [kernel_distance(random.normal(size=(100, 20)), random.normal(size=(150, 20))) for _ in range(20)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 20**0.5  # unbiased
    assert np.std(found) < 0.05


def test_the_kernel_distance_grows_with_the_shift_of_a_distribution():
    random = np.random.default_rng(0)
    real, fake = random.normal(size=(200, 20)), random.normal(size=(200, 20))
    near, far = (kernel_distance(real, fake + shift) for shift in (0.3, 1.0))
    assert 0.02 < near < far
    assert kernel_distance(real, 3 * fake) > 0.02  # a wider one differs, too


def test_the_kernel_distance_is_the_unbiased_estimate_written_out():
    random = np.random.default_rng(1)
    real, fake = random.normal(size=(4, 3)), random.normal(size=(3, 3))
    scale = np.concatenate([real, fake]).std(0) + 1e-3
    a, b = real / scale, fake / scale
    kernel = lambda x, y: (sum(p * q for p, q in zip(x, y, strict=True)) / 3 + 1) ** 3  # noqa: E731
    within = [kernel(x, y) for s in (a, b) for i, x in enumerate(s) for j, y in enumerate(s) if i != j]
    expected = np.mean(within[:12]) + np.mean(within[12:]) - 2 * np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(real, fake) == pytest.approx(expected)


@pytest.mark.parametrize("sizes", [(1, 5), (5, 1), (0, 0)])
def test_too_few_crops_have_no_distance(sizes):
    assert np.isnan(kernel_distance(np.zeros((sizes[0], 4)), np.zeros((sizes[1], 4))))


@pytest.fixture(scope="module")
def network():
    return PerceptualFeatures()


def test_the_features_of_crops_do_not_depend_on_the_other_crops(network, one_thread):
    crops = torch.rand(BATCH + 1, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    area = torch.zeros(BATCH + 1, 1, 32, 40)
    area[:, :, 10:20, 12:28] = 1
    features = mouth_features(network, crops, area)
    assert features.shape == (BATCH + 1, 2 * (128 + 256))
    for row in (0, BATCH):
        assert torch.allclose(mouth_features(network, crops[row : row + 1], area[:1])[0], features[row], atol=1e-4)


def test_the_features_are_those_of_the_painted_area(network, one_thread):
    crop = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    area, far = torch.zeros(1, 1, 48, 64), crop.clone()
    area[:, :, 18:24, 18:24] = 1
    far[..., 44:56] = 1 - far[..., 44:56]  # further away than the network sees
    near = crop.clone()
    near[..., 18:24, 18:24] = 1 - near[..., 18:24, 18:24]
    base = mouth_features(network, crop, area)
    assert torch.allclose(mouth_features(network, far, area), base, atol=1e-4)
    assert not torch.allclose(mouth_features(network, near, area), base, atol=1e-2)
    assert torch.isfinite(mouth_features(network, crop, torch.zeros_like(area))).all()
