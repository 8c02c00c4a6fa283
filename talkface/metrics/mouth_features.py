"""Features of mouth crops for the kernel distance `mouth_kid`: VGG-16 (HED), pooled over the painted area.

Shapes: N crops, H x W their size.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from talkface.metrics.perceptual import PerceptualFeatures

BORDER = 8  # px that are cut off each side of the crop: the network needs no cheeks
ENLARGED = 2  # times the crop is enlarged, so that a tooth spans a few cells of the features
FIRST_LAYER = 1  # of the three depths; the first sees edges alone
BATCH = 16


@torch.inference_mode()
def mouth_features(network: PerceptualFeatures, crops: Tensor, area: Tensor) -> Tensor:
    """Mean and standard deviation of each channel over the painted area.

    Args:
        network: frozen; on whatever device.
        crops: (N, 3, H, W) in [0, 1].
        area: (N, 1, H, W) in [0, 1], where the mouth may be painted.

    Returns:
        float32 (N, D), on the CPU.
    """
    rows = []
    for start in range(0, len(crops), BATCH):
        inner = (x[start : start + BATCH, :, BORDER:-BORDER, BORDER:-BORDER] for x in (crops, area))
        crop, weight = (x.contiguous().to(network.mean.device) for x in inner)
        large = F.interpolate(crop, scale_factor=ENLARGED, mode="bicubic").clamp(0, 1)
        weight = F.interpolate(weight, scale_factor=ENLARGED)
        pooled = []
        for maps in network(large)[FIRST_LAYER:]:
            share = F.adaptive_avg_pool2d(weight, maps.shape[2:])
            share = share / share.sum((2, 3), keepdim=True).clamp(min=1e-6)
            mean = (maps * share).sum((2, 3))
            spread = ((maps - mean[:, :, None, None]) ** 2 * share).sum((2, 3)).sqrt()
            pooled += [mean, spread]
        rows.append(torch.cat(pooled, 1).cpu())
    return torch.cat(rows)
