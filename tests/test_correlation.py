import numpy as np
import pytest

from talkface.metrics.correlation import correlation, correlation_sums, opening_std_ratio


def test_pooled_correlation_ignores_each_clips_own_mean():
    rng = np.random.default_rng(0)
    clips = [(rng.normal(size=30), level) for level in (0.0, 5.0, -3.0)]
    sums = sum(correlation_sums(curve + level, 2 * curve - level) for curve, level in clips)
    assert correlation(sums) == pytest.approx(1)


def test_pooled_correlation_is_numpys_on_the_centred_clips():
    rng = np.random.default_rng(1)
    real, fake = rng.normal(size=(4, 25)), rng.normal(size=(4, 25))
    sums = sum(correlation_sums(a, b) for a, b in zip(real, fake, strict=True))
    centred = [(c - c.mean(1, keepdims=True)).ravel() for c in (real, fake)]
    assert correlation(sums) == pytest.approx(np.corrcoef(*centred)[0, 1])


def test_a_mouth_that_never_moves_has_no_correlation():
    assert np.isnan(correlation(correlation_sums(np.arange(9.0), np.full(9, 0.1))))


def test_a_mouth_that_moves_a_quarter_as_much_has_a_quarter_of_the_standard_deviation():
    curve = np.random.default_rng(2).normal(size=40)
    assert opening_std_ratio(correlation_sums(curve, -curve / 4 + 1)) == pytest.approx(0.25)
    assert opening_std_ratio(correlation_sums(curve, np.full(40, 0.3))) == 0
    assert np.isnan(opening_std_ratio(correlation_sums(np.full(40, 0.3), curve)))
