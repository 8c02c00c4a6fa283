"""The warp from lip points: lips go where they are sent, each on its own, and far from them nothing moves."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from talkface.config import ALIGNED_LIPS
from talkface.face.landmarks import LIPS, LIPS_INNER
from talkface.model.lipwarp import INNER_LOWER, INNER_UPPER, LOWER, UPPER, LipWarp

WINDOW = (56, 112, 144)
LIPS_AT = torch.tensor(ALIGNED_LIPS)[None]
UPPER_ONLY = sorted(set(UPPER) - set(LOWER))
LOWER_ONLY = sorted(set(LOWER) - set(UPPER))


@pytest.fixture(scope="module")
def lip_warp():
    return LipWarp(WINDOW)


def at(field, points):
    """A field (1, C, 144, 144) at aligned px (1, N, 2): (N, C)."""
    where = (points - torch.tensor(WINDOW[:2]) + 0.5) * (2 / WINDOW[2]) - 1
    return F.grid_sample(field, where[:, :, None], align_corners=False)[0, :, :, 0].T


def opened(pixels):
    """Moves that carry the lower lip's points down, those between the corners all alike."""
    moves = torch.zeros(1, 40, 2)
    moves[:, LOWER_ONLY, 1] = pixels
    return moves


def test_the_outlines_are_those_of_the_mesh():
    assert sorted({*UPPER, *LOWER}) == list(range(40))
    for outline, middle in ((INNER_UPPER, 13), (INNER_LOWER, 14)):
        mesh = [LIPS[point] for point in outline]
        assert (mesh[0], mesh[5], mesh[-1]) == (78, middle, 308)
        assert set(mesh) <= set(LIPS_INNER)
        across = LIPS_AT[0, list(outline), 0]
        assert (across.diff() > 0).all()


def test_no_move_is_no_flow(lip_warp):
    assert lip_warp(LIPS_AT, torch.zeros(1, 40, 2))[0].abs().max() == 0


@pytest.mark.parametrize("moves", [(3.0, 0.0), (0.0, -4.0), (-2.0, 5.0)])
def test_a_mouth_that_moves_as_a_whole_takes_its_surroundings_along_and_nothing_far_off(lip_warp, moves):
    moves = torch.tensor(moves).expand(1, 40, 2)
    flow, *_ = lip_warp(LIPS_AT, moves)
    assert torch.linalg.vector_norm(at(flow, LIPS_AT + moves) + moves[0], dim=1).max() < 0.3
    assert flow[..., :2].abs().max() < 0.05 * flow.abs().max()
    assert flow[:, :, 2].abs().max() < 0.05 * flow.abs().max()


@pytest.mark.parametrize("pixels", [10.0, 4.0, -4.0])
def test_a_mouth_opens_and_closes_though_its_lips_touch(lip_warp, pixels):
    """Whichever way: at each lip's wanted points the flow leads back to that lip's own points in the photo."""
    moves = opened(pixels)
    photo = LIPS_AT if pixels > 0 else LIPS_AT + opened(-pixels)
    flow, *_ = lip_warp(photo, moves)
    wanted = photo + moves
    outer = [point for point in (*UPPER_ONLY, *LOWER_ONLY) if point < 20]
    error = torch.linalg.vector_norm(at(flow, wanted) + moves[0], dim=1)[outer]
    assert error.mean() < 0.12 * abs(pixels)
    middle = wanted[:, [INNER_UPPER[5], INNER_LOWER[5]]] + torch.tensor([[[0.0, -2.0], [0.0, 2.0]]])
    above, below = at(flow, middle)[:, 1]
    assert abs(above) < 0.25 * abs(pixels)
    assert abs(below + pixels) < 0.25 * abs(pixels)


def test_the_mouth_is_what_lies_between_the_lips(lip_warp):
    closed = lip_warp(LIPS_AT, opened(-6.5))[1]
    _, mouth, edged = lip_warp(LIPS_AT, opened(10.0))
    assert mouth.min() == 0
    assert mouth.max() == 1
    assert closed.sum() < 0.05 * mouth.sum()
    lips = (LIPS_AT + opened(10.0))[0, [*INNER_UPPER, *INNER_LOWER[-2:0:-1]]].numpy()
    x, y = lips.T
    area = abs((x * np.roll(y, 1) - y * np.roll(x, 1)).sum()) / 2  # shoelace
    assert mouth.sum().item() == pytest.approx(area, rel=0.1)
    assert (edged >= mouth - 0.5).all()
    assert F.max_pool2d(mouth, 9, 1, 4)[edged > 0].min() > 0  # and no more than the lips' inner edge
    assert (edged * (mouth == 0)).sum() > 0.1 * area


def test_each_row_of_a_batch_is_warped_by_itself(lip_warp):
    moves = torch.cat([opened(8.0), opened(-2.0)])
    photos = torch.cat([LIPS_AT, LIPS_AT + 5])
    together = lip_warp(photos, moves)
    for row in range(2):
        alone = lip_warp(photos[row : row + 1], moves[row : row + 1])
        for joint, single in zip(together, alone, strict=True):
            assert torch.allclose(joint[row], single[0], atol=1e-4)


def test_the_flow_tells_the_moves_how_to_change(lip_warp):
    moves = opened(5.0).requires_grad_()
    flow, *_ = lip_warp(LIPS_AT, moves)
    flow[:, 1].sum().backward()
    assert (moves.grad[:, LOWER_ONLY, 1] != 0).all()


@pytest.mark.parametrize("lips", [torch.full((1, 40, 2), 180.0), LIPS_AT * 0])
def test_lips_that_are_no_mouth_give_numbers_all_the_same(lip_warp, lips):
    for field in lip_warp(lips, opened(9.0)):
        assert torch.isfinite(field).all()
