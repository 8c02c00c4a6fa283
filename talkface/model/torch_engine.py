"""Runs a generator with PyTorch: the reference, and the engine for GPUs and for weights that have no graphs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from talkface.config import SIZE
from talkface.model.audio import expressive_lips
from talkface.model.face_frame import FaceInputs, make_frame, region_fade, to_bytes
from talkface.model.frames import (
    BORDER,
    HEIGHT,
    REGION,
    WIDTH,
    AlignedFace,
    OutputFrame,
    crop_corner,
    reach_or_everywhere,
)
from talkface.model.generator import Generator
from talkface.model.lipwarp import LipWarp
from talkface.model.paper import PaperGenerator
from talkface.model.recogniser import SpeechEncoder


def to_network(picture: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 RGB (H, W, 3) -> float32 (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(picture)).to(device).permute(2, 0, 1)[None].float() / 255


def to_picture(frame: Tensor) -> np.ndarray:
    """float (3, H, W) in [0, 1] -> uint8 RGB (H, W, 3)."""
    return to_bytes(frame).cpu().numpy()


@torch.inference_mode()
def recogniser_vectors(encoder: SpeechEncoder, mel: np.ndarray) -> np.ndarray:
    """Log-mel float32 (80, T) -> vectors of the recogniser float32 (T / 2, 384)."""
    tensor = torch.from_numpy(np.ascontiguousarray(mel))[None].to(encoder.positional_embedding.device)
    return encoder(tensor)[0].cpu().numpy()


class TorchGenerator:
    """A generator as `talkface.model.frames.GeneratorEngine`.

    Args:
        generator: in eval mode.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    @property
    def takes_mfcc(self) -> bool:
        """Whether it takes 20x13 MFCC windows."""
        return self.generator.audio_encoder.windows is not None

    @property
    def direction(self) -> np.ndarray:
        """Along which lip points move when the mouth opens by 1, float32 (40, 2)."""
        return self.generator.audio_encoder.direction.float().cpu().numpy()

    @torch.inference_mode()
    def lips(self, features: np.ndarray, photo_lips: np.ndarray, expression: float) -> np.ndarray:
        """The lips of T frames, float32 (T, 40, 2) px of the aligned face."""
        encoder = self.generator.audio_encoder
        device = encoder.direction.device
        audio = encoder(
            torch.from_numpy(np.ascontiguousarray(features)).to(device)[None],
            torch.from_numpy(photo_lips).to(device)[None],
        )
        return expressive_lips(audio, encoder.direction, expression, encoder.expression)[0].cpu().numpy()

    def open_face(self, face: AlignedFace, picture: bool) -> TorchFace:
        """A face that begins to speak."""
        return TorchFace(self.generator, face, picture)


class TorchFace:
    """One face, frame by frame: the state that is fed back, and the fields that carry the lips.

    Args:
        generator: in eval mode.
        face: who speaks.
        picture: whether the frames' `face` is computed.
    """

    @torch.inference_mode()
    def __init__(self, generator: Generator, face: AlignedFace, picture: bool = True) -> None:
        self.generator, self.picture = generator, picture
        self.device = generator.position.device
        self.lip_warp = LipWarp(*REGION[2:]).to(self.device)
        self.see(face)
        identity = self.inputs.identity
        self.previous = identity.image, generator.first_mask(identity)

    @torch.inference_mode()
    def see(self, face: AlignedFace) -> None:
        """Take the identity from another picture of the face; the frame that is fed back stays."""
        self.face, self.corner = face, crop_corner(face.lips)
        left, top, width, height = REGION
        whole = to_network(face.face, self.device)
        region = whole[:, :, top : top + height, left : left + width]
        x, y = self.corner
        photo = whole[:, :, y : y + HEIGHT, x : x + WIDTH].contiguous(memory_format=torch.channels_last)
        origin = np.array(self.corner, np.float32)
        points, nose = (torch.from_numpy(p - origin).to(self.device)[None] for p in (face.lips, face.nose))
        shift = torch.tensor(REGION[:2], device=self.device)
        reach = torch.from_numpy(reach_or_everywhere(face)).to(self.device)
        self.inputs = FaceInputs(
            self.generator.encode_identity(photo, points, nose),
            region,
            torch.from_numpy(face.lips).to(self.device)[None] - shift,
            region_fade(reach),
            (x - left, y - top),
        )

    @torch.inference_mode()
    def frame(self, lips: np.ndarray, share: float) -> OutputFrame:
        """The next frame, as `talkface.model.inference.FaceRenderer.frame` describes it."""
        moves = torch.from_numpy(lips - self.face.lips).to(self.device)[None]
        frame = make_frame(
            self.generator, self.lip_warp, self.inputs, self.previous, moves, share, picture=self.picture
        )
        self.previous = frame.next, frame.next_mask
        face = self.face.face
        if frame.picture is not None:
            left, top, width, height = REGION
            face = face.copy()
            face[top : top + height, left : left + width] = frame.picture.cpu().numpy()
        paint, weights, copy_flow, mask, flow = (
            part.cpu().numpy() for part in (frame.paint, frame.weights, frame.copy_flow, frame.mask, frame.flow)
        )
        return OutputFrame(face, paint, weights, copy_flow, mask, flow, REGION, self.corner)


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
