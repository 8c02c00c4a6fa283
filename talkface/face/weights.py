"""Reading the weights of the face networks."""

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
    """Fill `network` from a safetensors file (stored as float16, used as float32) and freeze it.

    Raises:
        TalkfaceError: the file is missing, cut, or holds another network's weights.
    """
    if not path.is_file():
        raise TalkfaceError(
            f"The weights of the face finder are missing: there is no {path}.",
            "Install talkface again, or make the file with weights/convert_mediapipe.py.",
        )
    try:
        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
        network.load_state_dict(tensors)
    except (SafetensorError, RuntimeError) as error:
        raise TalkfaceError(
            f"{path} is not a whole {type(network).__name__} weights file: {str(error).splitlines()[0]}",
            "Install talkface again, or make the file with weights/convert_mediapipe.py.",
        ) from error
    network = network.to(device=device, memory_format=torch.channels_last)
    return network.eval().requires_grad_(False)
