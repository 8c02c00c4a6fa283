"""The face networks in PyTorch, and their export as ONNX graphs."""

from __future__ import annotations

import numpy as np
import torch

from talkface.face.detector_network import load_face_detector
from talkface.face.mesh import load_face_mesh


class TorchFaceNetworks:
    """The bundled networks in PyTorch, as `talkface.face.networks.FaceNetworks`.

    Args:
        device: where they run.

    Raises:
        TalkfaceError: the weights are missing or broken.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.detector = load_face_detector(device=self.device)
        self.mesh_network = load_face_mesh(device=self.device)

    @torch.inference_mode()
    def detect(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score the anchors of N crops, as `FaceNetworks.detect` describes it."""
        scores, coordinates = self.detector(self._to_tensor(crops) * 2 - 1)
        return scores.cpu().numpy(), coordinates.cpu().numpy()

    @torch.inference_mode()
    def mesh(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict the mesh of N faces, as `FaceNetworks.mesh` describes it."""
        points, flags = self.mesh_network(self._to_tensor(crops))
        return points.cpu().numpy(), flags.cpu().numpy()

    def _to_tensor(self, crops: np.ndarray) -> torch.Tensor:
        """Convert uint8 (N, H, W, 3) to float (N, 3, H, W) in [0, 1], channels last in memory."""
        return torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float() / 255
