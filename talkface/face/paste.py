"""Putting a speaking face back into the photo it came from, at the photo's own resolution.

The decoder gives colour, mask and flow on a window of the aligned frame; the result there is

    mask * colour + (1 - mask) * photo warped by flow

The photo is warped as it is, not as the network saw it, so that skin and beard keep their sharpness; only what the
photo cannot show (teeth, the inside of the mouth) has the network's resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from talkface.face import align


class _Region(NamedTuple):
    """The part of the photo under a window, and how it maps to the window's pixels."""

    rows: slice
    columns: slice
    to_window: np.ndarray  # float64 (2, 3): pixels of the part to pixels of the (shrunk) window
    side: int  # pixels to which the window is shrunk where the photo is coarser than it
    grid: np.ndarray  # float32 (h, w, 2): each pixel's place (x, y) in the photo
    # Written anew for every frame, since to allocate them costs as much as to fill them:
    places: np.ndarray  # float32 (h, w, 2)
    paint: np.ndarray  # float32 (h, w, 4)
    mask: np.ndarray  # float32 (h, w, 4)
    warped: np.ndarray  # uint8 (h, w, 4)
    face: np.ndarray  # float32 (h, w, 4)


class Paster:
    """Pastes frame after frame into one photo.

    Args:
        photo: uint8 RGB (H, W, 3). It is never written to.
        M: float64 (2, 3), pixels of the photo to pixels of the aligned frame (see `talkface.face.align`).
    """

    def __init__(self, photo: np.ndarray, M: np.ndarray) -> None:
        self.photo = np.ascontiguousarray(photo)
        self._four_planes = cv2.cvtColor(self.photo, cv2.COLOR_RGB2RGBA)  # OpenCV is faster with four than with three
        self.M = np.asarray(M, np.float64)
        self._regions: dict[tuple[float, float, float, int], _Region] = {}

    def paste(
        self, colour: np.ndarray, mask: np.ndarray, flow: np.ndarray, window: tuple[float, float, float]
    ) -> np.ndarray:
        """The photo with this frame's face in it.

        Args:
            colour: float32 (3, S, S), RGB in [0, 1].
            mask: float32 (S, S) in [0, 1]: 1 where the colour stands, 0 where the warped photo does.
            flow: float32 (2, S, S), x and y in aligned pixels: the pixel at p shows the photo at p + flow(p). Mask and
                flow should fall to 0 towards the window's edge; outside they are taken to be 0.
            window: x, y, side of the window in aligned pixels; its first pixel is the aligned frame's pixel (x, y).
                S may be another number than its side: then the window's pixels are finer or coarser than the frame's.

        Returns:
            uint8 RGB (H, W, 3), a new array; pixels outside the window are the photo's own.
        """
        key = (*window, mask.shape[-1])
        region = self._regions.get(key)
        if region is None:
            region = self._regions[key] = self._region(*key)
        result = self.photo.copy()
        if region.grid.size:
            result[region.rows, region.columns] = self._face(region, colour, mask, flow)
        return result

    def _face(self, region: _Region, colour: np.ndarray, mask: np.ndarray, flow: np.ndarray) -> np.ndarray:
        """The pixels of the region, uint8 (h, w, 3)."""
        to_photo = np.linalg.inv(self.M[:, :2]).astype(np.float32)
        flow = np.tensordot(to_photo, flow, 1)  # photo pixels
        painted = colour * (np.float32(255) * mask)
        _spread(flow, region, region.places)
        _spread((*painted, np.zeros_like(mask)), region, region.paint)
        _spread([1 - mask] * 4, region, region.mask, outside=1.0)
        cv2.add(region.grid, region.places, dst=region.places)
        cv2.remap(
            self._four_planes, region.places, None, cv2.INTER_CUBIC, region.warped, borderMode=cv2.BORDER_REPLICATE
        )
        cv2.multiply(region.warped, region.mask, dst=region.face, dtype=cv2.CV_32F)
        cv2.add(region.face, region.paint, dst=region.face)
        return cv2.convertScaleAbs(region.face, dst=region.warped)[:, :, :3]  # rounds and clips

    def _region(self, x: float, y: float, side: float, pixels: int) -> _Region:
        """The part of the photo under the window, cut at the photo's edges."""
        height, width = self.photo.shape[:2]
        ends = np.array((-0.5, side - 0.5))
        corners = np.array([(x + right, y + below) for right in ends for below in ends])
        corners = align.apply(align.invert(self.M), corners)
        left, top = np.clip(np.floor(corners.min(0)), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(corners.max(0)) + 1, 0, (width, height)).astype(int)
        # Where the photo's pixels are larger than the window's, these are averaged first, so that nothing aliases.
        shrunk = min(pixels, max(1, round(side / align.scale(self.M))))
        fine = shrunk / side
        linear = self.M[:, :2] * fine
        shift = ((self.M @ (left, top, 1) - (x, y)) + 0.5) * fine - 0.5
        grid = np.stack(np.meshgrid(np.arange(left, right), np.arange(top, bottom)), 2).astype(np.float32)
        to_window = np.column_stack((linear, shift))
        float_planes = [np.empty((*grid.shape[:2], planes), np.float32) for planes in (2, 4, 4, 4)]
        places, paint, mask, face = float_planes
        warped = np.empty((*grid.shape[:2], 4), np.uint8)
        part = slice(top, bottom), slice(left, right)
        return _Region(*part, to_window, shrunk, grid, places, paint, mask, warped, face)


def _spread(planes: Sequence[np.ndarray], region: _Region, onto: np.ndarray, outside: float = 0.0) -> None:
    """Planes (S, S) of the window onto the region's pixels, float32 (h, w, planes)."""
    window = cv2.merge([np.ascontiguousarray(plane, np.float32) for plane in planes])
    if region.side != window.shape[0]:
        window = cv2.resize(window, (region.side, region.side), interpolation=cv2.INTER_AREA)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(window, region.to_window, onto.shape[1::-1], onto, flags, cv2.BORDER_CONSTANT, [outside] * 4)
