"""Loss terms of the paper against closed forms (Eq. 9 to 11)."""

import math

import numpy as np
import pytest
import torch

from talkface.metrics.perceptual import PerceptualFeatures
from talkface.train import losses


def test_gan_losses_of_a_judge_that_cannot_tell_are_ln_two():
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


def test_the_lip_loss_of_a_whole_face_is_of_the_lip_area_alone():
    x0, y0, x1, y1 = losses.LIP_BOX
    real, fake = torch.rand(2, 2, 3, 256, 256)
    fake[..., y0:y1, x0:x1] = real[..., y0:y1, x0:x1] + 0.25
    assert losses.lip_loss(real, fake).item() == pytest.approx(0.25, abs=1e-6)
    assert losses.crop_lips(real).shape == (2, 3, y1 - y0, x1 - x0)


def test_the_lip_loss_of_a_crop_is_of_all_of_it():
    real = torch.rand(1, 3, 64, 88)
    assert losses.crop_lips(real) is real
    fake = real.clone()
    fake[..., :32, :] += 0.5
    assert losses.lip_loss(real, fake).item() == pytest.approx(0.25, abs=1e-6)


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
