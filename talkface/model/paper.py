"""The generator of the paper, with nothing added: preset "paper" (paper 3.1, 3.3, Fig. 2, Fig. 4).

Four parts: the Identity Encoder sees the attended photo, the Audio Encoder one 20x13 MFCC window, the Image Encoder the
previous frame and mask, and the Frame Decoder draws the whole frame. The Frame Decoder also predicts the attention mask
of the next frame. What the paper leaves open is ours: widths, FiLM, skip connections, normalisation.

Shapes: B batch, S side of the frame (256), D audio features. Pictures are float32 in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkface.config import ALIGNED_LIPS, SIZE
from talkface.errors import TalkfaceError
from talkface.model.attention import attend, coarse_mask
from talkface.model.audio import WindowEncoder
from talkface.model.blocks import conv, faint_init, leaky


@dataclass(frozen=True)
class PaperConfig:
    """Sizes of the paper's generator. The paper gives none of them."""

    widths: tuple[int, int, int, int, int] = (32, 64, 128, 256, 512)
    """Channels at S, S/2, S/4, S/8 and S/16."""
    audio_features: int = 256
    """D, length of the audio feature."""
    audio_dropout: float = 0.0
    """Share of the Audio Encoder's values that training leaves out."""
    attention: bool = True
    """Dynamic attention on the photo's lip area (paper 3.3)."""

    def __post_init__(self) -> None:
        if min(*self.widths, self.audio_features) < 1:
            raise TalkfaceError("A width of the generator is below 1.", "Give widths of at least 1.")


class PaperFrame(NamedTuple):
    """What the Frame Decoder says about one frame."""

    picture: Tensor
    """(B, 3, S, S) in [0, 1]."""
    mask: Tensor
    """(B, 1, S, S) in [0, 1]: the attention mask of the next frame; the given one without dynamic attention."""


class PictureEncoder(nn.Module):
    """A picture to feature maps from S to S/16: the Identity Encoder and the Image Encoder have this shape.

    Args:
        channels: of the picture, mask included.
        widths: channels at each resolution.
    """

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.first = conv(channels, widths[0])
        self.down = nn.ModuleList(conv(a, b, 3, 2) for a, b in pairwise(widths))

    def forward(self, picture: Tensor) -> list[Tensor]:
        """(B, channels, S, S) -> maps from fine to coarse."""
        maps = [leaky(self.first(2 * picture - 1))]
        for layer in self.down:
            maps.append(leaky(layer(maps[-1])))
        return maps


class PaperAudioEncoder(nn.Module):
    """One 20x13 MFCC window to a feature vector."""

    def __init__(self, features: int, dropout: float) -> None:
        super().__init__()
        self.window = WindowEncoder(features, dropout)
        self.out = nn.Linear(features, features)

    def forward(self, windows: Tensor) -> Tensor:
        """(B, 20, 13) -> (B, D)."""
        hidden = self.window(windows)
        return hidden + self.out(hidden)


class PaperFrameDecoder(nn.Module):
    """Identity maps, image maps and the audio feature to the frame and, with dynamic attention, the next mask."""

    def __init__(self, widths: tuple[int, ...], features: int, attention: bool) -> None:
        super().__init__()
        self.audio = nn.Linear(features, widths[-1])
        self.merge = conv(3 * widths[-1], widths[-1], 1)
        pairs = list(pairwise(widths[::-1]))
        self.up = nn.ModuleList(conv(coarse + 2 * fine, fine) for coarse, fine in pairs)
        self.film = nn.ModuleList(nn.Linear(features, 2 * fine) for _, fine in pairs)
        self.refine = nn.ModuleList(conv(fine, fine) for _, fine in pairs)
        self.head = faint_init(nn.Conv2d(widths[0], 4 if attention else 3, 3, 1, 1))

    def forward(self, identity: list[Tensor], image: list[Tensor], audio: Tensor) -> Tensor:
        """Maps from fine to coarse, (B, D) -> (B, 4, S, S) logits of the frame and of the mask, or (B, 3, S, S)."""
        heard = self.audio(audio)[:, :, None, None].expand(-1, -1, *identity[-1].shape[2:])
        x = leaky(self.merge(torch.cat([identity[-1], image[-1], heard], 1)))
        skips = zip(identity[-2::-1], image[-2::-1], strict=True)
        for up, film, refine, skip in zip(self.up, self.film, self.refine, skips, strict=True):
            x = leaky(up(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), *skip], 1)))
            scale, shift = film(audio)[:, :, None, None].chunk(2, 1)
            x = leaky(refine(x) * (1 + scale) + shift)
        return self.head(x)


class PaperGenerator(nn.Module):
    """Identity Encoder, Audio Encoder, Image Encoder and Frame Decoder of the paper (Fig. 2)."""

    first: Tensor

    def __init__(self, config: PaperConfig) -> None:
        super().__init__()
        self.config = config
        self.identity_encoder = PictureEncoder(3, config.widths)
        self.audio_encoder = PaperAudioEncoder(config.audio_features, config.audio_dropout)
        self.image_encoder = PictureEncoder(4 if config.attention else 3, config.widths)
        self.frame_decoder = PaperFrameDecoder(config.widths, config.audio_features, config.attention)
        position = torch.stack(torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="xy")).float()
        mask = coarse_mask(torch.tensor(ALIGNED_LIPS)[None], position[None])
        self.register_buffer("first", mask, persistent=False)

    def first_mask(self, batch: int) -> Tensor:
        """The coarse mask area that a video begins with (paper 3.3), (B, 1, S, S)."""
        return self.first.expand(batch, -1, -1, -1)

    def step(self, photo: Tensor, windows: Tensor, previous: Tensor, mask: Tensor, rate: Tensor | float) -> PaperFrame:
        """One frame (paper 3.1).

        Args:
            photo: (B, 3, S, S), the identity image.
            windows: (B, 20, 13), the MFCC window of the frame.
            previous: (B, 3, S, S), the previous frame; the photo for the first.
            mask: (B, 1, S, S), the attention mask that the previous frame predicted; `first_mask` for the first.
            rate: attention rate, scalar or (B, 1, 1, 1) (paper 3.3).
        """
        attended = attend(photo, mask, rate) if self.config.attention else photo
        seen = torch.cat([previous, mask], 1) if self.config.attention else previous
        identity, image = self.identity_encoder(attended), self.image_encoder(seen)
        out = torch.sigmoid(self.frame_decoder(identity, image, self.audio_encoder(windows)))
        return PaperFrame(out[:, :3], out[:, 3:] if self.config.attention else mask)
