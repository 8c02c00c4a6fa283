"""Detected faces, and how BlazeFace's scores and coordinates become them; the network is in `detector_network`.

The input is a 128x128 image. The network scores 896 anchors and predicts a box and six key points for each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

DETECTOR_SIZE = 128  # px, side of the input
MIN_SCORE = 0.5
SAME_FACE_IOU = 0.3  # boxes with a larger intersection over union belong to one face


class Detection(NamedTuple):
    """A detected face, in pixels of the image that was searched."""

    box: np.ndarray  # float32 (4,): x, y, width, height
    key_points: np.ndarray  # float32 (6, 2): eyes, nose, mouth, ears; of each pair the image's left one first
    score: float


def decode_detections(scores: np.ndarray, coordinates: np.ndarray, min_score: float = MIN_SCORE) -> list[Detection]:
    """Turn the network's output for one image into faces, best first, by BlazeFace's weighted non-maximum suppression.

    Overlapping anchors are averaged with their scores as weights.

    Args:
        scores: (896,), as the network returns them.
        coordinates: (896, 8, 2), as the network returns them, or transformed to the pixels of another image.
        min_score: anchors with a lower score are ignored.
    """
    candidates = np.flatnonzero(scores >= min_score)
    order = candidates[np.argsort(-scores[candidates], kind="stable")]
    boxes = np.concatenate((coordinates[:, 0] - coordinates[:, 1] / 2, coordinates[:, 1]), 1)
    detections = []
    while len(order):
        same = iou(boxes[order[0]], boxes[order]) > SAME_FACE_IOU
        same[0] = True
        merged = order[same]
        box = np.average(boxes[merged], 0, scores[merged])
        key_points = np.average(coordinates[merged, 2:], 0, scores[merged])
        detections.append(Detection(box.astype(np.float32), key_points.astype(np.float32), float(scores[order[0]])))
        order = order[~same]
    return detections


def suppress_duplicates(detections: list[Detection]) -> list[Detection]:
    """Keep the first detection of each face (non-maximum suppression of detections that are sorted best first)."""
    kept: list[Detection] = []
    for detection in detections:
        if all(iou(detection.box, other.box) <= SAME_FACE_IOU for other in kept):
            kept.append(detection)
    return kept


def iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the intersection over union of one box (4,) with one (4,) or many (N, 4): x, y, width, height."""
    low = np.maximum(box[:2], boxes[..., :2])
    high = np.minimum(box[:2] + box[2:], boxes[..., :2] + boxes[..., 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=-1)
    return common / np.maximum(np.prod(box[2:]) + np.prod(boxes[..., 2:], axis=-1) - common, 1e-9)
