"""Makes face_detector.safetensors and face_mesh.safetensors from the models in MediaPipe's published wheel.

    pip install -c constraints.txt ".[convert]"
    pip download --no-deps mediapipe==0.10.21
    python weights/convert_mediapipe.py mediapipe-0.10.21-*.whl

The weights are float16 in the wheel and in the result, so their values do not change. Run this in a clone of the
repository.
"""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import numpy as np
import tflite
import torch
from safetensors.torch import save_file
from torch import nn

from talkface.face.detector_network import FaceDetector
from talkface.face.mesh import FaceMesh

DETECTOR = "mediapipe/modules/face_detection/face_detection_short_range.tflite"
MESH = "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite"
SHA256 = {
    DETECTOR: "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    MESH: "e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4",
}
# Keras numbered the layers in the order of their creation. These are the numbers of the first convolution, depthwise
# convolution and PReLU of each part.
MESH_PARTS = {"lips": (20, 18, 20), "left_eye": (33, 30, 33), "right_eye": (53, 48, 53)}


def read_tensors(model: bytes) -> dict[str, np.ndarray]:
    """All floating-point tensors that a TFLite model stores, by name."""
    flat = tflite.Model.GetRootAsModel(model, 0)
    graph = flat.Subgraphs(0)
    kinds = {tflite.TensorType.FLOAT16: np.float16, tflite.TensorType.FLOAT32: np.float32}
    tensors = {}
    for tensor in (graph.Tensors(index) for index in range(graph.TensorsLength())):
        stored = flat.Buffers(tensor.Buffer())
        if stored.DataLength() and tensor.Type() in kinds:
            values = np.frombuffer(stored.DataAsNumpy().tobytes(), kinds[tensor.Type()])
            tensors[tensor.Name().decode()] = values.reshape(tensor.ShapeAsNumpy())
    return tensors


def fill_convolution(layer: nn.Conv2d, name: str, tensors: dict[str, np.ndarray]) -> None:
    kernel = torch.from_numpy(tensors[f"{name}/Kernel"].astype(np.float32))
    # TFLite: (out, height, width, in); (1, height, width, channels) for depthwise convolutions.
    order = (3, 0, 1, 2) if layer.groups > 1 else (0, 3, 1, 2)
    layer.weight.data.copy_(kernel.permute(order))
    layer.bias.data.copy_(torch.from_numpy(tensors[f"{name}/Bias"].astype(np.float32)))


def fill_in_order(part: nn.Module, tensors: dict[str, np.ndarray], starts: tuple[int, int, int] = (0, 0, 0)) -> None:
    """Fills the layers of a part in order, by Keras' numbers of convolutions, depthwise convolutions and PReLUs."""
    convolution, depthwise, prelu = starts
    for layer in part.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            fill_convolution(layer, _numbered("depthwise_conv2d", depthwise), tensors)
            depthwise += 1
        elif isinstance(layer, nn.Conv2d):
            fill_convolution(layer, _numbered("conv2d", convolution), tensors)
            convolution += 1
        elif isinstance(layer, nn.PReLU):
            alpha = tensors[_numbered("p_re_lu", prelu) + "/Alpha"].astype(np.float32)
            layer.weight.data.copy_(torch.from_numpy(alpha.ravel()))
            prelu += 1


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def convert_detector(tensors: dict[str, np.ndarray]) -> FaceDetector:
    network = FaceDetector()
    fill_in_order(nn.Sequential(network.stem, network.fine, network.coarse), tensors)
    fill_convolution(network.score_fine, "classificator_8", tensors)
    fill_convolution(network.score_coarse, "classificator_16", tensors)
    fill_convolution(network.place_fine, "regressor_8", tensors)
    fill_convolution(network.place_coarse, "regressor_16", tensors)
    return network


def convert_mesh(tensors: dict[str, np.ndarray]) -> FaceMesh:
    network = FaceMesh()
    fill_in_order(nn.Sequential(network.stem, network.stem_activation, network.early, network.trunk), tensors)
    fill_convolution(network.points, "output_mesh", tensors)
    fill_convolution(network.flag, "conv_faceflag", tensors)
    for name, starts in MESH_PARTS.items():
        region = getattr(network, name)
        fill_in_order(region.blocks, tensors, starts)
        fill_convolution(region.points, f"conv_{name}", tensors)
    return network


def main(wheel: str, folder: Path = Path(__file__).parent) -> None:
    for member, convert, target in (
        (DETECTOR, convert_detector, "face_detector.safetensors"),
        (MESH, convert_mesh, "face_mesh.safetensors"),
    ):
        with zipfile.ZipFile(wheel) as archive:
            model = archive.read(member)
        digest = hashlib.sha256(model).hexdigest()
        if digest != SHA256[member]:
            sys.exit(f"{member} in {wheel} has sha256 {digest}, expected {SHA256[member]}: use mediapipe==0.10.21")
        state = {name: tensor.half().contiguous() for name, tensor in convert(read_tensors(model)).state_dict().items()}
        about = {"format": "pt", "source": f"mediapipe 0.10.21, {Path(member).name}", "license": "Apache-2.0"}
        save_file(state, folder / target, metadata=about)
        print(f"{folder / target}: {sum(t.numel() for t in state.values()):,} parameters")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
