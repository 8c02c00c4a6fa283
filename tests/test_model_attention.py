"""Dynamic attention: the paper's schedule, the coarse mask, the dimmed photo."""

import pytest
import torch

from talkface.model.attention import LIP_BOX, LIP_CENTRE, LIP_RADII, attend, attention_rate, coarse_mask


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


def test_the_coarse_mask_covers_the_lips_and_leaves_the_rest(synthetic_clips):
    mask = coarse_mask((0, 0, 256))[0, 0]
    x, y = (int(c) for c in LIP_CENTRE)
    assert mask.shape == (256, 256)
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert mask[y, x] == 1
    assert all(mask[int(v), int(u)] == 1 for u, v in synthetic_clips.lip_points(8.0))
    assert mask[y, x + round(1.2 * LIP_RADII[0])] == 0
    assert mask[:120].max() == 0  # eyes and nose


def test_the_coarse_mask_of_a_window_is_that_part_of_the_whole():
    assert torch.equal(coarse_mask((56, 112, 144)), coarse_mask((0, 0, 256))[:, :, 112:256, 56:200])


def test_the_coarse_mask_reaches_zero_around_the_lip_box():
    x0, y0, x1, y1 = LIP_BOX
    inside = coarse_mask((0, 0, 256))[0, 0, y0:y1, x0:x1].sum()
    assert inside > 0.95 * coarse_mask((0, 0, 256)).sum()


def test_rate_one_shows_the_photo_and_rate_zero_hides_its_lips():
    photo, mask = torch.rand(2, 3, 144, 144), coarse_mask((56, 112, 144))
    assert torch.equal(attend(photo, mask, 1.0), photo)
    hidden = attend(photo, mask, 0.0)
    assert hidden[mask.expand_as(hidden) == 1].abs().max() == 0
    assert torch.equal(hidden[mask.expand_as(hidden) == 0], photo[mask.expand_as(hidden) == 0])


def test_each_photo_has_its_own_rate():
    photo, mask = torch.ones(2, 3, 8, 8), torch.ones(1, 1, 8, 8)
    seen = attend(photo, mask, torch.tensor([0.25, 0.75])[:, None, None, None])
    assert seen[0].unique().tolist() == [0.25]
    assert seen[1].unique().tolist() == [0.75]
