"""Encoders: what they see and what comes out."""

import pytest
import torch
from torch.nn import functional as F

from talkface.model.encoders import AudioEncoder, ImageEncoder, conv_weights_channels_last


@pytest.mark.parametrize("windows", [1, 5])
def test_a_frames_windows_become_one_vector(windows):
    encoder = AudioEncoder(8, 24, windows, dropout=0.2).eval()
    assert encoder(torch.randn(5, windows, 20, 13)).shape == (5, 24)


def test_every_window_of_the_context_is_heard():
    encoder, windows = AudioEncoder(8, 24, 3, dropout=0.2).eval(), torch.randn(1, 3, 20, 13)
    silent = encoder(windows)
    for i in range(3):
        changed = windows.clone()
        changed[0, i] += 1
        assert not torch.allclose(encoder(changed), silent)


def test_frames_do_not_hear_each_others_sound():
    encoder, windows = AudioEncoder(8, 24, 3, dropout=0.2).eval(), torch.randn(4, 3, 20, 13)
    together = encoder(windows)
    assert torch.allclose(torch.cat([encoder(w[None]) for w in windows]), together, atol=1e-6)


def test_dropout_is_of_training_alone_and_can_be_left_out():
    windows = torch.randn(2, 3, 20, 13)
    for dropout, same in ((0.2, False), (0.0, True)):
        encoder = AudioEncoder(8, 24, 3, dropout).train()
        assert torch.equal(encoder(windows), encoder(windows)) is same
        encoder.eval()
        assert torch.equal(encoder(windows), encoder(windows))


@pytest.mark.parametrize("fold", [1, 2])
def test_a_picture_becomes_maps_of_half_the_size_each(fold):
    maps = ImageEncoder(4, (8, 12, 16, 20), fold)(torch.rand(2, 4, 32, 32))
    side = 32 // fold
    assert [m.shape[1:] for m in maps] == [
        (8, side, side),
        (12, side // 2, side // 2),
        (16, side // 4, side // 4),
        (20, side // 8, side // 8),
    ]


def test_channels_last_changes_the_order_in_memory_and_no_value():
    encoder, picture = ImageEncoder(3, (8, 8, 8, 8), 2), torch.rand(1, 3, 32, 32)
    before = encoder(picture)[-1]
    kernel = conv_weights_channels_last(encoder).down[0][0][0].weight
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert F.mse_loss(encoder(picture)[-1], before) < 1e-12
