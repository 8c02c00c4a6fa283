"""Paste-back into a photo whose head moves and whose lids close.

Each pixel of the video is traced back through the turn of the head to the place in the photo's own pose, and from there
through the displacement of the lips and of the lids. The photo is sampled once, where that path ends.
"""

from __future__ import annotations

import cv2
import numpy as np

from talkface.face.paste import PastedFrame, Paster, Region, resample
from talkface.face.teeth import TeethLayer
from talkface.motion.field import MotionField
from talkface.motion.lids import Eye
from talkface.motion.schedule import Pose

STILL = 0.01  # px; a smaller displacement of all pixels is none


class LivingPaster(Paster):
    """Pastes generated frames into one photo that moves.

    Args:
        photo: uint8 RGB (H, W, 3). It is not modified.
        M: float64 (2, 3), pixels of the photo to pixels of the aligned face.
        field: of the head.
        eyes: that blink.
        teeth: of `talkface.face.teeth.teeth_layer`, or None.
    """

    def __init__(
        self,
        photo: np.ndarray,
        M: np.ndarray,
        field: MotionField,
        eyes: list[Eye],
        teeth: TeethLayer | None = None,
    ) -> None:
        super().__init__(photo, M, teeth)
        self.field, self.eyes = field, eyes
        rows, columns = field.rows, field.columns
        self._grid = _pixels(rows, columns)
        self._result = np.empty((*self._grid.shape[:2], 3), np.uint8)

    def paste_pose(self, frame: PastedFrame, pose: Pose) -> np.ndarray:
        """Composite one frame of the generator into the photo in this pose.

        Args:
            frame: of `talkface.model.inference`.
            pose: of `talkface.motion.schedule`.

        Returns:
            uint8 RGB (H, W, 3), a new array. Without movement it is that of `paste_frame`, pixel for pixel.
        """
        bound = self.field.largest(pose.head)
        if bound < STILL:
            result = self.paste_frame(frame)
            if pose.closed:
                self._blink(result, pose.closed, None, bound)
            return result
        result = self.photo.copy()
        places = cv2.subtract(self._grid, self.field.displacement(pose.head))
        lips = self._moved(frame.region, places, bound)
        crop = self._moved((*frame.corner, frame.mask.shape[1], frame.mask.shape[0]), places, bound)
        sources = places
        if lips is not None:
            sources = places.copy()
            flow = np.empty(lips.grid.shape, np.float32)
            resample(list(self._photo_flow(frame.flow)), lips, flow)
            sources[self._part(lips)] = lips.grid + flow
        target = result[self.field.rows, self.field.columns]
        cv2.remap(self.photo, sources, None, cv2.INTER_CUBIC, self._result, cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        target[:] = self._result
        if pose.closed:
            self._blink(result, pose.closed, places, bound)
        if crop is not None and frame.mask.any():
            self._paint(result[crop.rows, crop.columns], crop, frame)
        return result

    def _blink(self, result: np.ndarray, closed: float, places: np.ndarray | None, bound: float) -> None:
        """Draw the lids, in place; `places` are those of the pixels of the moving part, None if nothing has moved."""
        height, width = self.photo.shape[:2]
        for eye in self.eyes:
            left, top, right, bottom = eye.box
            rows = slice(max(int(top - bound), 0), min(int(bottom + bound) + 2, height))
            columns = slice(max(int(left - bound), 0), min(int(right + bound) + 2, width))
            if places is None:
                at = _pixels(rows, columns)
            else:
                rows, columns = _common(rows, self.field.rows), _common(columns, self.field.columns)
                at = places[_shifted(rows, self.field.rows), _shifted(columns, self.field.columns)]
            if at.size:
                eye.close(result[rows, columns], self.photo, at, closed)

    def _moved(self, window: tuple[int, int, int, int], places: np.ndarray, bound: float) -> Region | None:
        """The region that shows a window x, y, width, height of the aligned face when the head has moved.

        Args:
            window: px of the aligned face.
            places: float32 (h, w, 2), px of the photo, of the pixels of the moving part.
            bound: px, the largest displacement.
        """
        still = self._region(window)
        reach = int(bound) + 1
        rows, columns = (
            _common(slice(side.start - reach, side.stop + reach), limits)
            for side, limits in ((still.rows, self.field.rows), (still.columns, self.field.columns))
        )
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        grid = places[_shifted(rows, self.field.rows), _shifted(columns, self.field.columns)]
        # `to_window` takes pixels of the still region.
        first = np.array((still.columns.start, still.rows.start), np.float32)
        at = cv2.transform(grid - first, still.to_window)
        return self._with_buffers(rows, columns, still.to_window, still.size, grid, at)

    def _part(self, region: Region) -> tuple[slice, slice]:
        return _shifted(region.rows, self.field.rows), _shifted(region.columns, self.field.columns)


def _pixels(rows: slice, columns: slice) -> np.ndarray:
    """Coordinates (x, y) of each pixel, float32 (h, w, 2)."""
    return np.stack(np.meshgrid(np.arange(columns.start, columns.stop), np.arange(rows.start, rows.stop)), 2).astype(
        np.float32
    )


def _common(a: slice, b: slice) -> slice:
    return slice(max(a.start, b.start), max(min(a.stop, b.stop), max(a.start, b.start)))


def _shifted(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)
