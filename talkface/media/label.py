"""A visible label in a corner of the video, such as "AI-generated"."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from talkface.errors import TalkfaceError

HEIGHT = 0.045  # of the shorter side of the frame: size of the letters
SMALLEST = 9  # px; smaller letters cannot be read
MARGIN = 0.02  # of the shorter side
BOX_OPACITY = 0.55
MISSING = "\uffff"  # no font has a picture of this one


class Label:
    """White text on a dark box in the lower left corner.

    Args:
        text: one line.
        width, height: of the frames, px.

    Raises:
        TalkfaceError: the text is too long for the frame, or the built-in font lacks one of its letters.
    """

    def __init__(self, text: str, width: int, height: int) -> None:
        side = min(width, height)
        margin = max(2, round(MARGIN * side))
        size = max(SMALLEST, HEIGHT * side)
        while (box := self._box(text, size, margin))[2] > width - 2 * margin:
            if size <= SMALLEST:
                raise TalkfaceError(
                    f"--label {text[:40]!r} is too long for a frame {width} pixels wide.", "Give a shorter text."
                )
            size = max(SMALLEST, size * 0.9)
        font, inset, wide, high = box
        picture = Image.new("L", (wide, high), 0)
        ImageDraw.Draw(picture).text((inset, inset), text, fill=255, font=font, anchor="lt")
        letters = np.asarray(picture, np.float32)[:, :, None] / 255
        # out = frame * keep + add: the box darkens the frame, the letters replace it by white.
        self._keep = (1 - BOX_OPACITY) * (1 - letters)
        self._add = 255 * letters + 0.5
        self._where = (slice(height - margin - high, height - margin), slice(margin, margin + wide))

    @staticmethod
    def _box(text: str, size: float, margin: int) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, int, int, int]:
        """Font, distance of the text from the edge of the box, and width and height of the box, px."""
        font = ImageFont.load_default(size)
        none = bytes(font.getmask(MISSING))
        lacking = [letter for letter in text if not letter.isspace() and bytes(font.getmask(letter)) == none]
        if lacking:
            raise TalkfaceError(
                f"--label {text!r}: the built-in font has no letter {lacking[0]!r}.",
                "Use letters without accents. --srt with --burn-subtitles draws any script.",
            )
        left, top, right, bottom = font.getbbox(text, anchor="lt")
        return font, margin, round(right - left) + 2 * margin, round(bottom - top) + 2 * margin

    def draw(self, frame: np.ndarray) -> np.ndarray:
        """Return a copy of a frame, uint8 RGB (height, width, 3), with the label."""
        labelled = frame.copy()
        labelled[self._where] = labelled[self._where] * self._keep + self._add
        return labelled
