"""Frame rates as exact fractions, and the number of frames for a duration."""

from __future__ import annotations

import math
from fractions import Fraction

NTSC = Fraction(1000, 1001)
ROUNDING = Fraction(1, 10**9)  # frames; the last binary digit of a float such as 0.28 must not add a frame


def exact_rate(fps: float | str | Fraction) -> Fraction:
    """Return the exact frame rate meant by `fps`: 29.97 and 23.976 mean 30000/1001 and 24000/1001; 25 means 25.

    Raises:
        ValueError: `fps` is not a number above zero.
    """
    rate = Fraction(str(fps)) if not isinstance(fps, Fraction) else fps
    if rate <= 0:
        raise ValueError(f"{fps} is not a valid frame rate: expected a number above zero")
    whole = round(rate / NTSC)
    ntsc = whole * NTSC
    # People and programs write NTSC rates with two or three digits: 29.97, 23.98.
    if whole % 2 == 0 and rate != whole and abs(rate - ntsc) < Fraction(6, 1000):
        return ntsc
    return rate.limit_denominator(100_000)


def frame_count(duration: float | Fraction, fps: float | str | Fraction) -> int:
    """Return ceil(duration x fps), computed exactly: the frames that cover `duration` seconds, at least one."""
    return max(1, math.ceil(Fraction(duration) * exact_rate(fps) - ROUNDING))
