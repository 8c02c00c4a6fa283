"""The drawn faces that the training tests use have their lip points where the networks expect them."""

import math

import pytest
import torch

from talkface.config import ALIGNED_LIPS
from talkface.model.lipwarp import LipWarp

WINDOW = (56, 112, 144)  # left, top and side in px of the aligned face, as in the default configuration


def test_both_rings_run_from_the_left_corner_along_the_lower_lip_and_back_along_the_upper_lip(synthetic_clips):
    for lips in (synthetic_clips.lip_points(8.0), torch.tensor(ALIGNED_LIPS).numpy()):
        for ring in lips.reshape(2, 20, 2):
            left, right = ring[0], ring[10]
            assert (ring[1:10, 1] > max(left[1], right[1])).all()
            assert (ring[11:, 1] < max(left[1], right[1])).all()
            assert ring[:, 0].argmin() == 0
            assert ring[:, 0].argmax() == 10


def test_the_lip_warp_sees_the_widest_drawn_mouth_open(synthetic_clips):
    lips = torch.tensor(synthetic_clips.lip_points(synthetic_clips.widest))[None]
    mouth = LipWarp(WINDOW)(lips, torch.zeros_like(lips))[1]
    polygon = 10 * math.sin(math.tau / 20) * synthetic_clips.half_width * synthetic_clips.widest  # px of the inner ring
    assert mouth.sum().item() == pytest.approx(polygon, rel=0.05)
