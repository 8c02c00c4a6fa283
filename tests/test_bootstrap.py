import numpy as np
import pytest
from scipy.stats import norm

from talkface.metrics.bootstrap import interval, mean_of_sums


def clip_sums(values):
    return np.stack([values, np.ones_like(values)], axis=1)


def test_the_interval_of_a_mean_is_the_normal_one_for_many_clips():
    values = np.random.default_rng(0).normal(3, 2, size=400)
    low, high = interval(clip_sums(values))
    half = norm.ppf(0.975) * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_interval_of_equal_clips_has_width_zero():
    assert interval(clip_sums(np.full(10, 2.5))) == pytest.approx((2.5, 2.5))


def test_clips_are_weighted_by_their_number_of_frames():
    assert mean_of_sums(np.array([[10.0, 1], [60.0, 9]]).sum(0)) == pytest.approx(7)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(1).normal(size=20)
    assert interval(clip_sums(values), seed=3) == interval(clip_sums(values), seed=3)
    assert interval(clip_sums(values), seed=3) != interval(clip_sums(values), seed=4)


def test_one_clip_has_no_interval():
    assert np.isnan(interval(clip_sums(np.array([1.0])))).all()


def test_the_mean_of_no_frames_is_nan():
    assert np.isnan(mean_of_sums(np.zeros(2)))
