"""Geometry of the mouth: where every pixel of the photo goes when the lip points move, and where the mouth opens.

Each lip is moved by radial basis functions through its own points, so that two lips that touch can part and two that
are apart can close. Between the lips the two fields are blended. Far from the lips the field fades to 0.

Shapes: B batch, H x W the rectangle for which the fields are computed. Lip points are those of
`talkface.face.landmarks.LIPS`, (B, 40, 2), in px. All coordinates are relative to the rectangle's top-left pixel.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkface.model.lip_field import INNER, LOWER, REACH, RIDGE, UPPER

INNER_LOWER = tuple(range(INNER, INNER + 11))  # from the left corner to the right
INNER_UPPER = (INNER, *range(INNER + 19, INNER + 9, -1))
OUTER_LOWER_MIDDLE = (3, 4, 5, 6, 7)  # these points of the lower lip move with the jaw

COLUMN = 2.5  # px, standard deviation of the kernel that draws the inner outlines through their points
SEAM = 0.3  # px, half of the smallest width over which one lip's field gives way to the other's
EDGE = 3.0  # px over which the painted area fades out on the lips
SIDE_SLOPE = 0.4  # how much wider the seam is for each px to the side of the mouth
STEP = 4  # px between the places where the field is computed; between them it is interpolated


class MouthShape(NamedTuple):
    """Where the mouth is open, for one set of lip points; all maps (B, 1, H, W)."""

    mouth: Tensor
    """In [0, 1]: 1 between the lips."""
    edged: Tensor
    """In [0, 1]: the mouth with a soft edge of 3 px on the lips; where the decoder may paint."""
    below_upper: Tensor
    """px below the inner outline of the upper lip; negative above it."""
    above_lower: Tensor
    """px above the inner outline of the lower lip; negative below it."""
    lower_share: Tensor
    """In [0, 1]: share of the lower lip's field at each pixel."""


class LipWarp(nn.Module):
    """Backward flow from displaced lip points, and maps of the open mouth.

    Args:
        width: W of the rectangle, px; divides by 4.
        height: H of the rectangle, px; divides by 4.
    """

    places: Tensor
    columns: Tensor
    rows: Tensor

    def __init__(self, width: int, height: int) -> None:
        super().__init__()
        coarse_x, coarse_y = (torch.arange(0, size, STEP) + (STEP - 1) / 2 for size in (width, height))
        places = torch.stack(torch.meshgrid(coarse_x, coarse_y, indexing="xy"), -1).flatten(0, 1)
        self.register_buffer("places", places, persistent=False)  # (places, 2) px
        self.register_buffer("columns", torch.arange(width).float(), persistent=False)
        self.register_buffer("rows", torch.arange(height).float(), persistent=False)

    def shape(self, lips: Tensor) -> MouthShape:
        """The maps of the mouth for lip points (B, 40, 2) px; no gradient flows back to the points."""
        with torch.autocast(lips.device.type, enabled=False):
            lips = lips.detach().float()
            top, bottom = (self._outline(lips[:, outline]) for outline in (INNER_UPPER, INNER_LOWER))  # (B, W)
            left, right = lips[:, INNER_UPPER[0], :1], lips[:, INNER_UPPER[-1], :1]
            aside = (left - self.columns).clamp(min=0) + (self.columns - right).clamp(min=0)
            below, above = self.rows[:, None] - top[:, None], bottom[:, None] - self.rows[:, None]  # (B, H, W)
            within = torch.minimum(torch.minimum(below, above), -aside[:, None] + 1)
            half = ((bottom - top).clamp(min=0) / 2).clamp(min=SEAM) + SIDE_SLOPE * aside
            lower = (0.5 + (below - above) / (4 * half[:, None])).clamp(0, 1)
            maps = (within + 0.5).clamp(0, 1), (within / EDGE + 1).clamp(0, 1), below, above, lower
            return MouthShape(*(one[:, None] for one in maps))

    def forward(
        self, lips: Tensor, moves: Tensor, weights: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, MouthShape]:
        """
        Args:
            lips: (B, 40, 2) px, where the photo has its lips.
            moves: (B, 40, 2) px, displacement of each point.
            weights: of the points of the upper and of the lower lip in their fields, (B, N, 2) each, where they are
                known, as from `talkface.model.lip_field.field_weights`; None computes them.

        Returns:
            flow (B, 2, H, W) px, frame(p) = photo(p + flow(p)), and the mouth after the move. The flow passes gradients
            to `moves`, but not through the final positions of the points.
        """
        with torch.autocast(lips.device.type, enabled=False):
            lips, moves = lips.float(), moves.float()
            moved = (lips + moves).detach()
            if weights is None:
                weights = _weights(moved[:, UPPER], -moves[:, UPPER]), _weights(moved[:, LOWER], -moves[:, LOWER])
            upper, lower = (self._field(moved[:, lip], w) for lip, w in zip((UPPER, LOWER), weights, strict=True))
            shape = self.shape(moved)
            return upper + shape.lower_share * (lower - upper), shape

    def _field(self, at: Tensor, weights: Tensor) -> Tensor:
        """The sum of the kernels at these points (B, N, 2) with these weights (B, N, 2): (B, 2, H, W)."""
        size = len(self.rows) // STEP, len(self.columns) // STEP
        field = (_kernel(self.places.expand(len(at), -1, -1), at) @ weights).transpose(1, 2)
        return F.interpolate(field.unflatten(2, size), scale_factor=STEP, mode="bilinear")

    def _outline(self, points: Tensor) -> Tensor:
        """Height of an outline (B, N, 2) at each column, (B, W) px."""
        near = -((self.columns[None, :, None] - points[:, None, :, 0]) ** 2) / (2 * COLUMN**2)
        return (near.softmax(2) @ points[:, :, 1:])[..., 0]


def _weights(at: Tensor, values: Tensor) -> Tensor:
    """Weights (B, N, 2) with which the kernels at these points (B, N, 2) add up to these values (B, N, 2)."""
    system = _kernel(at, at) + RIDGE * torch.eye(at.shape[1], device=at.device)
    return torch.linalg.solve_ex(system, values).result  # unlike solve, it gives NaN for NaN and does not raise


def _kernel(at: Tensor, points: Tensor) -> Tensor:
    """Gaussian kernel between places (B, P, 2) and points (B, N, 2), (B, P, N)."""
    squares = (at**2).sum(2)[:, :, None] + (points**2).sum(2)[:, None] - 2 * at @ points.transpose(1, 2)
    return torch.exp(-squares.clamp(min=0) / (2 * REACH**2))


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """picture(p + flow(p)) with bilinear sampling; pixels outside take the border's colour.

    Args:
        picture: (B, C, H, W).
        flow: (B, 2, H, W) px, or (B, 2, 1, 1) for a shift.
    """
    height, width = picture.shape[-2:]
    line_x, line_y = ((torch.arange(size, device=picture.device) + 0.5) * (2 / size) - 1 for size in (width, height))
    grid_x, grid_y = torch.meshgrid(line_x, line_y, indexing="xy")
    where = torch.stack([grid_x + flow[:, 0] * (2 / width), grid_y + flow[:, 1] * (2 / height)], -1)
    if where.shape[0] != picture.shape[0]:
        where = where.expand(len(picture), -1, -1, -1)
    return F.grid_sample(picture, where.to(picture.dtype), mode="bilinear", padding_mode="border", align_corners=False)
