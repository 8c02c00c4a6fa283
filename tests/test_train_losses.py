"""Loss terms against closed forms (paper Eq. 9 to 11, and ours)."""

import math

import numpy as np
import pytest
import torch

from talkface.model.attention import LIP_BOX
from talkface.train import losses
from talkface.metrics.perceptual import PerceptualFeatures

WINDOW = (56, 112, 144)


def test_gan_losses_of_a_judge_who_cannot_tell_are_ln_two():
    none = torch.zeros(8)
    assert losses.discriminator_loss(none, none).item() == pytest.approx(2 * math.log(2))
    assert losses.generator_gan_loss(none).item() == pytest.approx(math.log(2))


def test_gan_losses_are_the_papers_logarithms():
    """Eq. 9 with D = sigmoid of the logits."""
    real, fake = np.random.default_rng(0).normal(size=(2, 20))
    d = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    expected = -np.mean(np.log(d(real))) - np.mean(np.log(1 - d(fake)))
    assert losses.discriminator_loss(torch.tensor(real), torch.tensor(fake)).item() == pytest.approx(expected)
    assert losses.generator_gan_loss(torch.tensor(fake)).item() == pytest.approx(-np.mean(np.log(d(fake))))


def test_the_lip_loss_looks_at_the_lip_area_alone():
    real, (x0, y0, x1, y1), (left, top, _) = torch.rand(2, 3, 144, 144), LIP_BOX, WINDOW
    fake = torch.rand(2, 3, 144, 144)
    fake[..., y0 - top : y1 - top, x0 - left : x1 - left] = real[..., y0 - top : y1 - top, x0 - left : x1 - left] + 0.25
    assert losses.lip_loss(real, fake, WINDOW).item() == pytest.approx(0.25, abs=1e-6)
    assert losses.crop_lips(real, WINDOW).shape == (2, 3, y1 - y0, x1 - x0)


def test_the_lip_area_is_clipped_to_a_small_window():
    assert losses.crop_lips(torch.rand(1, 3, 64, 64), (96, 144, 64)).shape == (1, 3, 64, 64)


def affine_flow(matrix, offset):
    """The flow matrix @ p + offset on the window, p = px centres of the aligned face, (1, 2, 144, 144)."""
    left, top, side = WINDOW
    x, y = np.meshgrid(np.arange(side) + left, np.arange(side) + top)
    field = np.einsum("ij,jhw->ihw", matrix, np.stack([x, y])) + np.reshape(offset, (2, 1, 1))
    return torch.tensor(field[None]).float()


def test_the_exact_flow_at_the_lips_costs_nothing():
    """photo = real + flow(real), for a flow that bilinear sampling gives back exactly."""
    matrix, offset = np.array([[0.05, -0.02], [0.03, 0.1]]), np.array([-6.0, -20.0])
    real = torch.tensor(np.random.default_rng(1).uniform((80, 150), (175, 215), (1, 40, 2))).float()
    photo = real + real @ torch.tensor(matrix.T).float() + torch.tensor(offset).float()
    assert losses.flow_at_lips_loss(affine_flow(matrix, offset), photo, real, WINDOW).item() < 1e-3


def test_no_flow_costs_the_way_the_lips_went():
    real = torch.full((2, 40, 2), 150.0)
    photo = real + torch.tensor([3.0, 4.0])
    still = torch.zeros(2, 2, 144, 144)
    assert losses.flow_at_lips_loss(still, photo, real, WINDOW).item() == pytest.approx(5.0 / 4)  # the place alone
    photo[:, :20] = real[:, :20] - torch.tensor([3.0, 4.0])
    assert losses.flow_at_lips_loss(still, photo, real, WINDOW).item() == pytest.approx(5.0)  # the shape alone


def test_lip_shapes_are_compared_point_by_point_and_their_place_a_quarter():
    true, moved = torch.rand(3, 40, 2), torch.tensor([0.6, 0.8])
    assert losses.lip_shape_loss(true + moved, true).item() == pytest.approx(0.25, abs=1e-6)
    signs = torch.tensor([1.0, -1.0]).repeat(20)[:, None]
    assert losses.lip_shape_loss(true + signs * moved, true).item() == pytest.approx(1.0, abs=1e-6)
    assert losses.lip_shape_loss(true + (signs + 1) * moved, true).item() == pytest.approx(1.25, abs=1e-6)


def test_what_may_be_painted_is_compared_where_the_mask_is_and_each_frame_counts_alike():
    real, colour, mask = torch.zeros(3, 3, 8, 8), torch.zeros(3, 3, 8, 8), torch.zeros(3, 1, 8, 8)
    mask[0, :, :2], mask[1, :, :4] = 0.01, 1.0
    colour[0, :, :1], colour[1], colour[2] = 0.6, 0.3, 1.0
    assert losses.masked_l1_loss(real, colour, mask).item() == pytest.approx((0.3 + 0.3 + 0) / 3)


def test_a_masks_size_is_the_share_that_it_covers():
    mask = torch.zeros(1, 1, 10, 10)
    mask[..., :3, :] = 1
    assert losses.mask_size_loss(mask).item() == pytest.approx(0.3)


def test_the_perceptual_loss_is_the_squared_distance_of_features_and_moves_the_generated_picture_alone():
    features = PerceptualFeatures()
    real = torch.rand(1, 3, 16, 16, requires_grad=True)
    fake = torch.rand(1, 3, 16, 16, requires_grad=True)
    loss = losses.perceptual_loss(features, real, fake)
    pairs = zip(features(real), features(fake), strict=True)
    assert loss.item() == pytest.approx(sum(((a - b) ** 2).mean().item() for a, b in pairs), rel=1e-5)
    loss.backward()
    assert real.grad is None
    assert fake.grad.abs().max() > 0
    assert losses.perceptual_loss(features, real, real).item() == 0
