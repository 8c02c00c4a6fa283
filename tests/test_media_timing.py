"""Numbers of frames and frame rates."""

from fractions import Fraction

import pytest

from talkface.media.timing import exact_rate, frame_count


def test_the_frame_count_covers_the_duration_and_no_more():
    assert frame_count(1.2, 25) == 30
    assert frame_count(1.2 + 1e-12, 25) == 30
    assert frame_count(1.2001, 25) == 31
    assert frame_count(0.28, 25) == 7
    assert frame_count(0.05, 25) == 2
    assert frame_count(1.001, Fraction(30_000, 1001)) == 30
    assert frame_count(0.0, 25) == 1


@pytest.mark.parametrize(
    "meant,exact",
    [
        (29.97, Fraction(30_000, 1001)),
        ("23.976", Fraction(24_000, 1001)),
        (59.94, Fraction(60_000, 1001)),
        (25, 25),
        (12.5, Fraction(25, 2)),
        ("30000/1001", Fraction(30_000, 1001)),
        (30.0, 30),
        (23.98, Fraction(24_000, 1001)),
    ],
)
def test_a_frame_rate_is_an_exact_fraction(meant, exact):
    assert exact_rate(meant) == exact
