import cv2
import numpy as np
import pytest
import skimage.data
import skimage.transform

from talkface.config import ALIGNED_STABLE, ALIGNED_STABLE_68, EYE_CENTRE, EYE_DISTANCE
from talkface.face import align, landmarks
from talkface.face.find import FaceFinder


def similarity(scale, degrees, shift):
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def template_face():
    points = np.zeros((468, 2))
    points[list(landmarks.STABLE)] = ALIGNED_STABLE
    return points


def test_the_templates_eyes_have_the_configured_distance_and_centre():
    for template, scheme in ((ALIGNED_STABLE, 468), (ALIGNED_STABLE_68, 68)):
        points = np.zeros((scheme, 2))
        points[list(landmarks.STABLE if scheme == 468 else landmarks.STABLE_68)] = template
        assert landmarks.eye_distance(points) == pytest.approx(EYE_DISTANCE)
        assert landmarks.eye_centres(points).mean(0) == pytest.approx(EYE_CENTRE)


@pytest.mark.parametrize("degrees", [0, 20, 90, 180])
def test_fitting_a_transformed_template_inverts_the_transform(degrees):
    moved = similarity(3.0, degrees, (500, -40))
    M = align.fit_transform(align.apply(moved, template_face()))
    assert pytest.approx(align.invert(moved)) == M


def test_with_equal_weights_the_fit_equals_scikit_images(monkeypatch):
    monkeypatch.setattr(align, "EYE_WEIGHT", 1.0)
    points = np.random.default_rng(1).normal(size=(468, 2)) * 50
    expected = skimage.transform.SimilarityTransform.from_estimate(landmarks.stable(points), np.array(ALIGNED_STABLE))
    assert pytest.approx(expected.params[:2]) == align.fit_transform(points)


def test_68_points_give_the_alignment_of_468_points():
    [face] = FaceFinder().find(skimage.data.astronaut())
    fine = align.apply(align.fit_transform(face.points), face.points)
    coarse = align.apply(align.fit_transform(landmarks.to_68(face.points)), face.points)
    assert np.abs(fine - coarse).max() < 3  # px of 256


def test_the_aligned_astronaut_is_upright_with_its_eyes_at_the_configured_centre():
    [face] = FaceFinder().find(skimage.data.astronaut())
    aligned = align.apply(align.fit_transform(face.points), face.points)
    assert landmarks.eye_distance(aligned) == pytest.approx(EYE_DISTANCE, rel=0.08)
    assert landmarks.eye_centres(aligned).mean(0) == pytest.approx(EYE_CENTRE, abs=4)


def test_smoothing_preserves_constant_motion_and_shortens_the_mean_at_the_ends():
    steps = np.arange(9.0)[:, None, None]
    steady = np.ones((1, 2, 3)) + steps * np.arange(6.0).reshape(2, 3)
    assert align.smooth_transforms(steady) == pytest.approx(steady)
    spike = np.zeros((9, 2, 3))
    spike[1] = 15
    assert align.smooth_transforms(spike)[:, 0, 0] == pytest.approx([0, 5, 3, 3, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_smoothing_accepts_short_clips(count):
    transforms = np.random.default_rng(0).random((count, 2, 3))
    smoothed = align.smooth_transforms(transforms)
    assert smoothed.shape == (count, 2, 3)
    assert smoothed[:1] == pytest.approx(transforms[:1])


def test_warping_by_the_identity_returns_the_image():
    image = skimage.data.astronaut()[:256, :256]
    assert np.array_equal(align.warp(image, similarity(1, 0, (0, 0))), image)


def test_a_large_face_is_averaged_down():
    image = skimage.data.astronaut()
    aligned = align.warp(image, align.resized(similarity(1, 0, (0, 0)), 0.5))
    assert np.abs(aligned.astype(int) - cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)).max() <= 1


def test_a_larger_output_covers_the_same_area():
    image = skimage.data.astronaut()
    M = similarity(0.5, 10, (10, 20))
    fine, coarse = align.warp(image, M, 512), align.warp(image, M)
    assert np.abs(cv2.resize(fine, (256, 256), interpolation=cv2.INTER_AREA).astype(int) - coarse).mean() < 2


def test_a_point_of_the_image_appears_where_the_transform_maps_it():
    image = np.zeros((300, 400, 3), np.uint8)
    cv2.circle(image, (200, 150), 6, (255, 255, 255), -1)
    M = similarity(1.3, 30, (-60, -90))
    aligned = align.warp(image, M).astype(float)[:, :, 0]
    y, x = np.mgrid[:256, :256]
    centre = np.array([(x * aligned).sum(), (y * aligned).sum()]) / aligned.sum()
    assert centre == pytest.approx(align.apply(M, np.array([[200.0, 150.0]]))[0], abs=0.1)


def test_the_inverse_undoes_a_transform_for_each_frame_of_a_clip():
    transforms = np.stack([similarity(2, 10, (1, 2)), similarity(0.5, -70, (3, 4))])
    points = np.random.default_rng(0).random((2, 5, 2))
    there = align.apply(transforms, points)
    back = [align.apply(align.invert(M), one) for M, one in zip(transforms, there, strict=True)]
    assert np.stack(back) == pytest.approx(points)
