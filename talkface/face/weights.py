"""Loading of the weights of the face networks."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from talkface.errors import TalkfaceError

Network = TypeVar("Network", bound=nn.Module)


def load_weights(network: Network, path: Path, device: torch.device | str) -> Network:
    """Load a safetensors file (stored as float16, used as float32) into `network`, freeze it and move it to `device`.

    Raises:
        TalkfaceError: the file is missing or truncated, or it holds the weights of another network.
    """
    if not path.is_file():
        raise TalkfaceError(
            f"The weights of the face networks are missing: {path} does not exist.",
            "Install talkface again, or create the file with weights/convert_mediapipe.py.",
        )
    try:
        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
        network.load_state_dict(tensors)
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise TalkfaceError(
            f"{path} is not a complete {type(network).__name__} weights file: {str(error).splitlines()[0]}",
            "Install talkface again, or create the file with weights/convert_mediapipe.py.",
        ) from error
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    return network.eval().requires_grad_(False)
