"""Paste-back: composites generated faces into the photo at the photo's own resolution.

The generator produces a flow on a region of the aligned face, and paint, mixture weights and a mask on a crop around
the mouth. The result is

    mask * (paint, skull copy and jaw copy mixed) + (1 - mask) * (photo warped by the flow)

The original photo is warped and copied, not its aligned copy, so skin, beard and the photo's own teeth stay sharp. Only
paint has the resolution of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from talkface.face import align
from talkface.face.teeth import TeethLayer, lay_teeth, lip_depth

SMALLEST_SHARE = 0.02  # of a copy in the colour, below which it is left out


class PastedFrame(Protocol):
    """One frame of the generator; see `talkface.model.inference.OutputFrame`."""

    @property
    def paint(self) -> np.ndarray:
        """float32 (3, H, W) in [0, 1], on the crop at `corner`."""

    @property
    def weights(self) -> np.ndarray:
        """float32 (3, H, W): shares of paint, skull copy and jaw copy in the colour."""

    @property
    def copy_flow(self) -> np.ndarray:
        """float32 (4, H, W) px: flows of the two copies."""

    @property
    def mask(self) -> np.ndarray:
        """float32 (H, W) in [0, 1]: where the colour replaces the carried photo."""

    @property
    def flow(self) -> np.ndarray:
        """float32 (2, h, w) px on `region`: the pixel at p shows the photo at p + flow(p)."""

    @property
    def region(self) -> tuple[int, int, int, int]:
        """x, y, width, height in px of the aligned face."""

    @property
    def corner(self) -> tuple[int, int]:
        """x, y of the crop's first pixel in the aligned face."""


class Region(NamedTuple):
    """The part of the photo that a window covers, its mapping to the window, and buffers."""

    rows: slice
    columns: slice
    to_window: np.ndarray  # float64 (2, 3): pixels of the region to pixels of the (shrunk) window
    size: tuple[int, int]  # px, width and height of the window, shrunk if its pixels are finer than the photo's
    grid: np.ndarray  # float32 (h, w, 2): coordinates (x, y) of each pixel in the photo
    # Buffers, reused for all frames, because allocating them takes as long as filling them:
    source: np.ndarray  # float32 (h, w, 2): where in the photo each pixel of the result is sampled
    colour: np.ndarray  # float32 (h, w, 4): mask * colour, in [0, 255]
    keep: np.ndarray  # float32 (h, w, 4): 1 - mask
    warped: np.ndarray  # uint8 (h, w, 4)
    face: np.ndarray  # float32 (h, w, 4)
    at: np.ndarray | None = None  # float32 (h, w, 2): pixels of the window, if `to_window` of `grid` is not affine


class Paster:
    """Pastes generated frames into one photo.

    Args:
        photo: uint8 RGB (H, W, 3). It is not modified.
        M: float64 (2, 3), pixels of the photo to pixels of the aligned face (see `talkface.face.align`).
        teeth: of `talkface.face.teeth.teeth_layer`; None leaves the teeth to the generator.
    """

    def __init__(self, photo: np.ndarray, M: np.ndarray, teeth: TeethLayer | None = None) -> None:
        self.photo = np.ascontiguousarray(photo)
        # OpenCV is faster with four channels than with three.
        self._photo_rgba = cv2.cvtColor(self.photo, cv2.COLOR_RGB2RGBA)
        self.M = np.asarray(M, np.float64)
        self.teeth = teeth
        self._bare = teeth.bare if teeth else 0.0
        self._regions: dict[tuple[int, int, int, int], Region] = {}

    def paste_frame(self, frame: PastedFrame) -> np.ndarray:
        """Composite one frame of the generator into the photo.

        Paint has the resolution of the network. The copies of the photo (its own teeth) are repeated at the photo's
        resolution.

        Args:
            frame: of `talkface.model.inference`.

        Returns:
            uint8 RGB (H, W, 3), a new array; pixels that the frame does not move or paint are those of the photo.
        """
        x, y, width, height = frame.region
        result = self.photo.copy()
        region = self._region((x, y, width, height))
        if not region.grid.size:
            return result
        target = result[region.rows, region.columns]
        resample(list(self._photo_flow(frame.flow)), region, region.source)
        cv2.add(region.grid, region.source, dst=region.source)
        carried = self._sample(region)
        target[:] = carried[:, :, :3]
        self.paint(result, frame)
        return result

    def paint(self, picture: np.ndarray, frame: PastedFrame) -> None:
        """Paint what a frame has between the lips into a picture, in place, with copies of the photo.

        Args:
            picture: uint8 RGB (H, W, 3), as large as the photo.
            frame: of `talkface.model.inference`.
        """
        crop = self._region((*frame.corner, frame.mask.shape[1], frame.mask.shape[0]))
        if crop.grid.size and frame.mask.any():
            self._paint(picture[crop.rows, crop.columns], crop, frame)

    def _paint(self, target: np.ndarray, crop: Region, frame: PastedFrame) -> None:
        """Replace the painted area of the carried photo, in place."""
        mask = np.clip((frame.mask - self._bare) / (1 - self._bare), 0, 1)
        shares = mask * frame.weights
        resample([*(frame.paint * (np.float32(255) * shares[0])), np.zeros_like(mask)], crop, crop.colour)
        resample([1 - mask] * 4, crop, crop.keep, outside=1.0)
        total = crop.colour
        for share, flow in zip(shares[1:], np.split(frame.copy_flow, 2), strict=True):
            if share.max() < SMALLEST_SHARE:
                continue
            resample(list(self._photo_flow(flow)), crop, crop.source)
            cv2.add(crop.grid, crop.source, dst=crop.source)
            copied = self._sample(crop)
            resample([share] * 4, crop, crop.face)
            total = cv2.add(total, cv2.multiply(copied, crop.face, dtype=cv2.CV_32F))
        if self.teeth is not None:
            total = self._with_teeth(self.teeth, total, crop, mask)
        kept = cv2.multiply(cv2.cvtColor(target, cv2.COLOR_RGB2RGBA), crop.keep, dtype=cv2.CV_32F)
        target[:] = cv2.convertScaleAbs(cv2.add(kept, total))[:, :, :3]

    @staticmethod
    def _with_teeth(teeth: TeethLayer, total: np.ndarray, crop: Region, mask: np.ndarray) -> np.ndarray:
        """The colour of the painted area, float32 (h, w, 4), with the layer of teeth over it."""
        layer = resample_fine(teeth.picture, crop, teeth.density)
        resample([lip_depth(mask)] * 4, crop, crop.face)
        return lay_teeth(total, 1 - crop.keep, layer, crop.face, teeth)

    def _photo_flow(self, flow: np.ndarray) -> np.ndarray:
        """A flow (2, h, w) in pixels of the aligned face, in pixels of the photo."""
        return np.tensordot(np.linalg.inv(self.M[:, :2]).astype(np.float32), flow, 1)

    def _sample(self, region: Region) -> np.ndarray:
        """The photo at `region.source`, uint8 (h, w, 4)."""
        cv2.remap(  # type: ignore[call-overload]  # OpenCV's stubs demand map2, which a two-channel map does not need
            self._photo_rgba,
            region.source,
            None,
            cv2.INTER_CUBIC,
            region.warped,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return region.warped

    def _region(self, window: tuple[int, int, int, int]) -> Region:
        """The region of a window x, y, width, height in pixels of the aligned face."""
        if window not in self._regions:
            self._regions[window] = self._make_region(*window)
        return self._regions[window]

    def _make_region(self, x: int, y: int, wide: int, high: int) -> Region:
        """Map a window of the aligned face to the photo and clip it at the photo's edges."""
        height, width = self.photo.shape[:2]
        corners = np.array([(x + right, y + below) for right in (-0.5, wide - 0.5) for below in (-0.5, high - 0.5)])
        corners = align.apply(align.invert(self.M), corners)
        left, top = np.clip(np.floor(corners.min(0)), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(corners.max(0)) + 1, 0, (width, height)).astype(int)
        # A window whose pixels are finer than the photo's is averaged down first, which prevents aliasing.
        scale = align.scale(self.M)
        columns, rows = (min(side, max(1, round(side / scale))) for side in (wide, high))
        density = np.array([columns / wide, rows / high])
        linear = self.M[:, :2] * density[:, None]
        shift = ((self.M @ (left, top, 1) - (x, y)) + 0.5) * density - 0.5
        grid = np.stack(np.meshgrid(np.arange(left, right), np.arange(top, bottom)), 2).astype(np.float32)
        to_window = np.column_stack((linear, shift))
        return self._with_buffers(slice(top, bottom), slice(left, right), to_window, (columns, rows), grid)

    def _with_buffers(
        self,
        rows: slice,
        columns: slice,
        to_window: np.ndarray,
        size: tuple[int, int],
        grid: np.ndarray,
        at: np.ndarray | None = None,
    ) -> Region:
        """A region with its buffers."""
        source, colour, keep, face = (np.empty((*grid.shape[:2], channels), np.float32) for channels in (2, 4, 4, 4))
        warped = np.empty((*grid.shape[:2], 4), np.uint8)
        return Region(rows, columns, to_window, size, grid, source, colour, keep, warped, face, at)


def resample_fine(picture: np.ndarray, region: Region, density: int) -> np.ndarray:
    """A picture (density * H, density * W, 4) on the window at the region's pixels: float32 (h, w, 4), 0 outside."""
    if region.at is not None:
        at = region.at * density + np.float32((density - 1) / 2)
        return cv2.remap(picture, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)  # type: ignore[call-overload]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    matrix = align.resized(region.to_window, density)
    return cv2.warpAffine(picture, matrix, region.grid.shape[1::-1], flags=flags, borderMode=cv2.BORDER_CONSTANT)


def resample(channels: Sequence[np.ndarray], region: Region, out: np.ndarray, outside: float = 0.0) -> None:
    """Resample channels (h, w) of the window to the region's pixels: `out`, float32 (h, w, channels)."""
    window = cv2.merge([np.ascontiguousarray(channel, np.float32) for channel in channels])
    if region.size != window.shape[1::-1]:
        window = cv2.resize(window, region.size, interpolation=cv2.INTER_AREA)
    if region.at is not None:
        border = cv2.BORDER_CONSTANT
        cv2.remap(window, region.at, None, cv2.INTER_LINEAR, out, border, [outside] * 4)  # type: ignore[call-overload]
        return
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(window, region.to_window, out.shape[1::-1], out, flags, cv2.BORDER_CONSTANT, [outside] * 4)
