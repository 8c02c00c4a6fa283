"""The talking face generator (paper 3.1): photo, speech and the previous frame make the next frame.

It works on a square window of the aligned face that holds mouth, jaw and cheeks; the rest of the face stays the
photo's. The trunk runs at half the window's resolution, the last layer gives colour and mask at full resolution.

The photo's lips are carried to where the sound wants them by radial basis functions (lipwarp.py); the decoder sees the
result, refines the flow and paints what the photo cannot show.

Shapes: B batch, S side of the window in px, D audio features. Pictures are float32 in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkface.config import ALIGNED_LIPS
from talkface.errors import TalkfaceError
from talkface.model.attention import attend, coarse_mask
from talkface.model.encoders import AudioEncoder, ImageEncoder, conv, kaiming_init
from talkface.model.lipwarp import LipWarp

LIP_POINTS = 40
LIP_UNIT = 8.0  # px of the aligned face that count as 1 in a lip shape
FLOW_UNIT = 8.0  # px of the aligned face that count as 1 in the flow layer's output
MOUTH_LOGIT = 4.0  # on the mask between the lips, where the photo has nothing to show: paint there first
RIM = 12  # px over which mask and flow fade to 0 at the window's border


@dataclass(frozen=True)
class GeneratorConfig:
    """Shape of the generator. Defaults are the bundled weights'."""

    window: tuple[int, int, int] = (56, 112, 144)
    """x, y, side of the window on the 256-px aligned face; the side divides by 16."""
    widths: tuple[int, int, int, int] = (24, 48, 96, 192)
    """Channels at S/2, S/4, S/8 and S/16."""
    audio_width: int = 128
    """Channels of the audio encoder."""
    audio_features: int = 256
    """D, length of the audio feature."""
    audio_context: int = 4
    """MFCC windows that are seen before the frame's own, and as many after it; 0 is the paper's."""
    audio_stride: int = 2
    """Frames from one of these windows to the next."""
    head: str = "warp"
    """"warp": mask x colour + (1 - mask) x warped photo. "colour": the same without a warp, as the paper has none."""
    attention: bool = True
    """Dynamic attention (paper 3.3): the photo's lips are dimmed, and the predicted mask is fed back with the frame."""
    lip_gain: float = 1.4
    """Factor on the lips heard before they are shown, as the likeliest lips move less than life; by LRW-AR val."""
    audio_dropout: float = 0.2
    """Share of the audio encoder's hidden features that training leaves out."""
    landmark_noise: float = 1.0
    """Noise, in px, that training adds to the photo's lip points where it estimates their shape from them."""

    def __post_init__(self) -> None:
        left, top, side = self.window
        if side % 16 or min(left, top) < 0 or max(left, top) + side > 256:
            raise TalkfaceError(
                f"Generator window {self.window} does not lie in the 256-px face, or its side does not divide by 16.",
                "Give x, y and side in px, such as (56, 112, 144).",
            )
        if self.head not in ("warp", "colour"):
            raise TalkfaceError(f"Generator head {self.head!r} is not known.", "Use warp or colour.")
        if self.audio_context < 0 or self.audio_stride < 1:
            raise TalkfaceError(
                f"Audio context {self.audio_context} in strides of {self.audio_stride} is no number of windows.",
                "Use a context of 0 or more and a stride of 1 or more.",
            )

    @property
    def audio_offsets(self) -> tuple[int, ...]:
        """Which frames' MFCC windows are seen, counted from the frame that is made."""
        return tuple(self.audio_stride * i for i in range(-self.audio_context, self.audio_context + 1))


class Identity(NamedTuple):
    """What is kept of the photo for a whole video."""

    photo: Tensor
    """(B, 3, S, S): what the flow warps."""
    maps: list[Tensor]
    """Identity features from fine to coarse."""
    points: Tensor
    """(B, 40, 2) px of the aligned face: where the photo's lips are."""
    lips: Tensor
    """(B, 40, 2): how the photo's lips seem to differ from the person's mean lips, in units of 8 px."""


class Frame(NamedTuple):
    """What the decoder says about one frame, on the window."""

    colour: Tensor
    """(B, 3, S, S) in [0, 1]."""
    mask: Tensor
    """(B, 1, S, S) in [0, 1]: where the colour replaces the photo, with a warp between the lips alone; the next
    attention mask."""
    flow: Tensor
    """(B, 2, S, S) px: the frame at p shows the photo at p + flow(p)."""


class FiLMResBlock(nn.Module):
    """A residual block whose channels the audio feature scales and shifts (FiLM)."""

    def __init__(self, width: int, features: int, normed: bool) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width) if normed else nn.Identity()
        self.one = kaiming_init(nn.Conv2d(width, width, 3, 1, 1))
        self.two = nn.Conv2d(width, width, 3, 1, 1)
        self.film = nn.Linear(features, 2 * width)
        nn.init.zeros_(self.two.weight)
        nn.init.zeros_(self.two.bias)

    def forward(self, x: Tensor, audio: Tensor) -> Tensor:
        scale, shift = self.film(audio)[:, :, None, None].chunk(2, dim=1)
        hidden = self.one(self.norm(x))
        hidden = F.leaky_relu(hidden * (1 + scale) + shift, 0.2)
        return x + self.two(hidden)


class Up(nn.Module):
    """To twice the resolution: project, enlarge, join the skips, refine under the audio's control."""

    def __init__(self, inputs: int, skips: int, width: int, features: int, normed: bool) -> None:
        super().__init__()
        self.project = kaiming_init(nn.Conv2d(inputs, width, 1))
        self.join = conv(width + skips, width)
        self.refine = FiLMResBlock(width, features, normed)

    def forward(self, x: Tensor, skips: list[Tensor], audio: Tensor) -> Tensor:
        x = F.interpolate(self.project(x), scale_factor=2, mode="nearest")
        return self.refine(self.join(torch.cat([x, *skips], 1)), audio)


class LipEmbedding(nn.Module):
    """What the lips are to look like, and how far they have to move from where the photo has them, as one feature."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(4 * LIP_POINTS, features), nn.LeakyReLU(0.2, inplace=True), nn.Linear(features, features)
        )
        # Lips move by a pixel or two: with PyTorch's initial weights the code would be too faint to be listened to.
        for layer in (self.body[0], self.body[2]):
            nn.init.kaiming_normal_(layer.weight, 0.2)
            nn.init.zeros_(layer.bias)

    def forward(self, lips: Tensor, photo_lips: Tensor) -> Tensor:
        """Offsets from the person's mean lips, wanted and in the photo, (B, 40, 2) in units of 8 px -> (B, D)."""
        return self.body(torch.cat([lips.flatten(1), (lips - photo_lips).flatten(1)], 1) * 4)


class NeutralLipEstimator(nn.Module):
    """Tells from where the photo's lips are how they differ from the person's mean lips: whether the mouth is open.

    Linear in the points: more would learn the few people of the training data by heart.

    Args:
        noise: px, added to the points in training.
    """

    def __init__(self, noise: float) -> None:
        super().__init__()
        self.noise = noise
        self.register_buffer("usual", torch.tensor(ALIGNED_LIPS), persistent=False)
        self.body = nn.Linear(2 * LIP_POINTS, 2 * LIP_POINTS)
        nn.init.zeros_(self.body.weight)
        nn.init.zeros_(self.body.bias)

    def forward(self, points: Tensor) -> Tensor:
        """(B, 40, 2) px of the aligned face -> (B, 40, 2) in units of 8 px."""
        if self.training and self.noise:
            points = points + self.noise * torch.randn_like(points)
        return self.body((points - self.usual).flatten(1) / LIP_UNIT).unflatten(1, (LIP_POINTS, 2))


class FlowBasis(nn.Module):
    """A coarse flow that is linear in the audio feature: what jaw and cheeks do when the lips move.

    Args:
        features: D, length of the audio feature.
        side: of the window, px.
    """

    def __init__(self, features: int, side: int) -> None:
        super().__init__()
        self.side, self.cells = side, side // 8
        self.field = nn.Linear(features, 2 * self.cells**2)
        nn.init.zeros_(self.field.weight)
        nn.init.zeros_(self.field.bias)

    def forward(self, audio: Tensor) -> Tensor:
        """(B, D) -> (B, 2, S, S)."""
        coarse = self.field(audio).unflatten(1, (2, self.cells, self.cells))
        return F.interpolate(coarse, size=self.side, mode="bilinear", align_corners=False)


class Generator(nn.Module):
    """Identity Encoder, Audio Encoder, Image Encoder and Frame Decoder (paper 3.1, Fig. 2)."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        w0, w1, w2, w3 = config.widths
        features = config.audio_features
        self.identity_encoder = ImageEncoder(3, config.widths, fold=2)
        self.lip_warp = LipWarp(config.window) if config.head == "warp" else None
        self.image_encoder = ImageEncoder(8 if self.lip_warp else 4, (w0 // 2, w1 // 2, w2 // 2, w3 // 2), fold=2)
        self.audio_encoder = AudioEncoder(config.audio_width, features, len(config.audio_offsets), config.audio_dropout)
        self.lip_head = nn.Linear(features, 2 * LIP_POINTS)
        self.lip_code = LipEmbedding(features)
        self.audio_detail = nn.Linear(features, features)
        coarse = config.window[2] // 16
        self.photo_lips = NeutralLipEstimator(config.landmark_noise)
        self.place = nn.Parameter(torch.zeros(1, w3, coarse, coarse))
        self.merge = kaiming_init(nn.Conv2d(w3 + w3 // 2 + 64, w3, 1))
        self.audio_map = nn.Linear(features, 64)
        self.bottleneck = nn.ModuleList(FiLMResBlock(w3, features, normed=True) for _ in range(2))
        self.up2 = Up(w3, w2 + w2 // 2, w2, features, normed=True)
        self.up1 = Up(w2, w1 + w1 // 2, w1, features, normed=False)
        self.up0 = Up(w1, w0 + w0 // 2, w0, features, normed=False)
        self.picture_head = nn.Conv2d(w0, 16, 3, 1, 1)
        self.flow_head = nn.Conv2d(w0, 2, 3, 1, 1)
        self.flow_basis = FlowBasis(features, config.window[2])
        for layer in (self.flow_head, self.picture_head, self.audio_detail):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.picture_head.bias[12:] = -3.0
        side = config.window[2]
        self.register_buffer("coarse", coarse_mask(config.window), persistent=False)
        self.register_buffer("rim", _rim(side), persistent=False)
        self.register_buffer("grid", _grid(side), persistent=False)

    def crop(self, aligned: Tensor) -> Tensor:
        """The window of aligned faces: (B, C, 256, 256) -> (B, C, S, S)."""
        left, top, side = self.config.window
        return aligned[:, :, top : top + side, left : left + side]

    def encode_identity(self, photo: Tensor, lips: Tensor, rate: Tensor | float = 1.0) -> Identity:
        """Once per video.

        Args:
            photo: (B, 3, S, S).
            lips: (B, 40, 2) px of the aligned face, where the photo has them.
            rate: attention rate on the photo's lips (paper 3.3), scalar or (B, 1, 1, 1).
        """
        seen = attend(photo, self.coarse, rate) if self.config.attention else photo
        return Identity(photo, self.identity_encoder(seen), lips, self.photo_lips(lips))

    def encode_audio(self, windows: Tensor) -> Tensor:
        """(B, C, 20, 13) MFCC windows -> (B, 80 + D) audio features: the lip shape that they suggest, and detail."""
        return self.audio_and_lips(windows)[0]

    def audio_and_lips(self, windows: Tensor, detached: bool = False) -> tuple[Tensor, Tensor]:
        """Audio features (B, 80 + D) and the likeliest lip shape (B, 40, 2), as offsets in units of 8 px.

        In the features the shape is enlarged by `lip_gain`. Detached, what is made of the features teaches the lip
        shape nothing.
        """
        heard = self.audio_encoder(windows)
        lips = self.lip_head(heard).unflatten(1, (LIP_POINTS, 2))
        shape = self.config.lip_gain * (lips.detach() if detached else lips)
        return torch.cat([shape.flatten(1), self.audio_detail(heard)], 1), lips

    def encode_lips(self, lips: Tensor) -> Tensor:
        """(B, 40, 2) true lip offsets -> (B, 80 + D): stands in for the audio feature while the decoder learns lips."""
        return F.pad(lips.flatten(1), (0, self.config.audio_features))

    def first_mask(self, batch: int) -> Tensor:
        """The coarse mask that the first frame starts from, (B, 1, S, S)."""
        return self.coarse.expand(batch, -1, -1, -1)

    def step(self, identity: Identity, audio: Tensor, previous: Tensor, previous_mask: Tensor) -> Frame:
        """One frame (paper 3.1): identity, audio (B, 80 + D), previous frame (B, 3, S, S) and its mask (B, 1, S, S)."""
        if not self.config.attention:
            previous_mask = torch.zeros_like(previous_mask)
        lips = audio[:, : 2 * LIP_POINTS].unflatten(1, (LIP_POINTS, 2))
        audio = self.lip_code(lips, identity.lips) + audio[:, 2 * LIP_POINTS :]
        seen = [previous, previous_mask]
        if self.lip_warp:
            carried, mouth, edged = self.lip_warp(identity.points, (lips - identity.lips) * LIP_UNIT)
            seen += [warp(identity.photo, (carried * self.rim).detach(), self.grid), mouth]
        last = self.image_encoder(torch.cat(seen, 1))
        fine, half, quarter, coarse = identity.maps
        heard = self.audio_map(audio)[:, :, None, None].expand(-1, -1, *coarse.shape[2:])
        x = self.merge(torch.cat([coarse + self.place, last[3], heard], 1))
        for block in self.bottleneck:
            x = block(x, audio)
        x = self.up2(x, [quarter, last[2]], audio)
        x = self.up1(x, [half, last[1]], audio)
        x = self.up0(x, [fine, last[0]], audio)
        picture = F.pixel_shuffle(self.picture_head(x), 2)  # (B, 4, S, S)
        colour, logit = torch.sigmoid(picture[:, :3]), picture[:, 3:]
        if not self.lip_warp:
            return Frame(colour, torch.sigmoid(logit) * self.rim, torch.zeros_like(colour[:, :2]))
        mask = torch.sigmoid(logit + MOUTH_LOGIT * mouth)
        flow = F.interpolate(self.flow_head(x), scale_factor=2, mode="bilinear", align_corners=False)
        flow = carried + (flow + self.flow_basis(audio)) * FLOW_UNIT
        return Frame(colour, mask * edged * self.coarse * self.rim, flow * self.rim)

    def compose(self, photo: Tensor, frame: Frame) -> Tensor:
        """mask x colour + (1 - mask) x photo warped by the flow, (B, 3, S, S)."""
        warped = photo if self.config.head == "colour" else warp(photo, frame.flow, self.grid)
        return frame.mask * frame.colour + (1 - frame.mask) * warped


def warp(photo: Tensor, flow: Tensor, grid: Tensor) -> Tensor:
    """photo(p + flow(p)) with bilinear sampling; px outside the window take its border's colour."""
    side = photo.shape[-1]
    where = grid + flow.permute(0, 2, 3, 1) * (2 / side)
    return F.grid_sample(photo, where, mode="bilinear", padding_mode="border", align_corners=False)


def _grid(side: int) -> Tensor:
    """Sampling grid of the identity, (1, side, side, 2)."""
    line = (torch.arange(side) + 0.5) * (2 / side) - 1
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)[None]


def _rim(side: int) -> Tensor:
    """1 inside, a raised cosine down to 0 over RIM px at the border, (1, 1, side, side)."""
    line = torch.arange(side) + 0.5
    edge = (torch.minimum(line, side - line) / RIM).clamp(max=1)
    ramp = 0.5 - 0.5 * torch.cos(torch.pi * edge)
    return (ramp[None, :] * ramp[:, None])[None, None]
