"""Exports the networks that a render needs as ONNX graphs, see `talkface.graphs`.

The graphs are traced from the PyTorch modules. Their parameters stay in the .safetensors file as they are stored there
(fp16): the graph names their places in the file, so a graph has a few hundred kilobytes.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from talkface.config import ALIGNED_LIPS, ALIGNED_NOSE, MFCC_COEFFS, MFCC_STEPS, SIZE
from talkface.errors import TalkfaceError
from talkface.files import sha256, write_bytes
from talkface.graphs import WEIGHTS_HASH, graph_path
from talkface.model.audio import expressive_lips
from talkface.model.face_frame import FaceInputs, make_frame, region_fade
from talkface.model.frames import HEIGHT, REGION, WIDTH
from talkface.model.generator import Generator, Identity
from talkface.model.lip_field import LOWER, UPPER
from talkface.model.lipwarp import LipWarp
from talkface.model.onnx_engine import ENCODER_PARTS, HEARS_MFCC, INPUTS, OUTPUTS
from talkface.model.recogniser import BANDS, SpeechEncoder

OPSET = 17


class GraphSpec(NamedTuple):
    """One graph to export."""

    module: nn.Module
    inputs: dict[str, Tensor]
    """Examples, by the names of the graph's inputs."""
    outputs: Sequence[str]
    dynamic: dict[str, dict[int, str]] = {}
    """Names of the axes whose length may vary, by input or output."""
    metadata: Mapping[str, str] = {}


def export_graph(spec: GraphSpec, weights: Path, part: str) -> Path:
    """Write one graph beside its weights, whole or not at all.

    Args:
        spec: what to export; the parameters of its module are those in `weights`.
        weights: the .safetensors file.
        part: the graph's name.

    Returns:
        The path of the graph.

    Raises:
        TalkfaceError: the package onnx is not installed, or the file cannot be written.
    """
    onnx = _onnx()
    model = onnx.load_from_string(_traced(spec))
    _refer_to(weights, model, onnx)
    onnx.helper.set_model_props(model, {**spec.metadata, WEIGHTS_HASH: sha256(weights)})
    path = graph_path(weights, part)
    write_bytes(path, model.SerializeToString())
    return path


def export_generator(generator: Generator, weights: Path) -> list[Path]:
    """Write the graphs of a generator beside its weights file.

    Args:
        generator: as loaded from `weights`, on the CPU, in eval mode.
        weights: the .safetensors file.

    Returns:
        The graphs.

    Raises:
        TalkfaceError: as `export_graph`.
    """
    specs = {"lips": _lips_spec(generator), "identity": _identity_spec(generator), "frame": _frame_spec(generator)}
    return [export_graph(spec, weights, part) for part, spec in specs.items()]


def export_speech_encoder(encoder: SpeechEncoder, weights: Path) -> list[Path]:
    """Write the graph of the speech recogniser beside its weights file."""
    dynamic = {"mel": {2: "steps"}, "vectors": {1: "vectors"}}
    spec = GraphSpec(encoder, {"mel": torch.zeros(1, BANDS, 120)}, ["vectors"], dynamic)
    return [export_graph(spec, weights, ENCODER_PARTS[0])]


class _Lips(nn.Module):
    """The Audio Encoder, and what makes its lips expressive."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.audio_encoder = generator.audio_encoder

    def forward(self, features: Tensor, photo_lips: Tensor, expression: Tensor) -> Tensor:
        """(1, T, F), (1, 40, 2), scalar -> (T, 40, 2)."""
        audio = self.audio_encoder(features, photo_lips)
        return expressive_lips(audio, self.audio_encoder.direction, expression)[0]  # type: ignore[arg-type]


class _Identity(nn.Module):
    """What is computed once per photo."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, photo: Tensor, lips: Tensor, nose: Tensor, reach: Tensor) -> tuple[Tensor, ...]:
        """(1, 3, H, W), (1, 40, 2), (1, 2), (256, 256) -> `OUTPUTS["identity"]`."""
        identity = self.generator.encode_identity(photo, lips, nose)
        mask, fade = self.generator.first_mask(identity), region_fade(reach)
        return identity.attended, identity.mouth, identity.style, mask, fade


class _Frame(nn.Module):
    """Everything that one frame takes."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator
        self.region_warp = LipWarp(*REGION[2:])

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """`INPUTS["frame"]` -> `OUTPUTS["frame"]`."""
        *identity, region, region_lips, fade, corner, previous, mask, moves, upper, lower, share = inputs
        face = FaceInputs(Identity(*identity), region, region_lips, fade, corner)
        frame = make_frame(self.generator, self.region_warp, face, (previous, mask), moves, share, (upper, lower))
        assert frame.picture is not None
        return frame  # type: ignore[return-value]


def _lips_spec(generator: Generator) -> GraphSpec:
    features = generator.config.audio_features
    shape = (1, 30, features) if features else (1, 30, MFCC_STEPS, MFCC_COEFFS)
    examples = (torch.zeros(shape), torch.tensor(ALIGNED_LIPS)[None], torch.tensor(1.0))
    return GraphSpec(
        _Lips(generator),
        dict(zip(INPUTS["lips"], examples, strict=True)),
        OUTPUTS["lips"],
        {"features": {1: "frames"}, "wanted": {0: "frames"}},
        {HEARS_MFCC: "false" if features else "true"},
    )


def _identity_spec(generator: Generator) -> GraphSpec:
    examples = dict(zip(INPUTS["identity"], (*_example_photo(), torch.ones(SIZE, SIZE)), strict=True))
    return GraphSpec(_Identity(generator), examples, OUTPUTS["identity"])


def _frame_spec(generator: Generator) -> GraphSpec:
    photo, lips, nose = _example_photo()
    with torch.inference_mode():
        identity = generator.encode_identity(photo, lips, nose)
        mask = generator.first_mask(identity)
    width, height = REGION[2:]
    examples = (
        *(part.clone() for part in identity),
        torch.rand(1, 3, height, width),
        torch.tensor(ALIGNED_LIPS)[None] - torch.tensor(REGION[:2]),
        torch.ones(1, 1, height, width),
        torch.tensor([36, 54]),
        photo,
        mask.clone(),
        torch.zeros(1, 40, 2),
        torch.zeros(1, len(UPPER), 2),
        torch.zeros(1, len(LOWER), 2),
        torch.tensor(1.0),
    )
    return GraphSpec(_Frame(generator), dict(zip(INPUTS["frame"], examples, strict=True)), OUTPUTS["frame"])


def _example_photo() -> tuple[Tensor, Tensor, Tensor]:
    corner = torch.tensor([84.0, 158.0])
    return torch.rand(1, 3, HEIGHT, WIDTH), torch.tensor(ALIGNED_LIPS)[None] - corner, torch.tensor(
        ALIGNED_NOSE
    )[None] - corner


def _traced(spec: GraphSpec) -> bytes:
    """The module as a serialised ONNX model, with its parameters."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # about sizes that are fixed in the trace, as they are meant to be
        torch.onnx.export(
            spec.module.eval(),
            tuple(spec.inputs.values()),
            buffer,
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            dynamic_axes=spec.dynamic,
            opset_version=OPSET,
            do_constant_folding=False,  # so that parameters stay as they are in the file
            dynamo=False,  # the other exporter needs the package onnxscript
        )
    return buffer.getvalue()


def _refer_to(weights: Path, model: Any, onnx: ModuleType) -> None:
    """Replace the model's parameters by references to the same tensors in the weights file."""
    places = _tensor_places(weights)
    casts = []
    for tensor in model.graph.initializer:
        place = _place_of(tensor, places)
        if place is None:
            continue
        kind, begin, length = place
        name, shape = tensor.name, list(tensor.dims)
        tensor.Clear()
        tensor.name, tensor.data_location = name, onnx.TensorProto.EXTERNAL
        tensor.dims.extend(shape)
        if kind == "F16":
            tensor.name, tensor.data_type = f"{name}.half", onnx.TensorProto.FLOAT16
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
        else:
            tensor.data_type = onnx.TensorProto.FLOAT
        for key, value in {"location": weights.name, "offset": str(begin), "length": str(length)}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _tensor_places(weights: Path) -> dict[str, tuple[str, tuple[int, ...], int, int]]:
    """Type, shape, first byte and length in bytes of each tensor in a .safetensors file."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {
        name: (one["dtype"], tuple(one["shape"]), 8 + length + one["data_offsets"][0],
               one["data_offsets"][1] - one["data_offsets"][0])
        for name, one in header.items()
    }


def _place_of(tensor: Any, places: dict[str, tuple[str, tuple[int, ...], int, int]]) -> tuple[str, int, int] | None:
    """Where the weights file has a parameter: its name is that of the module, which may be inside another one."""
    parts = tensor.name.split(".")
    for start in range(len(parts)):
        kind, shape, begin, length = places.get(".".join(parts[start:]), ("", (), 0, 0))
        if kind in ("F16", "F32") and shape == tuple(tensor.dims):
            return kind, begin, length
    return None


def _onnx() -> ModuleType:
    try:
        import onnx
    except ImportError as error:
        raise TalkfaceError(
            f"Graphs cannot be exported: the package onnx cannot be loaded ({error}).",
            "Install it with: pip install 'talkface[export]'",
        ) from error
    return onnx
