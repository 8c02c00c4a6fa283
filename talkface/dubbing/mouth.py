"""The mouth of one shot.

The generator works on one frame of the shot, the reference, as it does on a photo: with one picture of the teeth and
one tone, the inside of the mouth is as steady as in a rendered photo, and nothing of what the video says shows through.
This is also how the generator was trained: its photo is another moment of the clip. The reference shows an open mouth,
so that the person's own teeth can be copied.

The skin is each frame's own: its lips are carried to the wanted lips. The mouth is then painted between them, at the
place that the head has in the frame and in the light of the frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from talkface.config import EYE_DISTANCE
from talkface.dubbing.geometry import Geometry
from talkface.face import align
from talkface.face.landmarks import mouth_opening
from talkface.face.outline import reach_inside
from talkface.face.paste import Paster
from talkface.model.frames import BORDER, REGION, AlignedFace, OutputFrame
from talkface.model.inference import FaceRenderer
from talkface.model.lipwarp import LipWarp
from talkface.model.onnx_engine import OnnxGenerator

if TYPE_CHECKING:
    from talkface.model.generator import Generator

OPEN_QUANTILE = 0.8  # of the openings in a shot: the opening that the reference should have
POSE_UNIT = 3.0  # px by which the nose of the reference may be aside for the cost of one standard deviation of opening
WARM_UP = 3  # frames that are generated before the first: what is fed back then is a mouth, not the reference
MARGIN = 24.0  # px of the aligned face around the region: what a flow may take from outside it
SKIN_SIZE = 32  # px, side of the small aligned faces whose light is compared
SKIN = (slice(17, 30), slice(6, 26))  # rows and columns of them: the lower half of the face
LIGHT_LIMIT = 1.5  # the largest factor on a colour
LIGHT_MEMORY = 0.8  # share of the factors of the frames before


def reference_frame(geometry: Geometry, frames: np.ndarray) -> int:
    """The frame that is to be the reference: its mouth is open and its pose is usual.

    Args:
        geometry: of the video.
        frames: int (N,), the frames of the shot.
    """
    shown = frames[geometry.share[frames] == geometry.share[frames].max()]
    opening = mouth_opening(geometry.lips[shown], EYE_DISTANCE)
    aside = np.linalg.norm(geometry.nose[shown] - np.median(geometry.nose[shown], 0), axis=1)
    cost = np.abs(opening - np.quantile(opening, OPEN_QUANTILE)) / (opening.std() + 1e-3) + aside / POSE_UNIT
    return int(shown[cost.argmin()])


class ShotMouth:
    """Replaces the lips in the frames of one shot.

    Args:
        generator: in eval mode.
        geometry: of the video.
        number: the reference's number in the video.
        picture: uint8 RGB (H, W, 3), the reference.
    """

    def __init__(
        self, generator: Generator | OnnxGenerator, geometry: Geometry, number: int, picture: np.ndarray
    ) -> None:
        self.geometry = geometry
        self.nose, self.transform = geometry.nose[number], geometry.transforms[number]
        face = AlignedFace(align.warp(picture, self.transform), geometry.lips[number], self.nose)
        self.renderer = FaceRenderer(generator, face)
        self.lip_warp = LipWarp(*REGION[2:])
        self.fade = _border_fade()
        # Only the surroundings of the mouth are kept of the reference, at full resolution.
        self.reference, self.offset = _cut(picture, self.transform)
        self.light = _skin(picture, self.transform)
        self.gain = np.ones(3, np.float32)
        self.begun = False

    @torch.inference_mode()
    def show(self, picture: np.ndarray, number: int, wanted: np.ndarray) -> np.ndarray:
        """A frame with other lips.

        Args:
            picture: uint8 RGB (H, W, 3); it is not modified.
            number: of the frame in the video; it is in this shot.
            wanted: float32 (40, 2) px of the aligned face.

        Returns:
            uint8 RGB (H, W, 3); outside the mouth's surroundings the pixels of `picture`.
        """
        geometry, share = self.geometry, float(self.geometry.share[number])
        own, transform = geometry.lips[number], geometry.transforms[number]
        lips = own + np.float32(share) * (wanted - own)
        shift = geometry.nose[number] - self.nose
        frame = self._generate(lips - shift)
        self._follow_light(_skin(picture, transform))
        result = picture.copy()
        part, offset = _cut(picture, transform)
        if not part.size:
            return result
        height, width = part.shape[:2]
        target = result[offset[1] : offset[1] + height, offset[0] : offset[0] + width]
        local = _moved(transform, offset)
        flow = self._flow(own, lips, geometry.outline[number])
        still = np.zeros_like(frame.mask)
        target[:] = Paster(part, local).paste_frame(frame._replace(mask=still, flow=flow))
        # The crop of the reference lies `shift` aside in this frame.
        local = local.copy()
        local[:, 2] -= shift
        gain = self.gain[:, None, None]
        painted = frame._replace(
            paint=(frame.paint * gain).clip(0, 1), mask=frame.mask * np.float32(1 - (1 - share) ** 3)
        )
        Paster(self._reference_at(local, (width, height)), local).paint(target, painted)
        return result

    def _generate(self, lips: np.ndarray) -> OutputFrame:
        for _ in range(0 if self.begun else WARM_UP):
            self.renderer.frame(lips)
        self.begun = True
        return self.renderer.frame(lips)

    def _flow(self, own: np.ndarray, lips: np.ndarray, outline: np.ndarray) -> np.ndarray:
        """float32 (2, h, w) px on REGION: how the frame's own lips are carried to `lips`."""
        left, top, width, height = REGION
        points = torch.from_numpy(own - np.array((left, top), np.float32))[None]
        flow = self.lip_warp(points, torch.from_numpy(lips - own)[None])[0][0].numpy()
        reach = reach_inside(outline)[top : top + height, left : left + width]
        return flow * (self.fade * reach)

    def _reference_at(self, local: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """The reference where the frame's head is, in the frame's light, uint8 (h, w, 3)."""
        there = _moved(self.transform, self.offset)
        to_frame = np.vstack([align.invert(local), (0, 0, 1)]) @ np.vstack([there, (0, 0, 1)])
        moved = cv2.warpAffine(
            self.reference, to_frame[:2], size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(cv2.transform(moved, np.diag(self.gain)))

    def _follow_light(self, skin: np.ndarray) -> None:
        """Adapt the factors on the colours by which this frame's skin is brighter than the reference's."""
        gain = np.clip(skin / self.light, 1 / LIGHT_LIMIT, LIGHT_LIMIT)
        self.gain = LIGHT_MEMORY * self.gain + (1 - LIGHT_MEMORY) * gain if self.begun else gain


def _skin(picture: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """float32 (3,): median colour of the lower half of the face, at least 1."""
    matrix = align.resized(transform, SKIN_SIZE / 256)
    small = cv2.warpAffine(picture, matrix, (SKIN_SIZE, SKIN_SIZE), flags=cv2.INTER_LINEAR)
    return np.maximum(np.median(small[SKIN].reshape(-1, 3), 0), 1).astype(np.float32)


def _cut(picture: np.ndarray, transform: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """The surroundings of the mouth, a copy, and the x, y of its first pixel in the picture."""
    left, top, width, height = REGION
    corners = np.array([(x, y) for x in (left - MARGIN, left + width + MARGIN) for y in (top, top + height + MARGIN)])
    placed = align.apply(align.invert(transform), corners)
    limit = picture.shape[1::-1]
    x0, y0 = np.clip(np.floor(placed.min(0)), 0, limit).astype(int)
    x1, y1 = np.clip(np.ceil(placed.max(0)) + 1, 0, limit).astype(int)
    return picture[y0:y1, x0:x1].copy(), (int(x0), int(y0))


def _moved(transform: np.ndarray, offset: tuple[int, int]) -> np.ndarray:
    """The transform of pixels of a part of the picture that begins at `offset`."""
    moved = transform.copy()
    moved[:, 2] += transform[:, :2] @ offset
    return moved


def _border_fade() -> np.ndarray:
    """float32 (h, w) in [0, 1]: 0 at the border of REGION, 1 from 12 px inside on."""
    ramps = []
    for size in REGION[2:]:
        line = np.arange(size) + 0.5
        ramps.append(0.5 - 0.5 * np.cos(np.pi * np.minimum(np.minimum(line, size - line) / BORDER, 1)))
    return (ramps[1][:, None] * ramps[0][None, :]).astype(np.float32)
