"""What the mouth generator learns from true lip shapes: reconstruction, and a discriminator of mouth patches.

The discriminator is relativistic and paired: of the same place in the same crop it must score the real picture higher
than the painted one (Jolicoeur-Martineau, "The relativistic discriminator", arXiv 1807.00734). It judges paint over the
real surroundings, so that only what is painted can give a picture away.

Shapes: N crops, H x W their size. Pictures are float32 in [0, 1].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkface.model.blocks import conv, kaiming_init, leaky
from talkface.model.generator import DISTANCE_UNIT, Frame, Identity
from talkface.model.lipwarp import MouthShape, warp

SMALLEST_AREA = 60.0  # px: the error of a smaller painted area is divided by this
LEAST_SHARE = 0.1  # of open mouth in a patch for it to be judged


class MouthDiscriminator(nn.Module):
    """Scores patches of a mouth crop at 1/4 and 1/8 of its resolution."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                kaiming_init(nn.Conv2d(7, width, 4, 2, 1)),
                kaiming_init(nn.Conv2d(width, 2 * width, 4, 2, 1)),
                conv(2 * width, 3 * width),
                kaiming_init(nn.Conv2d(3 * width, 4 * width, 4, 2, 1)),
            ]
        )
        self.heads = nn.ModuleList([nn.Conv2d(3 * width, 1, 3, 1, 1), nn.Conv2d(4 * width, 1, 3, 1, 1)])

    def forward(self, crops: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """(N, 7, H, W) of `judged` -> two maps of logits, and the feature maps of the four layers."""
        features = []
        x = crops
        for layer in self.layers:
            x = leaky(layer(x))
            features.append(x)
        return [head(feature) for head, feature in zip(self.heads, features[2:], strict=True)], features


def judged(pictures: Tensor, shape: MouthShape) -> Tensor:
    """What the discriminator sees: the picture and where the mouth is open, (N, 7, H, W)."""
    distances = torch.cat([shape.below_upper, shape.above_lower], 1) / DISTANCE_UNIT
    return torch.cat([pictures * 2 - 1, shape.mouth, shape.edged, distances.clamp(-1, 2.5)], 1)


class Painted(NamedTuple):
    """A generated frame as the losses see it."""

    over_real: Tensor
    """(N, 3, H, W): the generated mouth in the real surroundings."""
    edged: Tensor
    """(N, 1, H, W): where it may be painted."""


def paint_over_real(identity: Identity, frame: Frame, shape: MouthShape, real: Tensor) -> Painted:
    """The generated mouth in the real frame: within the painted area the composed frame, outside the real one.

    Args:
        identity: of `Generator.encode_identity`.
        frame: of `Generator.step`.
        shape: of the lips that `frame` was generated for.
        real: (N, 3, H, W), the real frame.
    """
    carried = warp(identity.image, frame.flow)
    inside = frame.mask * frame.colour + (shape.edged - frame.mask) * carried
    return Painted(inside + (1 - shape.edged) * real, shape.edged)


def mouth_l1_loss(real: Tensor, painted: Painted) -> Tensor:
    """Mean absolute difference from the real frame (N, 3, H, W) over the painted area; each frame counts alike."""
    error = (painted.over_real - real).abs().mean(1, keepdim=True).sum((1, 2, 3))
    return (error / painted.edged.sum((1, 2, 3)).clamp(min=SMALLEST_AREA)).mean()


def open_patches(shape: MouthShape, like: Tensor) -> Tensor:
    """1 for the patches that show an open mouth, at the size of a map of logits, (N, 1, h, w)."""
    height, width = like.shape[2:]
    return (F.adaptive_avg_pool2d(shape.edged, (height, width)) > LEAST_SHARE).float()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values (N, 1, h, w) where the mask of that size is 1; 0 where it is 0 everywhere."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def relativistic_loss(better: list[Tensor], worse: list[Tensor], shape: MouthShape) -> Tensor:
    """softplus(worse - better), mean over patches of open mouth, summed over the two scales; ln 2 each at chance.

    Args:
        better: maps of logits (N, 1, h, w) of `MouthDiscriminator` that are to be the higher ones.
        worse: those that are to be the lower ones, of the same places in the same crops.
        shape: of all crops.
    """
    pairs = zip(better, worse, strict=True)
    return torch.stack([masked_mean(F.softplus(w - b), open_patches(shape, b)) for b, w in pairs]).sum()


def feature_matching_loss(fake: list[Tensor], real: list[Tensor], shape: MouthShape) -> Tensor:
    """Difference of the discriminator's features of generated and real crops, relative to the size of the real ones.

    Args:
        fake: feature maps (N, c, h, w) of `MouthDiscriminator`, of each layer.
        real: those of the real crops.
        shape: of all crops.
    """
    terms = [
        masked_mean((f - r).abs().mean(1, keepdim=True), open_patches(shape, f)) / r.abs().mean()
        for f, r in zip(fake, real, strict=True)
    ]
    return torch.stack(terms).sum()


def gradient_penalty(logits: list[Tensor], crops: Tensor, shapes: list[Tensor]) -> Tensor:
    """R1 (Mescheder et al. 2018): squared gradient of the mean patch score with respect to the pictures.

    Args:
        logits: of `MouthDiscriminator`.
        crops: (N, 7, H, W), its input, with gradient.
        shapes: for each map of logits the patches that count, (N, 1, h, w).
    """
    scores = [
        ((z * m).sum((1, 2, 3)) / m.sum((1, 2, 3)).clamp(min=1)).sum() for z, m in zip(logits, shapes, strict=True)
    ]
    (gradient,) = torch.autograd.grad(torch.stack(scores).sum(), crops, create_graph=True)
    return gradient[:, :3].square().sum((1, 2, 3)).mean()
