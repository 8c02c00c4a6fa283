"""The talking face generator (paper 3.1, 3.3, Fig. 2): identity, speech and the previous frame make the next frame.

The Audio Encoder turns speech into lip points. The other parts work on a crop of 88 x 64 px around the mouth of the
256-px aligned face. The photo's lips are carried to the wanted lip points by `LipWarp`. The decoder paints what the
photo cannot show: the inside of the mouth. Its colour is a mixture of paint and of two copies of the photo, one that
moves with the skull (upper teeth) and one that moves with the jaw (lower teeth).

Shapes: B batch, H x W the crop (64 x 88), S style numbers. Pictures are float32 in [0, 1]. Points are px relative to
the crop's top-left pixel, but for those of the Audio Encoder, which are px of the aligned face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from talkface.errors import TalkfaceError
from talkface.model.attention import attend, coarse_mask
from talkface.model.audio import LIFE, AudioEncoder, Expression
from talkface.model.decoder import FrameDecoder
from talkface.model.encoders import IdentityEncoder, ImageEncoder
from talkface.model.frames import HEIGHT, WIDTH
from talkface.model.lipwarp import OUTER_LOWER_MIDDLE, LipWarp, MouthShape, warp
from talkface.model.recogniser_sizes import FEATURES

DISTANCE_UNIT = 8.0  # px that count as 1 in the planes of distances to the lips
POSITION_UNIT = 24.0  # px that count as 1 in the planes of positions
MOUTH_BELOW_NOSE = 30.0  # px: the planes of positions are 0 there
HEARING = ("recogniser", "mfcc")


@dataclass(frozen=True)
class GeneratorConfig:
    """Sizes of the generator. Defaults are the bundled weights'."""

    hearing: str = "recogniser"
    """Input of the Audio Encoder: "recogniser", features of a frozen speech recogniser; "mfcc", the paper's windows."""
    widths: tuple[int, int, int] = (32, 64, 96)
    """Channels at 1/2, 1/4 and 1/8 of the crop's resolution."""
    style: int = 96
    """S, numbers that describe the person."""
    audio_width: int = 128
    """Channels of the Audio Encoder."""
    audio_dropout: float = 0.2
    """Share of the Audio Encoder's values that training leaves out."""
    opening_gain: float = LIFE.gain
    """Factor on the openings that are heard which gives them life's spread, chosen on validation data."""
    feedback: bool = True
    """Whether the previous frame and its mask are seen (paper 3.1)."""
    attention: bool = True
    """Dynamic attention (paper 3.3): the photo's lip area is dimmed to the attention rate."""

    def __post_init__(self) -> None:
        if self.hearing not in HEARING:
            raise TalkfaceError(f"Generator hearing {self.hearing!r} is not known.", f"Use {' or '.join(HEARING)}.")
        if min(*self.widths, self.style, self.audio_width) < 1:
            raise TalkfaceError("A width of the generator is below 1.", "Give widths of at least 1.")

    @property
    def audio_features(self) -> int:
        """Numbers of one frame that the Audio Encoder takes; 0 for MFCC windows."""
        return FEATURES if self.hearing == "recogniser" else 0


class Identity(NamedTuple):
    """What is kept of the photo for a whole video (one row per video)."""

    image: Tensor
    """(B, 3, H, W): the crop of the photo."""
    attended: Tensor
    """(B, 3, H, W): the same with the lip area dimmed to the attention rate."""
    mouth: Tensor
    """(B, 1, H, W) in [0, 1]: where the photo's mouth is open."""
    lips: Tensor
    """(B, 40, 2) px."""
    nose: Tensor
    """(B, 2) px: base of the nose."""
    style: Tensor
    """(B, S): light, tone and teeth of this person."""


class Conditions(NamedTuple):
    """What the geometry says about one frame before any network has run."""

    flow: Tensor
    """(B, 2, H, W) px: the carried photo at p shows the photo at p + flow(p)."""
    shape: MouthShape
    planes: Tensor
    """(B, 17, H, W): input of the image encoder beside the previous frame and its mask."""
    skull_shift: Tensor
    """(B, 2, 1, 1) px: flow of the copy that moves with the skull."""
    jaw_shift: Tensor
    """(B, 2, 1, 1) px: flow of the copy that moves with the jaw."""


class Frame(NamedTuple):
    """What the decoder says about one frame."""

    colour: Tensor
    """(B, 3, H, W) in [0, 1]: paint and copies mixed."""
    mask: Tensor
    """(B, 1, H, W) in [0, 1]: where the colour replaces the carried photo, between the predicted lips, with a soft
    edge. It is the attention mask that is fed back with the frame (paper 3.3)."""
    flow: Tensor
    """(B, 2, H, W) px: of the carried photo."""
    paint: Tensor
    """(B, 3, H, W) in [0, 1]: the painted part of the colour."""
    weights: Tensor
    """(B, 3, H, W), sum 1: shares of paint, skull copy and jaw copy in the colour."""
    copy_flow: Tensor
    """(B, 4, H, W) px: flows of the skull copy and of the jaw copy."""


class Generator(nn.Module):
    """Identity Encoder, Audio Encoder, Image Encoder and Frame Decoder (paper 3.1, Fig. 2).

    Args:
        config: sizes of the four parts.
    """

    position: Tensor
    mixture_bias: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.identity_encoder = IdentityEncoder(config.style)
        self.audio_encoder = AudioEncoder(
            config.audio_features, config.audio_width, config.audio_dropout, Expression(config.opening_gain)
        )
        self.image_encoder = ImageEncoder(config.widths)
        self.frame_decoder = FrameDecoder(config.widths, config.style)
        self.lip_warp = LipWarp(WIDTH, HEIGHT)
        grid = torch.stack(torch.meshgrid(torch.arange(WIDTH), torch.arange(HEIGHT), indexing="xy")).float()
        self.register_buffer("position", grid[None], persistent=False)  # (1, 2, H, W) px
        self.register_buffer("mixture_bias", torch.tensor([1.0, 0.0, 0.0])[None, :, None, None], persistent=False)

    def picture_parts(self) -> list[nn.Module]:
        """The parts that work on pictures: all but the Audio Encoder."""
        return [self.identity_encoder, self.image_encoder, self.frame_decoder]

    def encode_identity(self, photo: Tensor, lips: Tensor, nose: Tensor, rate: Tensor | float = 1.0) -> Identity:
        """Once per video.

        Args:
            photo: (B, 3, H, W), the crop of the photo.
            lips: (B, 40, 2) px, the photo's lips.
            nose: (B, 2) px, base of the photo's nose.
            rate: attention rate on the lip area (paper 3.3), scalar or (B, 1, 1, 1).
        """
        attended = attend(photo, coarse_mask(lips, self.position), rate) if self.config.attention else photo
        mouth = self.lip_warp.shape(lips).mouth
        return Identity(photo, attended, mouth, lips, nose, self.identity_encoder(attended, mouth))

    def first_mask(self, identity: Identity) -> Tensor:
        """The coarse mask that the first frame starts from (paper 3.3), (B, 1, H, W)."""
        return coarse_mask(identity.lips, self.position)

    def conditions(
        self,
        identity: Identity,
        lips: Tensor,
        head_shift: Tensor | None = None,
        weights: tuple[Tensor, Tensor] | None = None,
    ) -> Conditions:
        """The geometry of one frame.

        Args:
            identity: of `encode_identity`.
            lips: (B, 40, 2) px, the wanted lips.
            head_shift: (B, 2) px, how far the skull has moved since the photo; None where the head stands still.
            weights: of the lip points in the fields that carry the lips, as `LipWarp` takes them.
        """
        flow, shape = self.lip_warp(identity.lips, lips - identity.lips, weights)
        shift = torch.zeros_like(identity.nose) if head_shift is None else head_shift
        jaw = (lips - identity.lips)[:, OUTER_LOWER_MIDDLE].mean(1)
        skull_shift, jaw_shift = (-move[:, :, None, None] for move in (shift, jaw))
        source = torch.cat([identity.attended, identity.mouth], 1)
        skull, jaw_copy = warp(source, skull_shift), warp(source, jaw_shift)
        distances = torch.cat([shape.below_upper, shape.above_lower], 1) / DISTANCE_UNIT
        x, y = ((self.position[:, axis] - (identity.nose + shift)[:, axis, None, None]) for axis in (0, 1))
        place = torch.stack([x, y - MOUTH_BELOW_NOSE], 1) / POSITION_UNIT
        planes = [
            warp(identity.attended, flow) * 2 - 1,
            skull[:, :3] * 2 - 1,
            jaw_copy[:, :3] * 2 - 1,
            shape.mouth,
            shape.edged,
            skull[:, 3:],
            jaw_copy[:, 3:],
            distances.clamp(-1, 2.5),
            place,
        ]
        return Conditions(flow, shape, torch.cat(planes, 1), skull_shift, jaw_shift)

    def step(self, identity: Identity, conditions: Conditions, previous: Tensor, previous_mask: Tensor) -> Frame:
        """One frame (paper 3.1).

        Args:
            identity: of `encode_identity`.
            conditions: of `conditions`.
            previous: (B, 3, H, W), the previous frame; the photo for the first.
            previous_mask: (B, 1, H, W), its mask; `first_mask` for the first.
        """
        seen = torch.cat([previous * 2 - 1, previous_mask], 1)
        if not self.config.feedback:
            seen = torch.zeros_like(seen)
        maps = self.image_encoder(torch.cat([seen, conditions.planes], 1))
        out, displaced = self.frame_decoder(maps, identity.style)
        paint, weights = torch.sigmoid(2 * out[:, :3]), torch.softmax(out[:, 3:] + self.mixture_bias, 1)
        copy_flow = torch.cat([conditions.skull_shift + displaced[:, :2], conditions.jaw_shift + displaced[:, 2:]], 1)
        copies = [warp(identity.attended, flow) for flow in copy_flow.chunk(2, 1)]
        colour = weights[:, :1] * paint + weights[:, 1:2] * copies[0] + weights[:, 2:] * copies[1]
        return Frame(colour, conditions.shape.edged, conditions.flow, paint, weights, copy_flow)

    @staticmethod
    def compose(identity: Identity, frame: Frame) -> Tensor:
        """mask x colour + (1 - mask) x carried photo, (B, 3, H, W)."""
        return frame.mask * frame.colour + (1 - frame.mask) * warp(identity.image, frame.flow)
