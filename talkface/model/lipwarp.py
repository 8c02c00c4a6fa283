"""The warp that carries a photo's lips to where they are wanted; the decoder refines it and paints what it cannot show.

Each lip is moved by radial basis functions through its own points, so that two lips that touch can part and two that
are apart can close; between them the two fields are blended. Far from the lips the field fades to 0.

Shapes: B batch, S side of the window on the aligned face. Lip points are those of `talkface.face.landmarks.LIPS`,
(B, 40, 2), px of the aligned face.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INNER = 20  # where the inner outline begins
LOWER = (*range(11), *range(INNER, INNER + 11))
UPPER = (0, *range(10, 20), INNER, *range(INNER + 10, INNER + 20))
INNER_LOWER = tuple(range(INNER, INNER + 11))  # from the left corner to the right
INNER_UPPER = (INNER, *range(INNER + 19, INNER + 9, -1))

REACH = 16.0  # px, standard deviation of a point's pull
RIDGE = 0.05  # how much of a point's displacement is given up for a smooth field
COLUMN = 2.5  # px, standard deviation of the kernel that draws the inner outlines through their points
SEAM = 0.3  # px, half of the least width over which one lip's field gives way to the other's
AROUND = 3.0  # px over which what may be painted fades out on the lips
OPENING = 0.4  # how much wider that is for each px to the side of the mouth
STEP = 4  # px of the window for each place where the field is worked out; between them it is interpolated


class LipWarp(nn.Module):
    """Backward flow from displaced lip points.

    Args:
        window: x, y, side of the part of the aligned face that is wanted, px; the side divides by 4.
    """

    def __init__(self, window: tuple[int, int, int]) -> None:
        super().__init__()
        left, top, side = window
        coarse, fine = (torch.arange(0, side, step) + (step - 1) / 2 for step in (STEP, 1))
        places = torch.stack(torch.meshgrid(coarse + left, coarse + top, indexing="xy"), -1).flatten(0, 1)
        self.register_buffer("places", places, persistent=False)  # (places, 2) px
        self.register_buffer("columns", fine + left, persistent=False)
        self.register_buffer("rows", fine + top, persistent=False)

    def forward(self, lips: Tensor, moves: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """
        Args:
            lips: (B, 40, 2) px, where the photo has its lips.
            moves: (B, 40, 2) px, how far each point is to be moved.

        Returns:
            flow (B, 2, S, S) px, frame(p) = photo(p + flow(p)), and two maps (B, 1, S, S) in [0, 1]: the mouth, 1
            between the lips, and the same with their inner edge, on which it fades to 0. The flow passes
            gradients to `moves`, but not by way of where the points end up.
        """
        with torch.autocast(lips.device.type, enabled=False):
            lips, moves = lips.float(), moves.float()
            wanted = (lips + moves).detach()
            upper, lower = (self._field(wanted[:, lip], -moves[:, lip]) for lip in (UPPER, LOWER))
            below, within = self._sides(wanted)
            mouth, edged = (within + 0.5).clamp(0, 1), (within / AROUND + 1).clamp(0, 1)
            return upper + below * (lower - upper), mouth, edged

    def _field(self, at: Tensor, values: Tensor) -> Tensor:
        """A smooth field with these values (B, N, 2) at these points (B, N, 2): (B, 2, S, S)."""
        among = _pull(at, at) + RIDGE * torch.eye(at.shape[1], device=at.device)
        weights = torch.linalg.solve_ex(among, values).result  # points that are no numbers give a field of none
        coarse = len(self.rows) // STEP
        field = (_pull(self.places.expand(len(at), -1, -1), at) @ weights).transpose(1, 2)
        return F.interpolate(field.unflatten(2, (coarse, coarse)), scale_factor=STEP, mode="bilinear")

    def _sides(self, lips: Tensor) -> tuple[Tensor, Tensor]:
        """Share of the lower lip's field, and how far in the mouth it is, px, at each px, both (B, 1, S, S)."""
        top, bottom = (self._outline(lips[:, outline]) for outline in (INNER_UPPER, INNER_LOWER))  # (B, S)
        corners = lips[:, INNER_UPPER[0], :1], lips[:, INNER_UPPER[-1], :1]
        aside = (corners[0] - self.columns).clamp(min=0) + (self.columns - corners[1]).clamp(min=0)
        middle, gap = ((top + bottom) / 2)[:, None], (bottom - top).clamp(min=0)
        half = ((gap / 2).clamp(min=SEAM) + OPENING * aside)[:, None]
        below = (0.5 + (self.rows[:, None] - middle) / (2 * half)).clamp(0, 1)
        within = torch.minimum(self.rows[:, None] - top[:, None], bottom[:, None] - self.rows[:, None])
        within = torch.minimum(within, -aside[:, None] + 1)
        return below[:, None], within[:, None]

    def _outline(self, points: Tensor) -> Tensor:
        """Height of an outline (B, N, 2) at each column, (B, S) px."""
        near = -((self.columns[None, :, None] - points[:, None, :, 0]) ** 2) / (2 * COLUMN**2)
        return (near.softmax(2) @ points[:, :, 1:])[..., 0]


def _pull(at: Tensor, points: Tensor) -> Tensor:
    """Gaussian kernel between places (B, P, 2) and points (B, N, 2), (B, P, N)."""
    squares = (at**2).sum(2)[:, :, None] + (points**2).sum(2)[:, None] - 2 * at @ points.transpose(1, 2)
    return torch.exp(-squares.clamp(min=0) / (2 * REACH**2))
