"""MediaPipe's short-range face detector (BlazeFace) as a PyTorch module.

It sees a picture of 128x128 and scores 896 anchors; each has a box and six key points. Weights: see weights/NOTICE.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from talkface.config import weights_dir
from talkface.face.blocks import DepthwiseBlock, pad_like_tensorflow
from talkface.face.weights import load_weights

DETECTOR_SIZE = 128  # px, side of the input
SCORE_WANTED = 0.5
OVERLAP_OF_ONE_FACE = 0.3  # intersection over union from which two boxes are of the same face


class Detection(NamedTuple):
    """A face as the detector sees it, in pixels of the picture it was given."""

    box: np.ndarray  # float32 (4,): x, y, width, height
    key_points: np.ndarray  # float32 (6, 2): eyes, nose, mouth, ears; of two, that on the picture's left first
    score: float


class FaceDetector(nn.Module):
    """BlazeFace, short range: faces larger than about a tenth of the picture. Input: RGB in [-1, 1], square."""

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

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Score all anchors of N pictures.

        Args:
            pictures: float (N, 3, 128, 128), RGB in [-1, 1].

        Returns:
            scores (N, 896) in [0, 1]; places (N, 896, 8, 2) in pixels of the 128: centre of the box, its size (width,
            height), six key points.
        """
        fine = self.fine(self.stem(pad_like_tensorflow(pictures, 5, 2)).relu())
        coarse = self.coarse(fine)
        scores = torch.cat((_per_anchor(self.score_fine(fine), 1), _per_anchor(self.score_coarse(coarse), 1)), 1)
        places = torch.cat((_per_anchor(self.place_fine(fine), 16), _per_anchor(self.place_coarse(coarse), 16)), 1)
        places = places.unflatten(2, (8, 2))
        size = places[:, :, 1:2]
        places = places + self.anchors[:, None]
        places[:, :, 1:2] = size
        return torch.sigmoid(scores.squeeze(2).clamp(-100, 100)), places


def _per_anchor(x: Tensor, values: int) -> Tensor:
    """(N, anchors x values, H, W) to (N, H x W x anchors, values), in the order of TensorFlow's reshape."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, values)


def _anchors() -> Tensor:
    """(896, 2) pixels: the centres of 16x16 cells with two anchors each, then of 8x8 cells with six."""
    grids = []
    for cells, count in ((16, 2), (8, 6)):
        centre = (torch.arange(cells) + 0.5) * (DETECTOR_SIZE / cells)
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        grids.append(torch.stack((x, y), 2).view(-1, 2).repeat_interleave(count, 0))
    return torch.cat(grids)


def read_detections(scores: np.ndarray, places: np.ndarray, wanted: float = SCORE_WANTED) -> list[Detection]:
    """The faces among one picture's anchors, best first: anchors of one face are merged, weighted by score.

    Args:
        scores: (896,) and places (896, 8, 2) as the network gives them, in any pixels.
        wanted: least score of a face.
    """
    likely = np.flatnonzero(scores >= wanted)
    order = likely[np.argsort(-scores[likely], kind="stable")]
    boxes = np.concatenate((places[:, 0] - places[:, 1] / 2, places[:, 1]), 1)
    found = []
    while len(order):
        same = overlap(boxes[order[0]], boxes[order]) > OVERLAP_OF_ONE_FACE
        same[0] = True
        of_one = order[same]
        box = np.average(boxes[of_one], 0, scores[of_one])
        key_points = np.average(places[of_one, 2:], 0, scores[of_one])
        found.append(Detection(box.astype(np.float32), key_points.astype(np.float32), float(scores[order[0]])))
        order = order[~same]
    return found


def best_of_each_face(found: list[Detection]) -> list[Detection]:
    """The first of the detections of each face: what several looks at one picture, best first, amount to."""
    kept: list[Detection] = []
    for one in found:
        if all(overlap(one.box, other.box) <= OVERLAP_OF_ONE_FACE for other in kept):
            kept.append(one)
    return kept


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box (4,) with one (4,) or with many (N, 4): x, y, width, height."""
    low = np.maximum(box[:2], boxes[..., :2])
    high = np.minimum(box[:2] + box[2:], boxes[..., :2] + boxes[..., 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=-1)
    return common / np.maximum(np.prod(box[2:]) + np.prod(boxes[..., 2:], axis=-1) - common, 1e-9)


def load_face_detector(path: Path | None = None, device: torch.device | str = "cpu") -> FaceDetector:
    """The detector with its published weights, or those in `path`, ready for inference on `device`.

    Raises:
        TalkfaceError: the weights are missing, cut, or of another network.
    """
    return load_weights(FaceDetector(), path or weights_dir() / "face_detector.safetensors", device)
