"""The building block of MediaPipe's face networks, and TensorFlow's SAME padding."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def pad_like_tensorflow(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Pad (N, C, H, W) as TensorFlow's SAME does: of an odd padding the larger half goes to the right and bottom."""
    height, width = (max(kernel - (size % stride or stride), 0) for size in x.shape[2:])
    return F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))


class DepthwiseBlock(nn.Module):
    """BlazeFace's residual block: a depthwise 3x3 convolution, a pointwise convolution and a shortcut.

    With stride 2 the shortcut is max-pooled; if the output has more channels, the shortcut is padded with zeros.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, prelu: bool = True) -> None:
        super().__init__()
        self.stride = stride
        self.widen = outputs - inputs
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=1 if stride == 1 else 0, groups=inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)
        self.activation = nn.PReLU(outputs) if prelu else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        shortcut = x
        if self.stride == 2:
            shortcut = F.max_pool2d(x, 2)
            x = pad_like_tensorflow(x, 3, 2)
        if self.widen:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.widen))
        return self.activation(shortcut + self.pointwise(self.depthwise(x)))
