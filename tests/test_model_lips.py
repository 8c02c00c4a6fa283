"""Lip shapes: the opening of drawn mouths, opening and closing them, the direction in which mouths open."""

import numpy as np
import pytest
import torch

from talkface.config import ALIGNED_LIPS, EYE_DISTANCE
from talkface.face.landmarks import mouth_opening
from talkface.model.lips import opening, opening_direction, with_opening

LIPS = torch.tensor(ALIGNED_LIPS)


@pytest.mark.parametrize("gap", [0.0, 3.0, 12.0])
def test_the_opening_of_a_drawn_mouth_is_its_gap_over_the_eye_distance(synthetic_clips, gap):
    """The three middle pairs of an ellipse: at its middle and at 18 degrees to either side, twice the half-axis."""
    lips = synthetic_clips.lip_points(gap)
    expected = 2 * gap * (1 + 2 * np.cos(np.radians(18))) / 3 / EYE_DISTANCE
    assert opening(torch.tensor(lips)).item() == pytest.approx(expected, abs=1e-5)
    assert opening(torch.tensor(lips)).item() == pytest.approx(float(mouth_opening(lips, EYE_DISTANCE)), abs=1e-5)


def test_lips_that_overlap_have_a_negative_opening(lip_direction):
    assert opening(LIPS - 0.2 * lip_direction) < 0


def test_an_opening_is_found_for_each_frame():
    many = LIPS.expand(2, 5, 40, 2)
    assert opening(many).shape == (2, 5)
    assert torch.allclose(opening(many), opening(LIPS))


@pytest.mark.parametrize("wanted", [0.0, 0.05, 0.3])
def test_lips_get_the_opening_that_is_wanted_and_nothing_moves_sideways(lip_direction, wanted):
    moved = with_opening(LIPS, torch.tensor(wanted), lip_direction)
    assert opening(moved).item() == pytest.approx(wanted, abs=1e-5)
    assert torch.equal(moved[:, 0], LIPS[:, 0])
    assert torch.allclose(moved[[0, 10, 20, 30]], LIPS[[0, 10, 20, 30]])  # the direction leaves the corners alone


def test_an_inexact_direction_is_repeated_until_the_opening_is_right(lip_direction):
    moved = with_opening(LIPS, torch.tensor(0.2), 0.8 * lip_direction)
    assert opening(moved).item() == pytest.approx(0.2, abs=0.2**3)


def test_each_frame_gets_its_own_opening(lip_direction):
    wanted = torch.rand(2, 3)
    moved = with_opening(LIPS.expand(2, 3, 40, 2), wanted, lip_direction)
    assert torch.allclose(opening(moved), wanted, atol=1e-5)


def test_the_direction_is_found_from_clips_of_people_with_other_faces_and_places(lip_direction):
    generator = torch.Generator().manual_seed(0)
    clips = []
    for person in range(3):
        face = LIPS + torch.randn(40, 2, generator=generator) + 5 * person
        gaps = torch.rand(50, generator=generator)
        clips.append(face + gaps[:, None, None] * lip_direction)
    assert torch.allclose(opening_direction(clips), lip_direction, atol=1e-3)


def test_the_direction_of_a_gap_opens_the_mouth_by_one():
    """Whatever moves the lips: the regression on the opening has itself an opening of 1."""
    generator = torch.Generator().manual_seed(1)
    clips = [LIPS + 3 * torch.randn(60, 40, 2, generator=generator)]
    assert opening(opening_direction(clips)).item() == pytest.approx(1, abs=1e-4)
