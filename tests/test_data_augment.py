"""Distortions of MFCC windows."""

import pytest
import torch

from talkface.data.augment import distort_sound


@pytest.mark.parametrize("shape", [(64, 3, 20, 13), (64, 2, 3, 20, 13)])
def test_sound_is_distorted_by_as_much_as_is_said(shape):
    torch.manual_seed(0)
    windows = torch.randn(shape)
    heard = distort_sound(windows)
    assert heard.shape == windows.shape
    gaps = (heard == 0).all(-1)
    assert gaps.float().mean().item() == pytest.approx(0.03, abs=0.006)
    moved = (heard - windows)[~gaps]
    assert 0.05 < moved.std() < 0.2
    assert moved[:, 12].std() < moved[:, 0].std()  # the tilt is smooth: mostly in the low coefficients


def test_gain_and_tilt_are_the_same_for_all_windows_of_a_sequence():
    torch.manual_seed(0)
    moved = distort_sound(torch.zeros(200, 4, 20, 13))  # tilt and noise alone
    tilt = moved.mean((1, 2))  # of each sequence
    noise = moved - tilt[:, None, None]
    assert tilt[:, 0].std().item() == pytest.approx(0.15, rel=0.2)
    assert noise.mean(2).std() < 0.02


def test_the_same_seed_distorts_alike():
    windows = torch.randn(3, 2, 20, 13)
    torch.manual_seed(5)
    first = distort_sound(windows)
    torch.manual_seed(5)
    assert torch.equal(distort_sound(windows), first)
