"""The loss terms of the paper (Eq. 9 to 11). Every term is a scalar to be minimised.

Shapes: N frames, H x W their size. Pictures are float32 in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from talkface.metrics.perceptual import PerceptualFeatures

LIP_BOX = (76, 140, 180, 220)  # x0, y0, x1, y1 in px of the aligned face: corp() of Eq. 11


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The discriminator's side of Eq. 9: -E[log D(f, a)] - E[log(1 - D(G, a))]; 2 ln 2 when it cannot tell."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def generator_gan_loss(fake_logits: Tensor) -> Tensor:
    """The generator's side of Eq. 9 in the non-saturating form -E[log D(G, a)]; ln 2 when D cannot tell."""
    return F.softplus(-fake_logits).mean()


def perceptual_loss(features: PerceptualFeatures, real: Tensor, fake: Tensor) -> Tensor:
    """Squared distance of phi(real) and phi(fake), mean over positions and channels, summed over layers (Eq. 10).

    Args:
        features: phi, frozen.
        real: (N, 3, H, W).
        fake: (N, 3, H, W).
    """
    pairs = zip(features(real), features(fake), strict=True)
    return torch.stack([F.mse_loss(b, a.detach()) for a, b in pairs]).sum()


def crop_lips(picture: Tensor) -> Tensor:
    """corp() of Eq. 11: the lip area of whole aligned faces (N, C, 256, 256); crops of the mouth stay as they are."""
    if picture.shape[-1] < LIP_BOX[2]:
        return picture
    x0, y0, x1, y1 = LIP_BOX
    return picture[:, :, y0:y1, x0:x1]


def lip_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Mean absolute difference of pictures (N, 3, H, W) on the lip area (Eq. 11)."""
    return F.l1_loss(crop_lips(fake), crop_lips(real))
