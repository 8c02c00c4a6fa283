"""Paste-back: composites generated faces into the photo at the photo's own resolution.

The generator produces a colour, a mask and a flow in a window of the aligned face. The result in that window is

    mask * colour + (1 - mask) * (photo warped by the flow)

The original photo is warped, not its aligned copy, so skin and beard stay sharp. Only the pixels that the mask selects
(teeth, the inside of the mouth) have the resolution of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from talkface.face import align


class _Region(NamedTuple):
    """The part of the photo that a window covers, its mapping to the window, and buffers."""

    rows: slice
    columns: slice
    to_window: np.ndarray  # float64 (2, 3): pixels of the region to pixels of the (shrunk) window
    side: int  # px, side of the window after shrinking; it is shrunk if its pixels are finer than the photo's
    grid: np.ndarray  # float32 (h, w, 2): coordinates (x, y) of each pixel in the photo
    # Buffers, reused for all frames, because allocating them takes as long as filling them:
    source: np.ndarray  # float32 (h, w, 2): where in the photo each pixel of the result is sampled
    colour: np.ndarray  # float32 (h, w, 4): mask * colour, in [0, 255]
    keep: np.ndarray  # float32 (h, w, 4): 1 - mask
    warped: np.ndarray  # uint8 (h, w, 4)
    face: np.ndarray  # float32 (h, w, 4)


class Paster:
    """Pastes generated frames into one photo.

    Args:
        photo: uint8 RGB (H, W, 3). It is not modified.
        M: float64 (2, 3), pixels of the photo to pixels of the aligned face (see `talkface.face.align`).
    """

    def __init__(self, photo: np.ndarray, M: np.ndarray) -> None:
        self.photo = np.ascontiguousarray(photo)
        self._photo_rgba = cv2.cvtColor(
            self.photo, cv2.COLOR_RGB2RGBA
        )  # OpenCV is faster with four channels than three
        self.M = np.asarray(M, np.float64)
        self._regions: dict[tuple[float, float, float, int], _Region] = {}

    def paste(
        self, colour: np.ndarray, mask: np.ndarray, flow: np.ndarray, window: tuple[float, float, float]
    ) -> np.ndarray:
        """Composite one generated face into the photo.

        Args:
            colour: float32 (3, S, S), RGB in [0, 1].
            mask: float32 (S, S) in [0, 1]: 1 selects the colour, 0 the warped photo.
            flow: float32 (2, S, S), x and y in pixels of the aligned face: the pixel at p shows the photo at
                p + flow(p). Mask and flow should fall to 0 towards the window's edge; outside they count as 0.
            window: x, y, side of the window in pixels of the aligned face; its first pixel is the aligned pixel (x, y).
                S may differ from the side: the window's pixels are then finer or coarser than the aligned face's.

        Returns:
            uint8 RGB (H, W, 3), a new array; pixels outside the window are those of the photo.
        """
        key = (*window, mask.shape[-1])
        region = self._regions.get(key)
        if region is None:
            region = self._regions[key] = self._make_region(*key)
        result = self.photo.copy()
        if region.grid.size:
            result[region.rows, region.columns] = self._composite(region, colour, mask, flow)
        return result

    def _composite(self, region: _Region, colour: np.ndarray, mask: np.ndarray, flow: np.ndarray) -> np.ndarray:
        """Return the pixels of the region, uint8 (h, w, 3)."""
        to_photo = np.linalg.inv(self.M[:, :2]).astype(np.float32)
        flow = np.tensordot(to_photo, flow, 1)  # photo pixels
        masked = colour * (np.float32(255) * mask)
        _resample(list(flow), region, region.source)
        _resample([*masked, np.zeros_like(mask)], region, region.colour)
        _resample([1 - mask] * 4, region, region.keep, outside=1.0)
        cv2.add(region.grid, region.source, dst=region.source)
        cv2.remap(  # type: ignore[call-overload]  # OpenCV's stubs demand map2, which a two-channel map does not need
            self._photo_rgba,
            region.source,
            None,
            cv2.INTER_CUBIC,
            region.warped,
            borderMode=cv2.BORDER_REPLICATE,
        )
        cv2.multiply(region.warped, region.keep, dst=region.face, dtype=cv2.CV_32F)
        cv2.add(region.face, region.colour, dst=region.face)
        return cv2.convertScaleAbs(region.face, dst=region.warped)[:, :, :3]  # rounds and clips

    def _make_region(self, x: float, y: float, side: float, pixels: int) -> _Region:
        """Map a window at (x, y) with `pixels` x `pixels` samples to the photo and clip it at the photo's edges."""
        height, width = self.photo.shape[:2]
        ends = np.array((-0.5, side - 0.5))
        corners = np.array([(x + right, y + below) for right in ends for below in ends])
        corners = align.apply(align.invert(self.M), corners)
        left, top = np.clip(np.floor(corners.min(0)), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(corners.max(0)) + 1, 0, (width, height)).astype(int)
        # A window whose pixels are finer than the photo's is averaged down first, which prevents aliasing.
        shrunk = min(pixels, max(1, round(side / align.scale(self.M))))
        density = shrunk / side
        linear = self.M[:, :2] * density
        shift = ((self.M @ (left, top, 1) - (x, y)) + 0.5) * density - 0.5
        grid = np.stack(np.meshgrid(np.arange(left, right), np.arange(top, bottom)), 2).astype(np.float32)
        to_window = np.column_stack((linear, shift))
        source, colour, keep, face = (np.empty((*grid.shape[:2], channels), np.float32) for channels in (2, 4, 4, 4))
        warped = np.empty((*grid.shape[:2], 4), np.uint8)
        part = slice(top, bottom), slice(left, right)
        return _Region(*part, to_window, shrunk, grid, source, colour, keep, warped, face)


def _resample(channels: Sequence[np.ndarray], region: _Region, out: np.ndarray, outside: float = 0.0) -> None:
    """Resample channels (S, S) of the window to the region's pixels: `out`, float32 (h, w, channels)."""
    window = cv2.merge([np.ascontiguousarray(channel, np.float32) for channel in channels])
    if region.side != window.shape[0]:
        window = cv2.resize(window, (region.side, region.side), interpolation=cv2.INTER_AREA)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(window, region.to_window, out.shape[1::-1], out, flags, cv2.BORDER_CONSTANT, [outside] * 4)
