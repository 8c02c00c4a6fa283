"""The lag of the sound: uncertain for one clip, measurable for many."""

import numpy as np
import pytest

from talkface.preprocess.sync import LAG_SECONDS, correlation_curve, out_of_step, peak_lag, peak_shift, pooled_offset


def curves_of(rng, seconds, late, noise=0.0):
    """Mouth opening (25 per second) and loudness (100 per second) of a speaker; the sound is `late` seconds late."""
    times = np.arange(-1, seconds + 1, 0.01)
    syllables = sum(np.sin(2 * np.pi * f * times + rng.uniform(0, 7)) for f in rng.uniform(1, 5, 4))
    frames = (np.arange(round(seconds * 25)) + 0.5) / 25
    steps = np.arange(round(seconds * 100)) / 100
    mouth = np.interp(frames, times, syllables) + noise * rng.standard_normal(len(frames))
    return mouth, np.interp(steps - late, times, syllables)


@pytest.mark.parametrize("late", [-0.2, -0.06, 0.0, 0.05, 0.33])
def test_a_lag_between_the_sampled_lags_is_found(late):
    lag, correlation = peak_lag(correlation_curve(*curves_of(np.random.default_rng(1), 4, late)))
    assert lag == pytest.approx(late, abs=0.01)
    assert correlation > 0.9


def test_sound_before_the_first_frame_is_placed_in_time():
    mouth, loudness = curves_of(np.random.default_rng(1), 4, 0.08)
    curve = correlation_curve(mouth[25:], loudness[60:], lead_steps=40)
    assert peak_lag(curve)[0] == pytest.approx(0.08, abs=0.01)


def test_a_mouth_that_does_not_move_and_a_constant_loudness_have_no_correlation():
    mouth, loudness = curves_of(np.random.default_rng(1), 2, 0)
    assert np.all(correlation_curve(np.zeros_like(mouth), loudness) == 0)
    assert np.all(correlation_curve(mouth, np.full_like(loudness, -50)) == 0)
    assert np.all(correlation_curve(mouth[:5], loudness[:20]) == 0)


def test_many_clips_give_a_reliable_lag_although_each_of_them_is_uncertain():
    rng = np.random.default_rng(2)
    curves = np.array([correlation_curve(*curves_of(rng, 1.2, 0.05, noise=5)) for _ in range(400)])
    alone = np.array([peak_lag(curve)[0] for curve in curves])
    assert np.mean(np.abs(alone - 0.05) > 0.1) > 0.3
    offset, correlation = pooled_offset(curves, np.full(len(curves), 30))
    assert offset == pytest.approx(0.05, abs=0.02)
    assert 0.1 < correlation < 0.6


def test_the_offset_is_zero_for_few_clips_and_without_a_peak():
    rng = np.random.default_rng(3)
    clear = np.array([correlation_curve(*curves_of(rng, 3, 0.1)) for _ in range(19)])
    assert pooled_offset(clear, np.full(19, 75))[0] == 0
    chance = np.array([correlation_curve(curves_of(rng, 1.2, 0)[0], curves_of(rng, 1.2, 0)[1]) for _ in range(300)])
    assert pooled_offset(chance, np.full(300, 30))[0] == 0
    assert pooled_offset(np.empty((0, len(LAG_SECONDS))), np.empty(0)) == (0.0, 0.0)


@pytest.mark.parametrize("lag, offset", [(0.1, 0.1), (-0.1, -0.1), (0.14, 0.0), (-0.26, 0.0)])
def test_a_pooled_lag_beyond_0_12_s_is_not_believed(lag, offset):
    rng = np.random.default_rng(5)
    curves = np.array([correlation_curve(*curves_of(rng, 3, lag)) for _ in range(30)])
    assert pooled_offset(curves, np.full(30, 75))[0] == pytest.approx(offset, abs=0.01)


@pytest.mark.parametrize("top", [-0.4, 0.0, 0.3])
def test_the_peak_of_a_parabola_is_where_it_is(top):
    places = np.array([-1.0, 0.0, 1.0])
    assert peak_shift(3 - 2 * (places - top) ** 2) == pytest.approx(top)
    assert peak_shift(places**2) == peak_shift(places) == 0


def test_a_clip_with_a_clearly_different_lag_is_out_of_step_and_a_short_or_uncertain_one_is_not():
    rng = np.random.default_rng(4)
    curve = correlation_curve(*curves_of(rng, 3, 0.4))
    assert out_of_step(curve, 75, 0.0)
    assert out_of_step(curve, 75, 0.05)
    assert not out_of_step(curve, 75, 0.3)
    assert not out_of_step(curve, 30, 0.0)
    assert not out_of_step(0.5 * curve, 75, 0.0)
