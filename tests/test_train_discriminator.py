"""The frame discriminator judges frame and sound together (paper Eq. 9)."""

import pytest
import torch

from talkface.train.discriminator import FrameDiscriminator


@pytest.mark.parametrize("height, width", [(64, 88), (256, 256)])
def test_each_pair_gets_one_score_for_crops_and_for_whole_faces(height, width):
    judge = FrameDiscriminator(height, width, channels=4)
    assert judge(torch.rand(5, 3, height, width), torch.randn(5, 20, 13)).shape == (5,)


def test_frame_and_sound_both_matter():
    judge = FrameDiscriminator(64, 88, channels=4)
    frame, windows = torch.rand(2, 3, 64, 88, requires_grad=True), torch.randn(2, 20, 13, requires_grad=True)
    judge(frame, windows)[0].backward()
    for told in (frame, windows):
        assert told.grad[0].abs().max() > 0
        assert told.grad[1].abs().max() == 0  # of the other pair


def test_the_classifier_sees_few_places_whatever_the_size():
    """The picture is halved until at most 6 places are left on a side."""
    for height, width in ((64, 88), (256, 256), (40, 30)):
        judge = FrameDiscriminator(height, width, channels=4)
        x = torch.rand(1, 3, height, width)
        for layer in judge.image:
            x = layer(x)
        assert max(x.shape[2:]) <= 6
