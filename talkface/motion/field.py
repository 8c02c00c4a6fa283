"""Where the pixels of a photo go when its head turns a little and its brows rise: linear fields on a coarse grid.

A point of the head at depth Z towards the viewer moves by yaw * Z to the side and by pitch * Z down; roll turns the
picture about the neck. Depth is the mesh's inside the face's outline; from there it falls to 0, the depth of the axis
through the ears, at the outline of the head with its hair, so that this outline stays. Around the head the movement
fades out: pixels farther than half the width of the face from the head, and pixels at the photo's edges, do not move.

Angles are degrees as the viewer sees them: positive yaw turns the nose to the image's right, positive pitch turns it
down, positive roll turns the head clockwise.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from talkface.face.outline import OVAL
from talkface.motion.geometry import (
    BROWS_LOWER,
    BROWS_UPPER,
    CHIN,
    EARS,
    UPPER_LIDS,
    Axes,
    face_axes,
    face_width,
    head_size,
    smoothstep,
)

CELLS = 48  # cells of the coarse grid over the distance between the ears
MIN_CELL = 3.0  # px
DEPTH_KERNEL = 0.05  # of the head's size: standard deviation of the kernel that smooths the mesh's depth
AXIS_DEPTH = 0.06  # of the head's size, from the outline points beside the ears to the axis of rotation
# The outline of the head over that of the face, as factors on the distance from the face's middle.
SIDES, HAIR, NECK = 1.15, 1.45, 1.6
FADE = 0.43  # of the face's width: from the outline of the head to where nothing moves
EDGE = 0.3  # of the head's size: from the photo's edge to where it no longer holds the movement back
PIVOT = 0.3  # of the head's size: from the chin down to the point about which roll turns the picture
BROW_RISE = 0.035  # of the head's size: how far brows rise at most
BROW_ABOVE = 0.16  # of the head's size: how far above the brows the skin moves with them
BROW_BESIDE = 0.08  # of the head's size: how far beside them


class HeadPose(NamedTuple):
    """How far the head has turned from the photo's own pose, and how far the brows have risen."""

    yaw: float = 0.0
    """Degrees."""
    pitch: float = 0.0
    """Degrees."""
    roll: float = 0.0
    """Degrees."""
    brows: float = 0.0
    """In [0, 1]."""


class MotionField:
    """The movement of one head in one photo.

    Args:
        mesh: float32 (468, 3), px of the photo; z grows away from the viewer.
        width: of the photo, px.
        height: of the photo, px.
    """

    def __init__(self, mesh: np.ndarray, width: int, height: int) -> None:
        size, axes = head_size(mesh), face_axes(mesh)
        outline = head_outline(mesh)
        reach = FADE * face_width(mesh)
        low = np.clip(np.floor(outline.min(0) - reach), 0, (width - 1, height - 1)).astype(int)
        high = np.clip(np.ceil(outline.max(0) + reach) + 1, low + 1, (width, height)).astype(int)
        self.columns, self.rows = slice(low[0], high[0]), slice(low[1], high[1])
        """The part of the photo that may move."""
        cell = max(MIN_CELL, size / CELLS)
        self.shape = high[1] - low[1], high[0] - low[0]
        coarse = [max(1, round(side / cell)) for side in self.shape]
        ys, xs = (
            start + (np.arange(count) + 0.5) * side / count - 0.5
            for start, count, side in zip((low[1], low[0]), coarse, self.shape, strict=True)
        )
        grid = np.stack(np.meshgrid(xs, ys), 2)  # px of the photo
        steps = np.array(self.shape) / coarse  # px between cells, vertically and horizontally
        outside = _distance_outside(outline, grid, steps)
        weight = 1 - smoothstep(outside / reach)
        to_edge = np.minimum(grid, np.array((width - 1, height - 1)) - grid).min(-1)
        weight *= smoothstep((to_edge - 1.5 * steps.max()) / (EDGE * size))
        self.bases = _bases(mesh, axes, size, grid, steps, outline) * weight[None, ..., None]
        """float64 (4, h, w, 2): displacement in px for a yaw, a pitch and a roll of 1 degree, and for raised brows."""
        self._coarse = self.bases.astype(np.float32)

    def displacement(self, pose: HeadPose) -> np.ndarray:
        """By how much each pixel of the part at `rows` and `columns` has moved: float32 (h, w, 2) px, new."""
        coarse = np.tensordot(np.array(pose, np.float32), self._coarse, 1)
        return cv2.resize(coarse, self.shape[::-1], interpolation=cv2.INTER_LINEAR)

    def largest(self, pose: HeadPose) -> float:
        """The largest displacement in px, at most, of any pixel for angles up to those of `pose`."""
        return float(np.tensordot(np.abs(np.array(pose)), np.abs(self.bases).max((1, 2, 3)), 1))


def head_outline(mesh: np.ndarray) -> np.ndarray:
    """An estimate of the outline of the head with hair and neck, float64 (36, 2) px, from the outline of the face."""
    axes = face_axes(mesh)
    u, v = axes.of(mesh[list(OVAL), :2].astype(np.float64))
    upright = v / np.maximum(np.hypot(u, v), 1e-6)
    factor = SIDES + np.where(v < 0, HAIR - SIDES, NECK - SIDES) * upright**2
    return axes.origin + factor[:, None] * (u[:, None] * axes.along + v[:, None] * axes.across)


def _distance_outside(outline: np.ndarray, grid: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Distance in px from an outline (N, 2) to each grid point outside of it, float64 (h, w); 0 inside."""
    inside = _inside(outline, grid)
    if not inside.any():
        return np.full(grid.shape[:2], np.inf)
    return cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5).astype(np.float64) * steps.min()


def _inside(outline: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Which grid points lie inside an outline, bool (h, w)."""
    step = (grid[-1, -1] - grid[0, 0]) / np.maximum(np.array(grid.shape[1::-1]) - 1, 1)
    filled = np.zeros(grid.shape[:2], np.uint8)
    cells = (outline - grid[0, 0]) / np.maximum(step, 1e-6)
    cv2.fillPoly(filled, [np.round(cells * 16).astype(np.int32)], 1, shift=4)
    return filled > 0


def _bases(
    mesh: np.ndarray, axes: Axes, size: float, grid: np.ndarray, steps: np.ndarray, outline: np.ndarray
) -> np.ndarray:
    """Displacement for each component of a pose, (4, h, w, 2) px, before it fades out around the head."""
    depth = _depth(mesh, size, grid, steps, outline)[..., None]
    pivot = mesh[CHIN, :2] + PIVOT * size * axes.across
    from_pivot = grid - pivot
    turned = np.stack((-from_pivot[..., 1], from_pivot[..., 0]), 2)
    degree = np.pi / 180
    brows = -BROW_RISE * size * _brows(mesh, axes, size, grid)[..., None] * axes.across
    return np.stack((degree * depth * axes.along, degree * depth * axes.across, degree * turned, brows))


def _depth(mesh: np.ndarray, size: float, grid: np.ndarray, steps: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Depth in front of the axis of rotation, (h, w) px: of the mesh inside the face, 0 at the head's outline."""
    apart = ((grid[:, :, None] - mesh[None, None, :, :2]) ** 2).sum(-1) / (2 * (DEPTH_KERNEL * size) ** 2)
    weights = np.exp(apart.min(-1, keepdims=True) - apart)
    nearness = mesh[list(EARS), 2].mean() + AXIS_DEPTH * size - mesh[:, 2]
    depth = weights @ nearness / weights.sum(-1)
    from_face = _distance_outside(mesh[list(OVAL), :2].astype(np.float64), grid, steps)
    inside_head = cv2.distanceTransform(_inside(outline, grid).astype(np.uint8), cv2.DIST_L2, 5) * steps.min()
    share = np.where(from_face > 0, from_face / np.maximum(from_face + inside_head, 1e-6), 0)
    return depth * (1 - smoothstep(share))


def _brows(mesh: np.ndarray, axes: Axes, size: float, grid: np.ndarray) -> np.ndarray:
    """How far the skin follows the brows, (h, w) in [0, 1]: 1 on them, 0 from the upper lids down."""
    u, v = axes.of(grid)
    raised = np.zeros(u.shape)
    for upper, lower, lid in zip(BROWS_UPPER, BROWS_LOWER, UPPER_LIDS, strict=True):
        line_u, line_v = axes.of((mesh[list(upper), :2] + mesh[list(lower), :2]).astype(np.float64) / 2)
        order = np.argsort(line_u)
        line_u, line_v = line_u[order], line_v[order]
        gap = float(axes.of(mesh[list(lid), :2].astype(np.float64))[1].min() - line_v.mean())
        below = v - np.interp(u, line_u, line_v)
        spread = np.where(below < 0, BROW_ABOVE * size, max(gap, 1.0) / 2)
        beside = np.maximum(np.maximum(line_u[0] - u, u - line_u[-1]), 0)
        raised = np.maximum(raised, np.exp(-((below / spread) ** 2) - (beside / (BROW_BESIDE * size)) ** 2))
    return raised
