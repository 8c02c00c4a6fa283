"""The face networks, run by PyTorch or ONNX Runtime: crops of images in, numpy arrays out."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from talkface.config import weights_dir
from talkface.errors import TalkfaceError
from talkface.files import known_sha256
from talkface.graphs import Graph, graph_path, graphs_state

FACE_PARTS = ("faces",)
FACE_WEIGHTS = ("face_detector", "face_mesh")


class FaceNetworks(Protocol):
    """The detector and the mesh."""

    def detect(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score the anchors of N crops.

        Args:
            crops: uint8 (N, 128, 128, 3).

        Returns:
            scores float32 (N, 896) in [0, 1]; coordinates float32 (N, 896, 8, 2), px of the crop.
        """

    def mesh(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict the mesh of N faces.

        Args:
            crops: uint8 (N, 192, 192, 3).

        Returns:
            points float32 (N, 468, 3), px of the crop; flags float32 (N,) in [0, 1].
        """


class OnnxFaceNetworks:
    """The bundled networks in ONNX Runtime.

    Args:
        threads: of each graph; None takes two, or one on one core.

    Raises:
        TalkfaceError: a graph is missing or damaged.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._detector, self._mesh = (_open(weights_dir() / f"{name}.safetensors", threads) for name in FACE_WEIGHTS)

    def detect(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score the anchors of N crops, as `FaceNetworks.detect` describes it."""
        scores, coordinates = self._detector({"images": _to_network(crops) * 2 - 1})
        return scores, coordinates

    def mesh(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict the mesh of N faces, as `FaceNetworks.mesh` describes it."""
        points, flags = self._mesh({"crops": _to_network(crops)})
        return points, flags


def face_graphs_are_current() -> bool:
    """Tell whether the bundled face networks have their graphs."""
    paths = [weights_dir() / f"{name}.safetensors" for name in FACE_WEIGHTS]
    return all(path.is_file() and graphs_state(path, FACE_PARTS, known_sha256(path)) == "current" for path in paths)


def _open(weights: Path, threads: int | None) -> Graph:
    graph = graph_path(weights, FACE_PARTS[0])
    if not graph.is_file():
        raise TalkfaceError(f"The graph {graph} is missing.", "Install talkface again, or use --backend torch.")
    return Graph(graph, threads)


def _to_network(crops: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) in [0, 1]."""
    return np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def face_networks(device: str) -> FaceNetworks | None:
    """The face networks of a render: ONNX Runtime on a CPU, whatever runs the generator; None means PyTorch.

    The engines differ by thousandths of a pixel. With one of them, the generator's engines get equal landmarks.
    """
    return OnnxFaceNetworks() if device == "cpu" and face_graphs_are_current() else None
