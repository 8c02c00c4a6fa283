"""Strips: frames of several videos of the same speech, one video per row, as in the paper's Fig. 5 and 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

LABEL_WIDTH = 130  # px at the left, for the names of the rows
TIME_HEIGHT = 26  # px at the top, for the times of the columns
GAP = 4  # px after each frame
FONT_SIZE = 16


def draw_strip(rows: Mapping[str, Sequence[np.ndarray]], seconds: Sequence[float], side: int = 256) -> np.ndarray:
    """Draw one row of frames per video under the times of the frames.

    Args:
        rows: for each row its name and its frames, uint8 RGB (H, H, 3), one for each of `seconds`.
        seconds: the time of each column.
        side: px of a frame in the picture; frames of another size are resized.

    Returns:
        uint8 RGB (TIME_HEIGHT + rows * (side + GAP), LABEL_WIDTH + columns * (side + GAP), 3) on white.
    """
    step = side + GAP
    sheet = Image.new("RGB", (LABEL_WIDTH + len(seconds) * step, TIME_HEIGHT + len(rows) * step), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_SIZE)
    for column, second in enumerate(seconds):
        draw.text((LABEL_WIDTH + column * step, 4), f"{second:.2f} s", "black", font)
    for row, (name, frames) in enumerate(rows.items()):
        top = TIME_HEIGHT + row * step
        draw.text((4, top + side // 2 - 10), name.replace("_", " ").replace("/", "\n"), "black", font)
        for column, (frame, _) in enumerate(zip(frames, seconds, strict=True)):
            sheet.paste(Image.fromarray(_resized(frame, side)), (LABEL_WIDTH + column * step, top))
    return np.asarray(sheet)


def _resized(frame: np.ndarray, side: int) -> np.ndarray:
    if frame.shape[:2] == (side, side):
        return frame
    return cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA)
