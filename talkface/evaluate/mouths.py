"""What is seen between the lips: the columns of the metric `mouth`, on some frames of each clip.

Real and generated frames are judged at the same place: at the lips of the real frame, against the colours of the real
face. Only frames whose real mouth is open are judged, and of those every third, because frames next to each other show
the same mouth.

Shapes: N frames of a block, n of them judged, D features. Frames are uint8 RGB (N, 256, 256, 3), aligned.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talkface.errors import TalkfaceError
from talkface.face.mouth_colours import Reference, inner_mask, reference
from talkface.metrics.mouth import kernel_distance, mouth_content, sharpness
from talkface.metrics.mouth_features import mouth_features
from talkface.metrics.perceptual import PerceptualFeatures
from talkface.model.generator import HEIGHT, WIDTH
from talkface.model.inference import crop_corner
from talkface.model.lipwarp import LipWarp

OPEN = 2.0  # px of the aligned frame: real mouths with a smaller gap are not judged
EVERY = 3  # of the frames with an open mouth
MAX_FEATURES = 3000  # of either kind in a kernel distance, evenly spaced: its cost grows with the square


class RealMouths(NamedTuple):
    """The judged mouths of a block, as the real frames show them."""

    numbers: np.ndarray
    """int64 (n,): which frames of the block."""
    corners: list[tuple[int, int]]
    """x, y of each crop's first pixel."""
    lips: np.ndarray
    """float32 (n, 40, 2) px of the crop."""
    colours: list[Reference]
    inside: list[np.ndarray]
    """bool (H, W): the pixels between the lips."""
    area: Tensor
    """(n, 1, H, W) in [0, 1]: the mouth with a soft edge."""


class MouthJudge:
    """Measures crops around the mouth. It keeps nothing between calls, so several threads may use it.

    Args:
        device: where the network is that features are taken from.

    Raises:
        TalkfaceError: its weights are missing.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        try:
            self.network = PerceptualFeatures().to(device)
        except TalkfaceError as error:
            raise TalkfaceError(str(error), "Reinstall talkface, or leave mouth out of --metrics.") from error
        self.lip_warp, self.device = LipWarp(WIDTH, HEIGHT).to(device), device

    @torch.inference_mode()
    def real_mouths(self, frames: np.ndarray, lips: np.ndarray, gap: np.ndarray, earlier: int) -> RealMouths | None:
        """The mouths of a block of real frames that are to be judged; None if there are none.

        Args:
            frames: the real frames.
            lips: float32 (N, 40, 2) px of the aligned frame.
            gap: (N,) px between the inner lips; 0 where no face was found.
            earlier: number of open mouths in earlier blocks of the clip.
        """
        opened = np.flatnonzero(gap > OPEN)
        numbers = opened[-earlier % EVERY :: EVERY]
        if not len(numbers):
            return None
        corners = [crop_corner(lips[number]) for number in numbers]
        moved = (lips[numbers] - np.array(corners)[:, None]).astype(np.float32)
        crops = self._crops(frames, numbers, corners)
        return RealMouths(
            numbers,
            corners,
            moved,
            [reference(crop, points) for crop, points in zip(crops, moved, strict=True)],
            [inner_mask(points, crop.shape) for crop, points in zip(crops, moved, strict=True)],
            self.lip_warp.shape(torch.from_numpy(moved).to(self.device)).edged,
        )

    @torch.inference_mode()
    def judge(self, frames: np.ndarray, mouths: RealMouths) -> dict[str, np.ndarray]:
        """What a block of real or generated frames shows between the lips of the real ones.

        Returns:
            "mouth_content": float64 (n, 3), share of teeth, share of dark pixels, and sharpness; "mouth_features":
            float16 (n, D).
        """
        crops = self._crops(frames, mouths.numbers, mouths.corners)
        content = []
        for crop, lips, colours, inside in zip(crops, mouths.lips, mouths.colours, mouths.inside, strict=True):
            found = mouth_content(crop, lips, colours)
            content.append((found.teeth, found.dark, sharpness(crop, inside)))
        pictures = torch.from_numpy(np.stack(crops)).to(self.device).permute(0, 3, 1, 2).float() / 255
        features = mouth_features(self.network, pictures, mouths.area)
        return {"mouth_content": np.array(content), "mouth_features": features.half().cpu().numpy()}

    @staticmethod
    def _crops(frames: np.ndarray, numbers: np.ndarray, corners: list[tuple[int, int]]) -> list[np.ndarray]:
        return [
            np.ascontiguousarray(frames[number, y : y + HEIGHT, x : x + WIDTH])
            for number, (x, y) in zip(numbers, corners, strict=True)
        ]


def pooled_kernel_distance(real: list[np.ndarray], fake: list[np.ndarray]) -> float:
    """The kernel distance of the features (n, D) of all clips, from at most `MAX_FEATURES` of either kind."""
    return kernel_distance(_pooled(real), _pooled(fake))


def halves_kernel_distance(real: list[np.ndarray], seed: int) -> float:
    """The kernel distance of two random halves of the real features: about 0, what chance gives."""
    features = _pooled(real)
    order = np.random.default_rng(seed).permutation(len(features))
    half = len(features) // 2
    return kernel_distance(features[order[:half]], features[order[half:]])


def _pooled(clips: list[np.ndarray]) -> np.ndarray:
    """The features of all clips one after another, float32 (at most MAX_FEATURES, D)."""
    features = np.concatenate(clips)
    chosen = np.linspace(0, len(features) - 1, min(len(features), MAX_FEATURES)).round().astype(int)
    return features[chosen].astype(np.float32)
