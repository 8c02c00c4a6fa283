"""The frame discriminator judges frame and sound together (paper Eq. 9)."""

import torch

from talkface.train.discriminator import FrameDiscriminator


def test_each_pair_gets_one_score(mini_config):
    judge = FrameDiscriminator(mini_config, width=4)
    assert judge(torch.rand(5, 3, 96, 96), torch.randn(5, 3, 20, 13)).shape == (5,)


def test_frame_and_sound_both_matter(mini_config):
    judge = FrameDiscriminator(mini_config, width=4)
    frame, windows = torch.rand(2, 3, 96, 96, requires_grad=True), torch.randn(2, 3, 20, 13, requires_grad=True)
    judge(frame, windows)[0].backward()
    for told in (frame, windows):
        assert told.grad[0].abs().max() > 0
        assert told.grad[1].abs().max() == 0  # of the other pair
