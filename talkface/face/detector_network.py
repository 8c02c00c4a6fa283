"""MediaPipe's short-range face detector (BlazeFace) as a PyTorch module. Weights: see weights/NOTICE."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from talkface.config import weights_dir
from talkface.face.blocks import DepthwiseBlock, pad_like_tensorflow
from talkface.face.detector import DETECTOR_SIZE
from talkface.face.weights import load_weights


class FaceDetector(nn.Module):
    """BlazeFace, short range: it detects faces larger than about a tenth of its square input, RGB in [-1, 1]."""

    anchors: Tensor  # (896, 2) px of the 128x128 input

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 5, stride=2)
        widths = [(24, 24, 1), (24, 28, 1), (28, 32, 2), (32, 36, 1), (36, 42, 1), (42, 48, 2), (48, 56, 1)]
        widths += [(56, 64, 1), (64, 72, 1), (72, 80, 1), (80, 88, 1)]
        self.fine = nn.Sequential(*(DepthwiseBlock(*width, prelu=False) for width in widths))
        widths = [(88, 96, 2), *[(96, 96, 1)] * 4]
        self.coarse = nn.Sequential(*(DepthwiseBlock(*width, prelu=False) for width in widths))
        self.score_fine, self.score_coarse = nn.Conv2d(88, 2, 1), nn.Conv2d(96, 6, 1)
        self.place_fine, self.place_coarse = nn.Conv2d(88, 32, 1), nn.Conv2d(96, 96, 1)
        self.register_buffer("anchors", _anchors(), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Score all anchors of N images and predict their coordinates.

        Args:
            images: float (N, 3, 128, 128), RGB in [-1, 1].

        Returns:
            scores (N, 896) in [0, 1]; coordinates (N, 896, 8, 2) in pixels of the 128x128 input: the centre of the
            box, its size (width, height), and six key points.
        """
        fine = self.fine(self.stem(pad_like_tensorflow(images, 5, 2)).relu())
        coarse = self.coarse(fine)
        scores = torch.cat((_per_anchor(self.score_fine(fine), 1), _per_anchor(self.score_coarse(coarse), 1)), 1)
        offsets = torch.cat((_per_anchor(self.place_fine(fine), 16), _per_anchor(self.place_coarse(coarse), 16)), 1)
        offsets = offsets.unflatten(2, (8, 2))
        centre, size, key_points = offsets.split((1, 1, 6), 2)
        coordinates = torch.cat((centre + self.anchors[:, None], size, key_points + self.anchors[:, None]), 2)
        return torch.sigmoid(scores.squeeze(2).clamp(-100, 100)), coordinates


def _per_anchor(x: Tensor, values: int) -> Tensor:
    """Reshape (N, anchors x values, H, W) to (N, H x W x anchors, values), in the order of TensorFlow's reshape."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, values)


def _anchors() -> Tensor:
    """Return (896, 2) px: the centres of 16x16 cells with two anchors each, then of 8x8 cells with six each."""
    grids = []
    for cells, count in ((16, 2), (8, 6)):
        centre = (torch.arange(cells) + 0.5) * (DETECTOR_SIZE / cells)
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        grids.append(torch.stack((x, y), 2).view(-1, 2).repeat_interleave(count, 0))
    return torch.cat(grids)


def load_face_detector(path: Path | None = None, device: torch.device | str = "cpu") -> FaceDetector:
    """Load the detector with the bundled weights, or those in `path`, ready for inference on `device`.

    Raises:
        TalkfaceError: the weights are missing, truncated, or of another network.
    """
    return load_weights(FaceDetector(), path or weights_dir() / "face_detector.safetensors", device)
