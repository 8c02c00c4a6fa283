"""One frame of a face: all that the networks and the geometry compute of it.

PyTorch runs this function as it is, and ONNX Runtime runs the graph that is exported from it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from talkface.model.frames import BORDER, HEIGHT, REGION, WIDTH
from talkface.model.generator import Generator, Identity
from talkface.model.lipwarp import LipWarp, warp


class FaceInputs(NamedTuple):
    """What is kept of the photo for a whole video."""

    identity: Identity
    region: Tensor
    """(1, 3, h, w) in [0, 1]: the photo on `REGION`."""
    region_lips: Tensor
    """(1, 40, 2) px relative to the region: the photo's lips."""
    fade: Tensor
    """(1, 1, h, w) in [0, 1]: share of the lips' field that is shown."""
    corner: tuple[int, int] | Tensor
    """x, y of the crop's first pixel in the region."""


class FaceFrame(NamedTuple):
    """One frame; the fields from `paint` on are those of `talkface.model.frames.OutputFrame`."""

    next: Tensor
    """(1, 3, H, W) in [0, 1]: the crop, which is fed back."""
    next_mask: Tensor
    """(1, 1, H, W) in [0, 1]: the mask that is fed back."""
    paint: Tensor
    weights: Tensor
    copy_flow: Tensor
    mask: Tensor
    flow: Tensor
    picture: Tensor | None
    """uint8 (h, w, 3): the region of the aligned face; None where it is not wanted."""


def make_frame(
    generator: Generator,
    region_warp: LipWarp,
    face: FaceInputs,
    previous: tuple[Tensor, Tensor],
    moves: Tensor,
    share: float | Tensor,
    weights: tuple[Tensor, Tensor] | None = None,
    picture: bool = True,
) -> FaceFrame:
    """The next frame.

    Args:
        generator: in eval mode.
        region_warp: for the region.
        face: of the photo.
        previous: `next` and `next_mask` of the frame before; for the first the photo and `Generator.first_mask`.
        moves: (1, 40, 2) px, how far the lips are from the photo's.
        share: of the paint and the movement that is shown.
        weights: as `LipWarp` takes them.
        picture: whether the aligned face is wanted.
    """
    identity = face.identity
    conditions = generator.conditions(identity, identity.lips + moves, weights=weights)
    frame = generator.step(identity, conditions, *previous)
    shown = frame._replace(mask=share * frame.mask)
    following = generator.compose(identity, shown._replace(flow=share * shown.flow))
    flow = region_warp(face.region_lips, moves, weights)[0] * (share * face.fade)
    region = None
    if picture:
        carried = warp(face.region, flow)
        painted, covered = (_placed(crop, face.corner) for crop in (shown.mask * shown.colour, shown.mask))
        region = to_bytes((painted + (1 - covered) * carried)[0])
    return FaceFrame(
        following, frame.mask, shown.paint[0], shown.weights[0], shown.copy_flow[0], shown.mask[0, 0], flow[0], region
    )


def region_fade(reach: Tensor) -> Tensor:
    """(1, 1, h, w) in [0, 1]: 0 at the region's border and from the face's outline on.

    Args:
        reach: (256, 256) of the face, see `talkface.model.frames.AlignedFace`.
    """
    left, top, width, height = REGION
    ramps = []
    for size in (width, height):
        line = torch.arange(size, device=reach.device) + 0.5
        edge = (torch.minimum(line, size - line) / BORDER).clamp(max=1)
        ramps.append(0.5 - 0.5 * torch.cos(torch.pi * edge))
    fade = ramps[1][:, None] * ramps[0][None, :] * reach[top : top + height, left : left + width]
    return fade[None, None]


def to_bytes(picture: Tensor) -> Tensor:
    """Float (3, H, W) in [0, 1] -> uint8 RGB (H, W, 3)."""
    return (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0)


def _placed(crop: Tensor, corner: tuple[int, int] | Tensor) -> Tensor:
    """A map of the crop (1, C, H, W) on the region, with 0 around it: (1, C, h, w)."""
    x, y = corner[0], corner[1]
    return F.pad(crop, (x, REGION[2] - WIDTH - x, y, REGION[3] - HEIGHT - y))  # type: ignore[arg-type]
