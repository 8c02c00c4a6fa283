"""The first blocks of a speech recogniser's encoder, frozen: features that serve for unknown voices too.

Whisper tiny.en (openai/whisper, MIT): two convolutions, sinusoidal positions and transformer blocks give 50 vectors of
384 numbers a second. The first two blocks know sounds, the later ones words. The weights are in
`weights/speech_encoder.safetensors`, see weights/NOTICE.

Shapes: B sounds, T frames of the log-mel spectrogram (10 ms).
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from talkface.config import weights_dir
from talkface.errors import TalkfaceError
from talkface.model.recogniser_sizes import FEATURES, PADDING, VECTORS_PER_SECOND, WIDTH

__all__ = ["FEATURES", "PADDING", "VECTORS_PER_SECOND", "WIDTH", "SpeechEncoder", "load_speech_encoder"]

HEADS, BANDS, POSITIONS = 6, 80, 1500


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T / 2, 384) -> (B, T / 2, 384)."""
        heads = (
            layer(x).unflatten(2, (HEADS, WIDTH // HEADS)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        return self.out(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A transformer block: attention and a perceptron, each after a layer norm and beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.attn, self.attn_ln = Attention(), nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.mlp_ln = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T / 2, 384) -> (B, T / 2, 384)."""
        x = x + self.attn(self.attn_ln(x))
        return x + self.mlp(self.mlp_ln(x))


class SpeechEncoder(nn.Module):
    """The encoder's first blocks.

    Args:
        blocks: how many transformer blocks.
    """

    positional_embedding: Tensor

    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(BANDS, WIDTH, 3, padding=1)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.register_buffer("positional_embedding", torch.zeros(POSITIONS, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))

    def forward(self, mel: Tensor) -> Tensor:
        """(B, 80, T) log-mel -> (B, T / 2, 384)."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.positional_embedding[: x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return x


def load_speech_encoder(path: Path | None = None, device: torch.device | str = "cpu") -> SpeechEncoder:
    """The encoder with its weights, frozen.

    Args:
        path: safetensors under the names of openai/whisper's encoder; None takes the bundled file.

    Raises:
        TalkfaceError: the weights are missing or belong to another network.
    """
    path = path or weights_dir() / "speech_encoder.safetensors"
    if not path.is_file():
        raise TalkfaceError(f"The speech encoder {path} is missing.", "Reinstall talkface.")
    try:
        weights = {name: tensor.float() for name, tensor in load_file(path).items()}
        encoder = SpeechEncoder(
            1 + max((int(name.split(".")[1]) for name in weights if name.startswith("blocks")), default=-1)
        )
        encoder.load_state_dict(weights)
    except (SafetensorError, OSError, RuntimeError, ValueError, IndexError) as error:
        raise TalkfaceError(f"{path} does not hold a speech encoder.", "Reinstall talkface.") from error
    return encoder.eval().requires_grad_(False).to(device)
