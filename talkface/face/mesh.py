"""MediaPipe's attention face mesh as a PyTorch module: 468 points of a face, with refined lips and eyes.

A trunk predicts all points in a 192x192 crop of the face. For the lips and each eye, the region that the trunk predicts
is cropped out of an early feature map, rotated level, and passed to a region network, whose points replace the trunk's
(Grishchenko et al., "Attention Mesh", arXiv 2006.10962). The irises are not predicted. Weights: see weights/NOTICE.

Shapes: N faces; "crop pixels" are those of the 192x192 input.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from talkface.config import weights_dir
from talkface.face.blocks import DepthwiseBlock, pad_like_tensorflow
from talkface.face.landmarks import LEFT_EYE_REGION, LIPS_REGION, RIGHT_EYE_REGION
from talkface.face.roi import MESH_SIZE
from talkface.face.weights import load_weights

MESH_POINTS = 468
FEATURE_SIZE = 48  # px, side of the feature map that the regions are cropped from
REGION_SIZE = 16  # px, side of a region's crop of the feature map
REGION_MARGIN = 1.5  # side of a region's crop over the side of the bounding box of its points


class Region(nn.Module):
    """The network of one region: it predicts some points of the mesh again, in a level crop of the feature map.

    Args:
        indices: mesh points that this region replaces, in the order of the network's output.
        corners: two mesh points whose connecting line is horizontal in the crop.
    """

    indices: Tensor  # (P,) int64

    def __init__(self, indices: tuple[int, ...], corners: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("indices", torch.tensor(indices), persistent=False)
        self.corners = corners
        self.blocks = nn.Sequential(*_downsampling_blocks(halvings=3))
        self.points = nn.Conv2d(32, 2 * len(indices), 2)

    def forward(self, features: Tensor, mesh: Tensor) -> Tensor:
        """Predict points (N, P, 2) in crop pixels from features (N, 32, 48, 48) and the trunk's mesh (N, 468, 2)."""
        matrix = self._crop_to_features(mesh * (FEATURE_SIZE / MESH_SIZE))
        points = self.points(self.blocks(_crop(features, matrix))).view(mesh.shape[0], -1, 2)
        # The network predicts points on a 64x64 grid over its 16x16 crop, and the mesh is on a 192x192 grid over the
        # 48x48 feature map. Both grids are four times as fine, so only the matrix's translation is multiplied by four.
        scale = MESH_SIZE / FEATURE_SIZE
        return points @ matrix[:, :, :2].transpose(1, 2) + scale * matrix[:, :, 2].unsqueeze(1)

    def _crop_to_features(self, mesh: Tensor) -> Tensor:
        """Return (N, 2, 3), pixels of the region's crop to feature pixels, from the level box of its points."""
        left, right = mesh[:, self.corners[0]], mesh[:, self.corners[1]]
        along = F.normalize(right - left, dim=1)
        across = torch.stack((-along[:, 1], along[:, 0]), 1)
        level = torch.stack((along, across), 1)  # (N, 2, 2): rotates the line between the corners level
        points = mesh[:, self.indices] @ level.transpose(1, 2)
        low, high = points.amin(1), points.amax(1)
        scale = (high - low) * (REGION_MARGIN / REGION_SIZE)
        linear = level.transpose(1, 2) * scale.unsqueeze(1)
        centre = ((low + high) / 2).unsqueeze(1) @ level
        shift = centre.squeeze(1) - linear.sum(2) * (REGION_SIZE / 2)
        return torch.cat((linear, shift.unsqueeze(2)), 2)


def _downsampling_blocks(halvings: int) -> list[nn.Module]:
    """Build blocks with 32 input and output channels that halve the side `halvings` times; 128 channels at most."""
    widths = [32, 64, 128, 128, 128][: halvings + 1]
    layers: list[nn.Module] = [DepthwiseBlock(32, 32), DepthwiseBlock(32, 32)]
    for before, width in pairwise(widths):
        layers += [DepthwiseBlock(before, width, stride=2), DepthwiseBlock(width, width), DepthwiseBlock(width, width)]
    return [*layers, nn.Conv2d(128, 32, 1), nn.PReLU(32), DepthwiseBlock(32, 32)]


def _crop(features: Tensor, matrix: Tensor) -> Tensor:
    """Crop (N, C, 16, 16) out of (N, C, 48, 48), bilinear; a sample outside the feature map is zero."""
    centres = torch.arange(REGION_SIZE, device=features.device, dtype=features.dtype) + 0.5
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    at = torch.stack((x, y), 2).view(1, -1, 2) @ matrix[:, :, :2].transpose(1, 2) + matrix[:, :, 2].unsqueeze(1) - 0.5
    at = at.view(-1, REGION_SIZE, REGION_SIZE, 2)
    inside = ((at >= 0) & (at <= FEATURE_SIZE - 1)).all(3, keepdim=False).unsqueeze(1)
    cropped = F.grid_sample(features, at * (2 / (FEATURE_SIZE - 1)) - 1, padding_mode="border", align_corners=True)
    return cropped * inside


class FaceMesh(nn.Module):
    """The attention mesh. Input: RGB in [0, 1], a level square crop 1.5 times the face (see `talkface.face.roi`)."""

    refined: Tensor  # (468,) int64

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2)
        self.stem_activation = nn.PReLU(16)
        self.early = nn.Sequential(DepthwiseBlock(16, 16), DepthwiseBlock(16, 16), DepthwiseBlock(16, 32, stride=2))
        self.trunk = nn.Sequential(*_downsampling_blocks(halvings=4))
        self.points = nn.Conv2d(32, 3 * MESH_POINTS, 3)
        self.flag = nn.Conv2d(32, 1, 3)
        self.lips = Region(LIPS_REGION, corners=(61, 291))
        self.left_eye = Region(LEFT_EYE_REGION, corners=(33, 133))
        self.right_eye = Region(RIGHT_EYE_REGION, corners=(362, 263))
        regions = torch.tensor((*LIPS_REGION, *LEFT_EYE_REGION, *RIGHT_EYE_REGION))
        refined = torch.arange(MESH_POINTS)
        refined[regions] = MESH_POINTS + torch.arange(len(regions))
        self.register_buffer("refined", refined, persistent=False)  # which candidate each point is, see `forward`

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the mesh of N faces.

        Args:
            crops: float (N, 3, 192, 192), RGB in [0, 1].

        Returns:
            points (N, 468, 3): x, y in crop pixels, z (depth, smaller is nearer) in the same unit;
            flag (N,): confidence that the crop shows a face, in [0, 1].
        """
        features = self.early(self.stem_activation(self.stem(pad_like_tensorflow(crops, 3, 2))))
        last = self.trunk(features)
        points = self.points(last).view(-1, MESH_POINTS, 3)
        flat = points[:, :, :2]
        candidates = [flat, *(region(features, flat) for region in (self.lips, self.left_eye, self.right_eye))]
        refined = torch.cat((torch.cat(candidates, 1)[:, self.refined], points[:, :, 2:]), 2)
        return refined, torch.sigmoid(self.flag(last)).flatten()


def load_face_mesh(path: Path | None = None, device: torch.device | str = "cpu") -> FaceMesh:
    """Load the mesh with the bundled weights, or those in `path`, ready for inference on `device`.

    Raises:
        TalkfaceError: the weights are missing, truncated, or of another network.
    """
    return load_weights(FaceMesh(), path or weights_dir() / "face_mesh.safetensors", device)
