"""Dynamic attention: the paper's schedule, the coarse mask, the dimmed photo."""

import pytest
import torch

from talkface.config import ALIGNED_LIPS
from talkface.model.attention import LIP_RADII, attend, attention_rate, coarse_mask

LIPS = torch.tensor(ALIGNED_LIPS)[None]


def pixels(width, height, left=0, top=0):
    """x and y of each pixel, (1, 2, H, W) px."""
    x, y = torch.meshgrid(torch.arange(width) + left, torch.arange(height) + top, indexing="xy")
    return torch.stack([x, y])[None].float()


@pytest.mark.parametrize(
    "progress,low,high",
    [
        (0.0, 0.7, 0.9),
        (0.4, 0.7, 0.9),
        (0.55, 0.4, 0.6),
        (0.7, 0.1, 0.3),
        (0.84, 0.1, 0.3),
        (0.85, 1.0, 1.0),
        (1.0, 1.0, 1.0),
    ],
)
def test_the_rate_is_high_then_low_then_one(progress, low, high):
    """Paper 3.3: 0.7 to 0.9 at the start, progressively down to 0.1 to 0.3, 1 for the last epochs."""
    assert attention_rate(progress) == pytest.approx((low, high))


def test_the_rate_never_rises_before_the_last_epochs():
    lows = [attention_rate(i / 100)[0] for i in range(85)]
    assert lows == sorted(lows, reverse=True)


@pytest.mark.parametrize("gap", [0.0, 8.0])
def test_the_coarse_mask_covers_the_lips_and_leaves_the_rest(synthetic_clips, gap):
    lips = torch.tensor(synthetic_clips.lip_points(gap))
    mask = coarse_mask(lips[None], pixels(256, 256))[0, 0]
    x, y = (int(c) for c in synthetic_clips.mouth)
    assert mask.shape == (256, 256)
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert mask[y, x] == 1
    assert all(mask[int(v), int(u)] == 1 for u, v in lips)
    assert mask[y, x + round(1.2 * LIP_RADII[0])] == 0
    assert mask[:120].max() == 0  # eyes and nose


def test_the_coarse_mask_follows_the_lips_of_each_row():
    moved = LIPS + torch.tensor([10.0, -4.0])
    masks = coarse_mask(torch.cat([LIPS, moved]), pixels(256, 256))
    assert torch.allclose(masks[1, 0], masks[0, 0].roll((-4, 10), (0, 1)), atol=1e-5)


def test_the_coarse_mask_of_a_crop_is_that_part_of_the_whole():
    whole = coarse_mask(LIPS, pixels(256, 256))
    assert torch.equal(coarse_mask(LIPS, pixels(88, 64, 84, 158)), whole[:, :, 158:222, 84:172])
    corner = torch.tensor([84.0, 158.0])
    assert torch.allclose(coarse_mask(LIPS - corner, pixels(88, 64)), whole[:, :, 158:222, 84:172], atol=1e-5)


def test_rate_one_shows_the_photo_and_rate_zero_hides_its_lips():
    photo, mask = torch.rand(2, 3, 64, 88), coarse_mask(LIPS, pixels(88, 64, 84, 158))
    assert torch.equal(attend(photo, mask, 1.0), photo)
    hidden = attend(photo, mask, 0.0)
    assert hidden[mask.expand_as(hidden) == 1].abs().max() == 0
    assert torch.equal(hidden[mask.expand_as(hidden) == 0], photo[mask.expand_as(hidden) == 0])


def test_each_photo_has_its_own_rate():
    photo, mask = torch.ones(2, 3, 8, 8), torch.ones(1, 1, 8, 8)
    seen = attend(photo, mask, torch.tensor([0.25, 0.75])[:, None, None, None])
    assert seen[0].unique().tolist() == [0.25]
    assert seen[1].unique().tolist() == [0.75]
