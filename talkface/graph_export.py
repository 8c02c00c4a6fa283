"""Exports PyTorch modules as ONNX graphs, see `talkface.graphs`.

A graph is traced from the module. Its parameters stay in the .safetensors file as they are stored there (fp16): the
graph names their places in the file, so a graph has a few hundred kilobytes.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from talkface.errors import TalkfaceError
from talkface.files import sha256, write_bytes
from talkface.graphs import WEIGHTS_HASH, graph_path

OPSET = 17


class GraphSpec(NamedTuple):
    """One graph to export."""

    module: nn.Module
    inputs: dict[str, Tensor]
    """Examples, by the names of the graph's inputs."""
    outputs: Sequence[str]
    dynamic: Mapping[str, dict[int, str]] = MappingProxyType({})
    """Names of the axes whose length may vary, by input or output."""
    metadata: Mapping[str, str] = MappingProxyType({})


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


def _traced(spec: GraphSpec) -> bytes:
    """The module as a serialised ONNX model, with its parameters."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # about sizes that are fixed in the trace, as they are meant to be
        torch.onnx.export(
            spec.module.eval(),
            tuple(spec.inputs.values()),
            buffer,  # type: ignore[arg-type]  # the exporter that is used here takes a stream too
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            dynamic_axes=dict(spec.dynamic),
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
        name: (
            one["dtype"],
            tuple(one["shape"]),
            8 + length + one["data_offsets"][0],
            one["data_offsets"][1] - one["data_offsets"][0],
        )
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
