"""The warp from lip points: lips go where they are sent, each on its own, and far from them nothing moves."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from talkface.config import ALIGNED_LIPS
from talkface.face.landmarks import LIPS, LIPS_INNER
from talkface.model.lipwarp import INNER_LOWER, INNER_UPPER, LOWER, UPPER, LipWarp, warp

LEFT, TOP, WIDTH, HEIGHT = 48, 104, 160, 144  # px: a rectangle of the aligned face, not square
LIPS_AT = torch.tensor(ALIGNED_LIPS)[None] - torch.tensor([LEFT, TOP])
UPPER_ONLY = sorted(set(UPPER) - set(LOWER))
LOWER_ONLY = sorted(set(LOWER) - set(UPPER))


@pytest.fixture(scope="module")
def lip_warp():
    return LipWarp(WIDTH, HEIGHT)


def at(field, points):
    """A field (1, C, H, W) at px (1, N, 2): (N, C)."""
    where = (points + 0.5) * 2 / torch.tensor([WIDTH, HEIGHT]) - 1
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
    flow, _ = lip_warp(LIPS_AT, torch.zeros(1, 40, 2))
    assert flow.shape == (1, 2, HEIGHT, WIDTH)
    assert flow.abs().max() == 0


@pytest.mark.parametrize("moves", [(3.0, 0.0), (0.0, -4.0), (-2.0, 5.0)])
def test_a_mouth_that_moves_as_a_whole_takes_its_surroundings_along_and_nothing_far_off(lip_warp, moves):
    moves = torch.tensor(moves).expand(1, 40, 2)
    flow, _ = lip_warp(LIPS_AT, moves)
    assert torch.linalg.vector_norm(at(flow, LIPS_AT + moves) + moves[0], dim=1).max() < 0.3
    for edge in (flow[..., :2], flow[..., -2:], flow[:, :, :2]):
        assert edge.abs().max() < 0.05 * flow.abs().max()


@pytest.mark.parametrize("pixels", [10.0, 4.0, -4.0])
def test_a_mouth_opens_and_closes_though_its_lips_touch(lip_warp, pixels):
    """Whichever way: at each lip's wanted points the flow leads back to that lip's own points in the photo."""
    moves = opened(pixels)
    photo = LIPS_AT if pixels > 0 else LIPS_AT + opened(-pixels)
    flow, _ = lip_warp(photo, moves)
    wanted = photo + moves
    outer = [point for point in (*UPPER_ONLY, *LOWER_ONLY) if point < 20]
    error = torch.linalg.vector_norm(at(flow, wanted) + moves[0], dim=1)[outer]
    assert error.mean() < 0.12 * abs(pixels)
    middle = wanted[:, [INNER_UPPER[5], INNER_LOWER[5]]] + torch.tensor([[[0.0, -2.0], [0.0, 2.0]]])
    above, below = at(flow, middle)[:, 1]
    assert abs(above) < 0.25 * abs(pixels)
    assert abs(below + pixels) < 0.25 * abs(pixels)


def test_the_flow_of_a_rectangle_is_that_part_of_the_flow_of_a_larger_one(lip_warp):
    moves = opened(8.0)
    whole = lip_warp(LIPS_AT, moves)[0]
    part = LipWarp(88, 64)(LIPS_AT - torch.tensor([36.0, 56.0]), moves)[0]
    difference = (part - whole[:, :, 56:120, 36:124])[..., 4:-4, 4:-4]
    assert difference.abs().max() < 0.05


def test_the_mouth_is_what_lies_between_the_lips(lip_warp):
    closed = lip_warp.shape(LIPS_AT + opened(-6.5)).mouth
    _, shape = lip_warp(LIPS_AT, opened(10.0))
    mouth, edged = shape.mouth, shape.edged
    assert mouth.shape == (1, 1, HEIGHT, WIDTH)
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


def test_the_distances_to_the_lips_add_up_to_the_height_of_the_mouth(lip_warp):
    shape = lip_warp.shape(LIPS_AT + opened(10.0))
    column = round(LIPS_AT[0, INNER_UPPER[5], 0].item())
    below, above = shape.below_upper[0, 0, :, column], shape.above_lower[0, 0, :, column]
    height = (LIPS_AT + opened(10.0))[0, INNER_LOWER[5], 1] - LIPS_AT[0, INNER_UPPER[5], 1]
    assert torch.allclose(below + above, height.expand(HEIGHT), atol=0.5)
    assert torch.allclose(below.diff(), torch.ones(HEIGHT - 1), atol=1e-4)


def test_the_lower_lips_share_grows_from_none_above_the_mouth_to_all_below_it(lip_warp):
    share = lip_warp.shape(LIPS_AT + opened(10.0)).lower_share[0, 0]
    column = share[:, round(LIPS_AT[0, INNER_UPPER[5], 0].item())]
    assert (column[0], column[-1]) == (0, 1)
    assert (column.diff() >= 0).all()


def test_each_row_of_a_batch_is_warped_by_itself(lip_warp):
    moves = torch.cat([opened(8.0), opened(-2.0)])
    photos = torch.cat([LIPS_AT, LIPS_AT + 5])
    flows, shapes = lip_warp(photos, moves)
    for row in range(2):
        flow, shape = lip_warp(photos[row : row + 1], moves[row : row + 1])
        for joint, single in zip((flows, *shapes), (flow, *shape), strict=True):
            assert torch.allclose(joint[row], single[0], atol=1e-4)


def test_the_flow_has_a_gradient_for_every_move(lip_warp):
    moves = opened(5.0).requires_grad_()
    flow, _ = lip_warp(LIPS_AT, moves)
    flow[:, 1].sum().backward()
    assert (moves.grad[:, LOWER_ONLY, 1] != 0).all()


@pytest.mark.parametrize("lips", [torch.full((1, 40, 2), 80.0), LIPS_AT * 0])
def test_lips_that_are_no_mouth_give_finite_fields(lip_warp, lips):
    flow, shape = lip_warp(lips, opened(9.0))
    for field in (flow, *shape):
        assert torch.isfinite(field).all()


def test_points_that_are_not_a_number_give_fields_that_are_not_and_no_error(lip_warp):
    assert lip_warp(LIPS_AT * float("nan"), opened(9.0))[0].isnan().all()


@pytest.mark.parametrize("shift", [(3, 0), (0, 5), (-2, 4)])
@pytest.mark.parametrize("whole_field", [True, False])
def test_a_constant_flow_shifts_the_picture(shift, whole_field):
    """Backward flow: the result at p shows the picture at p + flow(p)."""
    picture = torch.rand(2, 3, 32, 48)
    flow = torch.tensor(shift).float().reshape(1, 2, 1, 1).expand(2, -1, -1, -1)
    flow = flow.expand(-1, -1, 32, 48) if whole_field else flow
    expected = torch.roll(picture, (-shift[1], -shift[0]), (2, 3))
    shifted = warp(picture, flow)
    assert torch.allclose(shifted[..., 6:-6, 6:-6], expected[..., 6:-6, 6:-6], atol=1e-5)


def test_no_flow_is_the_picture_and_beyond_its_border_the_borders_colour_goes_on():
    picture = torch.rand(1, 3, 32, 48)
    assert torch.allclose(warp(picture, torch.zeros(1, 2, 32, 48)), picture, atol=1e-5)
    beyond = warp(picture, torch.tensor([100.0, 0.0]).reshape(1, 2, 1, 1))
    assert torch.allclose(beyond, picture[..., -1:].expand_as(beyond), atol=1e-5)


def test_a_flow_of_half_a_pixel_mixes_two_neighbours():
    picture, half = torch.rand(1, 3, 32, 48), torch.zeros(1, 2, 32, 48)
    half[:, 0] = 0.5
    expected = (picture[..., :-1] + picture[..., 1:]) / 2
    assert torch.allclose(warp(picture, half)[..., :-1], expected, atol=1e-5)
