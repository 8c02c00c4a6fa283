"""The loss terms of the paper (Eq. 9 to 13) and those that help on little data.

Shapes: B batch, S side of the window. Pictures are float32 in [0, 1]. Every term is a scalar to be minimised.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from talkface.model.attention import LIP_BOX
from talkface.train.perceptual import PerceptualFeatures


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The discriminator's side of Eq. 9: -E[log D(f, a)] - E[log(1 - D(G, a))]; 2 ln 2 when it cannot tell."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def generator_gan_loss(fake_logits: Tensor) -> Tensor:
    """The generator's side of Eq. 9 in the non-saturating form -E[log D(G, a)]; ln 2 when D cannot tell."""
    return F.softplus(-fake_logits).mean()


def perceptual_loss(features: PerceptualFeatures, real: Tensor, fake: Tensor) -> Tensor:
    """Squared distance of phi(real) and phi(fake), mean over positions and channels, summed over layers (Eq. 10)."""
    pairs = zip(features(real), features(fake), strict=True)
    return sum((F.mse_loss(b, a.detach()) for a, b in pairs), real.new_zeros(()))


def crop_lips(picture: Tensor, window: tuple[int, int, int]) -> Tensor:
    """corp() of Eq. 11: the lip area of pictures of the window, (B, C, S, S) -> (B, C, h, w)."""
    left, top, side = window
    x0, y0, x1, y1 = LIP_BOX
    return picture[:, :, max(y0 - top, 0) : min(y1 - top, side), max(x0 - left, 0) : min(x1 - left, side)]


def lip_loss(real: Tensor, fake: Tensor, window: tuple[int, int, int]) -> Tensor:
    """Mean absolute difference on the lip area (Eq. 11)."""
    return F.l1_loss(crop_lips(fake, window), crop_lips(real, window))


def masked_l1_loss(real: Tensor, colour: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of colour (B, 3, S, S) and the real frame where the mask (B, 1, S, S) is above 0.

    Each frame counts alike, one without a mask as 0. Not in the paper. However little is painted yet, what could be is
    learned.
    """
    where = (mask > 0).float()
    differences = ((colour - real).abs().mean(1, keepdim=True) * where).sum((1, 2, 3))
    return (differences / where.sum((1, 2, 3)).clamp(min=1)).mean()


def flow_at_lips_loss(flow: Tensor, photo_lips: Tensor, real_lips: Tensor, window: tuple[int, int, int]) -> Tensor:
    """Tells the warp where the lips went: at each lip point of the real frame the flow must lead to the photo's.

    Not in the paper, which has no warp. Backward flow: frame(p) = photo(p + flow(p)), so flow(real) = photo - real.

    Args:
        flow: (B, 2, S, S) px.
        photo_lips, real_lips: (B, 40, 2) px of the aligned face.
        window: x, y, side in px.

    Returns:
        `lip_shape_loss` of the flow there, px.
    """
    left, top, side = window
    corner = real_lips.new_tensor([left, top])
    where = (real_lips - corner + 0.5) * (2 / side) - 1
    at_lips = F.grid_sample(flow, where[:, :, None], padding_mode="border", align_corners=False)[..., 0]  # (B, 2, 40)
    return lip_shape_loss(at_lips.transpose(1, 2), photo_lips - real_lips)


def lip_shape_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean distance of lip points (B, 40, 2), each mouth's mean taken off as in LMD, and a quarter of the means' own.

    What all points share is mostly the head's movement, which no sound foretells and no photo tells.
    """
    error = predicted - true
    place = error.mean(1, keepdim=True)
    return torch.linalg.vector_norm(error - place, dim=2).mean() + torch.linalg.vector_norm(place, dim=2).mean() / 4


def mask_size_loss(mask: Tensor) -> Tensor:
    """Mean of the mask: paint only where the photo cannot be warped there."""
    return mask.mean()
