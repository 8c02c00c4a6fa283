"""The autoregressive loop (paper 3.1, 3.3): one photo and the speech features of each frame make a stream of frames.

The identity is encoded once. Each frame gets the one before it and its mask. Memory does not grow with the length of
the speech.

A video begins with the photo as it is and leaves it within a fraction of a second: at first its lips are where the
photo has them, whatever is heard.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talkface.config import FPS, SIZE
from talkface.model.audio import REACH, expressive_lips
from talkface.model.generator import BELOW_CORNERS, HEIGHT, WIDTH, Frame, Generator
from talkface.model.lipwarp import LipWarp, warp
from talkface.model.paper import PaperGenerator

BLOCK = 250  # frames whose lips are predicted together
ONSET = 0.12  # s in which the photo's own lips fade to a third
REGION = (48, 104, 160, 144)  # x, y, width, height in px of the aligned face: what the lips' field may move
BORDER = 12  # px over which the field fades to 0 at the region's border


class AlignedFace(NamedTuple):
    """A face that is to speak."""

    face: np.ndarray
    """uint8 RGB (256, 256, 3), aligned."""
    lips: np.ndarray
    """float32 (40, 2) px: where the lips are in it, as `talkface.face.landmarks.lips` orders them."""
    nose: np.ndarray
    """float32 (2,) px: the base of the nose."""
    reach: np.ndarray | None = None
    """float32 (256, 256) in [0, 1]: where lips may carry the skin with them; 0 outside the face's outline."""


class OutputFrame(NamedTuple):
    """One frame on the aligned face, and what paste-back needs to repeat it at the photo's own resolution."""

    face: np.ndarray
    """uint8 RGB (256, 256, 3)."""
    paint: np.ndarray
    """float32 (3, H, W) in [0, 1], on the crop at `corner`."""
    weights: np.ndarray
    """float32 (3, H, W): shares of paint, skull copy and jaw copy in the colour."""
    copy_flow: np.ndarray
    """float32 (4, H, W) px: flows of the two copies."""
    mask: np.ndarray
    """float32 (H, W) in [0, 1]: where the colour replaces the carried photo."""
    flow: np.ndarray
    """float32 (2, h, w) px on `region`: the pixel at p shows the photo at p + flow(p)."""
    region: tuple[int, int, int, int]
    """x, y, width, height in px of the aligned face."""
    corner: tuple[int, int]
    """x, y of the crop's first pixel in the aligned face."""


def to_network(picture: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 RGB (H, W, 3) -> float32 (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(picture)).to(device).permute(2, 0, 1)[None].float() / 255


def to_picture(frame: Tensor) -> np.ndarray:
    """float (3, H, W) in [0, 1] -> uint8 RGB (H, W, 3)."""
    return (frame.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def crop_corner(lips: np.ndarray) -> tuple[int, int]:
    """x, y of the first pixel of the mouth's crop, inside REGION, for lip points (40, 2) px of the aligned face."""
    x, y = lips[[20, 30]].mean(0) + np.array([-WIDTH / 2, BELOW_CORNERS - HEIGHT / 2], np.float32)
    left, top, width, height = REGION
    return (
        min(max(round(float(x)), left), left + width - WIDTH),
        min(max(round(float(y)), top), top + height - HEIGHT),
    )


@torch.inference_mode()
def predict_lips(
    generator: Generator, face: AlignedFace, features: Iterable[np.ndarray], expression: float = 1.0
) -> Iterator[np.ndarray]:
    """The lips of each frame, float32 (40, 2) px of the aligned face.

    Args:
        generator: in eval mode.
        face: who speaks.
        features: of each frame, as the generator takes them: float32 (768,), or (20, 13) for MFCC.
        expression: factor on the opening of the mouth; 1 is life's spread.
    """
    encoder = generator.audio_encoder
    device = encoder.direction.device
    photo = torch.from_numpy(face.lips).to(device)[None]
    source, before, ended = iter(features), 0, False
    held: list[np.ndarray] = []
    while not ended:
        wanted = before + BLOCK + REACH
        while len(held) < wanted and not ended:
            block = next(source, None)
            ended = block is None
            if block is not None:
                held.append(block)
        count = len(held) - before if ended else BLOCK
        if count:
            audio = encoder(torch.from_numpy(np.stack(held)).to(device)[None], photo)
            lips = expressive_lips(audio, encoder.direction, expression)[0, before : before + count]
            yield from lips.cpu().numpy()
        drop = max(before + count - REACH, 0)
        held, before = held[drop:], before + count - drop


@torch.inference_mode()
def generate_frames(
    generator: Generator, face: AlignedFace, lips: Iterable[np.ndarray], fps: float = FPS
) -> Iterator[OutputFrame]:
    """Frames of the face with these lips.

    Args:
        generator: in eval mode.
        face: who speaks.
        lips: of each frame, float32 (40, 2) px of the aligned face.
        fps: frames per second, for the speed at which the photo's own lips are left.
    """
    renderer = FaceRenderer(generator, face)
    begun = None
    for number, wanted in enumerate(lips):
        begun = wanted - face.lips if begun is None else begun
        photo_share = math.exp(-number / fps / ONSET)
        yield renderer.frame(wanted - np.float32(photo_share) * begun, 1 - photo_share**3)


class FaceRenderer:
    """One face, frame by frame: the state that is fed back, and the fields that carry the lips.

    Args:
        generator: in eval mode.
        face: who speaks.
    """

    def __init__(self, generator: Generator, face: AlignedFace) -> None:
        self.generator, self.face = generator, face
        self.device = generator.position.device
        self.corner = crop_corner(face.lips)
        left, top, width, height = REGION
        self.whole = to_network(face.face, self.device)
        self.region = self.whole[:, :, top : top + height, left : left + width]
        self.lip_warp = LipWarp(width, height).to(self.device)
        self.fade = self._fade()
        x, y = self.corner
        photo = self.whole[:, :, y : y + HEIGHT, x : x + WIDTH].contiguous(memory_format=torch.channels_last)
        origin = np.array(self.corner, np.float32)
        points, nose = (torch.from_numpy(p - origin).to(self.device)[None] for p in (face.lips, face.nose))
        self.identity = generator.encode_identity(photo, points, nose)
        self.previous, self.mask = photo, generator.first_mask(self.identity)

    @torch.inference_mode()
    def frame(self, lips: np.ndarray, share: float = 1.0) -> OutputFrame:
        """The next frame.

        Args:
            lips: float32 (40, 2) px of the aligned face.
            share: of the paint and the movement that is shown; 0 gives the photo.
        """
        moves = torch.from_numpy(lips - self.face.lips).to(self.device)[None]
        conditions = self.generator.conditions(self.identity, self.identity.lips + moves)
        frame = self.generator.step(self.identity, conditions, self.previous, self.mask)
        self.mask = frame.mask
        frame = frame._replace(mask=share * frame.mask)
        self.previous = self.generator.compose(self.identity, frame._replace(flow=share * frame.flow))
        shift = torch.tensor(REGION[:2], device=self.device)
        flow = self.lip_warp(torch.from_numpy(self.face.lips).to(self.device)[None] - shift, moves)[0] * (
            share * self.fade
        )
        return OutputFrame(
            face=self._aligned(frame, flow),
            paint=frame.paint[0].cpu().numpy(),
            weights=frame.weights[0].cpu().numpy(),
            copy_flow=frame.copy_flow[0].cpu().numpy(),
            mask=frame.mask[0, 0].cpu().numpy(),
            flow=flow[0].cpu().numpy(),
            region=REGION,
            corner=self.corner,
        )

    def _aligned(self, frame: Frame, flow: Tensor) -> np.ndarray:
        """The frame on the aligned face, uint8 (256, 256, 3)."""
        left, top, width, height = REGION
        carried = warp(self.region, flow)
        x, y = self.corner[0] - left, self.corner[1] - top
        inside = carried[:, :, y : y + HEIGHT, x : x + WIDTH]
        inside.copy_(frame.mask * frame.colour + (1 - frame.mask) * inside)
        face = self.face.face.copy()
        face[top : top + height, left : left + width] = to_picture(carried[0])
        return face

    def _fade(self) -> Tensor:
        """(1, 1, h, w) in [0, 1]: 0 at the region's border and, where it is known, from the face's outline on."""
        left, top, width, height = REGION
        ramps = []
        for size in (width, height):
            line = torch.arange(size) + 0.5
            edge = (torch.minimum(line, size - line) / BORDER).clamp(max=1)
            ramps.append(0.5 - 0.5 * torch.cos(torch.pi * edge))
        fade = ramps[1][:, None] * ramps[0][None, :]
        if self.face.reach is not None:
            fade = fade * torch.from_numpy(self.face.reach[top : top + height, left : left + width])
        return fade[None, None].to(self.device)


@torch.inference_mode()
def generate_paper_frames(
    generator: PaperGenerator, face: AlignedFace, windows: Iterable[np.ndarray]
) -> Iterator[OutputFrame]:
    """Frames of the face by the paper's generator, one for each 20x13 MFCC window.

    It draws whole faces, so paste-back covers the whole aligned face and fades out at its border.

    Args:
        generator: in eval mode.
        face: who speaks.
        windows: of each frame, float32 (20, 13).
    """
    device = generator.first.device
    photo = to_network(face.face, device)
    previous, mask = photo, generator.first_mask(1)
    ramp = torch.minimum(torch.arange(SIZE) + 0.5, SIZE - 0.5 - torch.arange(SIZE)).div(BORDER).clamp(max=1).numpy()
    cover = ramp[:, None] * ramp[None, :]
    whole, still = np.zeros((3, SIZE, SIZE), np.float32), np.zeros((2, SIZE, SIZE), np.float32)
    whole[0] = 1
    for window in windows:
        frame = generator.step(photo, torch.from_numpy(window).to(device)[None], previous, mask, 1.0)
        previous, mask = frame.picture, frame.mask
        yield OutputFrame(
            face=to_picture(frame.picture[0]),
            paint=frame.picture[0].cpu().numpy(),
            weights=whole,
            copy_flow=np.concatenate([still, still]),
            mask=cover,
            flow=still,
            region=(0, 0, SIZE, SIZE),
            corner=(0, 0),
        )
