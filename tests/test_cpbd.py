import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from talkface.metrics.cpbd import cpbd, edge_widths


def slope(width, height=128, low=40.0, high=200.0):
    """An edge that rises from low to high over `width` px around column 64 of 128, steepest in the middle."""
    phase = np.clip((np.arange(128) - 64) / width, -0.5, 0.5)
    return np.tile(low + (high - low) * (np.sin(np.pi * phase) + 1) / 2, (height, 1))


def colour(grey):
    return np.repeat(np.round(grey).astype(np.uint8)[None, :, :, None], 3, axis=3)


@pytest.mark.parametrize("width", [2, 4, 8, 12, 20])
def test_the_width_of_a_slope_is_found(width):
    found = edge_widths(slope(width))
    np.testing.assert_array_equal(found[1:-1, 64], width)
    assert np.all(found[:, :60] == 0)


def test_a_falling_edge_is_as_wide_as_its_mirror_image():
    picture = cv2.GaussianBlur(astronaut()[:192, 130:322].mean(2), (0, 0), 1.5)
    there, back = edge_widths(picture), edge_widths(picture[:, ::-1].copy())[:, ::-1]
    same = (there > 0) & (back > 0)
    assert same.sum() > 500
    assert np.mean(there[same] == back[same]) > 0.99


def test_blur_lowers_the_score_step_by_step():
    photo = astronaut()[:256, 100:356]
    frames = np.stack([photo, *(cv2.GaussianBlur(photo, (0, 0), s) for s in (1, 2, 4))])
    scores = cpbd(frames)
    assert np.all(np.diff(scores) < 0)
    assert scores[-1] < 0.05


def test_a_step_scores_one_and_a_flat_picture_scores_zero():
    assert cpbd(colour(slope(1))).item() == pytest.approx(1)
    assert cpbd(colour(np.full((128, 128), 90.0))).item() == 0


def test_the_score_of_a_known_photo_is_that_of_the_published_port():
    # cpbd-py312 1.0.3 (a port of the authors' MATLAB code) gives 0.38360941586748 for this picture.
    assert cpbd(astronaut()[None]).item() == pytest.approx(0.383609415867, abs=2e-3)
