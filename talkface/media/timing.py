"""Frame rates as exact fractions, and how many frames a sound needs."""

from __future__ import annotations

import math
from fractions import Fraction

NTSC = Fraction(1000, 1001)
ROUNDING = Fraction(1, 10**9)  # frames: a float duration such as 0.28 must not cost a frame by its last binary digit


def exact_rate(fps: float | str | Fraction) -> Fraction:
    """The exact frame rate meant by `fps`: 29.97 and 23.976 are 30000/1001 and 24000/1001, "25" and 12.5 themselves.

    Raises:
        ValueError: not a number above zero.
    """
    rate = Fraction(str(fps)) if not isinstance(fps, Fraction) else fps
    if rate <= 0:
        raise ValueError(f"a frame rate is above zero, not {fps}")
    whole = round(rate / NTSC)
    ntsc = whole * NTSC
    # 29.97 and 23.98 are what people and programs write, to two or three digits.
    if whole % 2 == 0 and rate != whole and abs(rate - ntsc) < Fraction(6, 1000):
        return ntsc
    return rate.limit_denominator(100_000)


def frame_count(duration: float | Fraction, fps: float | str | Fraction) -> int:
    """ceil(duration x fps), computed exactly: the frames that cover a sound of `duration` seconds, at least one."""
    return max(1, math.ceil(Fraction(duration) * exact_rate(fps) - ROUNDING))
