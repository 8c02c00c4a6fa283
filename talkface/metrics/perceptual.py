"""phi of Eq. 10: features of a VGG-16 body up to conv3_3 (Johnson's relu1_2, relu2_2, relu3_3).

The bundled weights are the VGG-16 body of HED (MIT; ImageNet weights fine-tuned on edges), so the distance is called
"VGG-16 (HED)". It is not LPIPS.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from talkface.config import weights_dir
from talkface.errors import TalkfaceError

BLOCKS = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256))
MEAN_BGR = (103.939, 116.779, 123.68)


class PerceptualFeatures(nn.Module):
    """VGG-16 features at three depths; frozen.

    Args:
        path: safetensors with `block{b}.conv{i}.weight|bias`; None takes the bundled `weights/vgg16_hed.safetensors`.

    Raises:
        TalkfaceError: the weights file is missing.
    """

    mean: Tensor

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths)) for widths in BLOCKS
        )
        path = path or weights_dir() / "vgg16_hed.safetensors"
        if not path.is_file():
            raise TalkfaceError(
                f"The perceptual features {path} are missing.",
                "Reinstall talkface.",
            )
        self.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
        self.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(MEAN_BGR)[None, :, None, None], persistent=False)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """RGB (B, 3, H, W) in [0, 1] -> features at H, H/2 and H/4, scaled to order 1."""
        x = picture.flip(1) * 255 - self.mean
        found = []
        for number, block in enumerate(self.blocks):
            if number:
                x = F.max_pool2d(x, 2)
            for layer in block.children():
                x = F.relu(layer(x))
            found.append(x / 100)
        return found
