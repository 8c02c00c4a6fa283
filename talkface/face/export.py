"""Exports the face networks as ONNX graphs, see `talkface.graphs`."""

from __future__ import annotations

from pathlib import Path

import torch

from talkface.config import weights_dir
from talkface.face.detector import DETECTOR_SIZE
from talkface.face.detector_network import load_face_detector
from talkface.face.mesh import load_face_mesh
from talkface.face.networks import FACE_PARTS
from talkface.face.roi import MESH_SIZE
from talkface.graph_export import GraphSpec, export_graph


def export_face_networks() -> list[Path]:
    """Write the graphs of the bundled detector and mesh beside their weights, and return their paths.

    Raises:
        TalkfaceError: the weights are missing, the package onnx is not installed, or a file cannot be written.
    """
    rows = {0: "faces"}
    detector = GraphSpec(
        load_face_detector(),
        {"images": torch.zeros(2, 3, DETECTOR_SIZE, DETECTOR_SIZE)},
        ["scores", "coordinates"],
        {"images": rows, "scores": rows, "coordinates": rows},
    )
    mesh = GraphSpec(
        load_face_mesh(),
        {"crops": torch.rand(2, 3, MESH_SIZE, MESH_SIZE)},
        ["points", "flags"],
        {"crops": rows, "points": rows, "flags": rows},
    )
    folder = weights_dir()
    return [
        export_graph(detector, folder / "face_detector.safetensors", FACE_PARTS[0]),
        export_graph(mesh, folder / "face_mesh.safetensors", FACE_PARTS[0]),
    ]
