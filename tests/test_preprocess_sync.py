"""How far the sound lags: of one clip guesswork, of many a number."""

import numpy as np
import pytest

from talkface.preprocess.sync import LAGS, correlation_curve, out_of_step, peak, pooled_offset


def curves_of(rng, seconds, late, noise=0.0):
    """Mouth (25 a second) and loudness (100 a second) of somebody talking, with the sound `late` by seconds."""
    times = np.arange(-1, seconds + 1, 0.01)
    said = sum(np.sin(2 * np.pi * f * times + rng.uniform(0, 7)) for f in rng.uniform(1, 5, 4))
    frames = (np.arange(round(seconds * 25)) + 0.5) / 25
    steps = np.arange(round(seconds * 100)) / 100
    mouth = np.interp(frames, times, said) + noise * rng.standard_normal(len(frames))
    return mouth, np.interp(steps - late, times, said)


@pytest.mark.parametrize("late", [-0.2, -0.06, 0.0, 0.05, 0.33])
def test_a_delay_is_found_between_the_lags_that_are_tried(late):
    lag, correlation = peak(correlation_curve(*curves_of(np.random.default_rng(1), 4, late)))
    assert lag == pytest.approx(late, abs=0.01)
    assert correlation > 0.9


def test_sound_before_the_first_frame_counts_by_its_time():
    mouth, loudness = curves_of(np.random.default_rng(1), 4, 0.08)
    curve = correlation_curve(mouth[25:], loudness[60:], lead_steps=40)
    assert peak(curve)[0] == pytest.approx(0.08, abs=0.01)


def test_a_still_mouth_or_an_even_sound_correlate_with_nothing():
    mouth, loudness = curves_of(np.random.default_rng(1), 2, 0)
    assert np.all(correlation_curve(np.zeros_like(mouth), loudness) == 0)
    assert np.all(correlation_curve(mouth, np.full_like(loudness, -50)) == 0)
    assert np.all(correlation_curve(mouth[:5], loudness[:20]) == 0)


def test_many_clips_that_are_guesswork_each_give_one_answer():
    rng = np.random.default_rng(2)
    curves = np.array([correlation_curve(*curves_of(rng, 1.2, 0.05, noise=5)) for _ in range(400)])
    alone = np.array([peak(curve)[0] for curve in curves])
    assert np.mean(np.abs(alone - 0.05) > 0.1) > 0.3
    offset, correlation = pooled_offset(curves, np.full(len(curves), 30))
    assert offset == pytest.approx(0.05, abs=0.02)
    assert 0.1 < correlation < 0.6


def test_few_clips_or_no_peak_leave_the_offset_at_zero():
    rng = np.random.default_rng(3)
    clear = np.array([correlation_curve(*curves_of(rng, 3, 0.1)) for _ in range(19)])
    assert pooled_offset(clear, np.full(19, 75))[0] == 0
    chance = np.array([correlation_curve(curves_of(rng, 1.2, 0)[0], curves_of(rng, 1.2, 0)[1]) for _ in range(300)])
    assert pooled_offset(chance, np.full(300, 30))[0] == 0
    assert pooled_offset(np.empty((0, len(LAGS))), np.empty(0)) == (0.0, 0.0)


def test_a_clip_that_is_clearly_elsewhere_is_out_of_step_and_a_short_or_doubtful_one_is_not():
    rng = np.random.default_rng(4)
    curve = correlation_curve(*curves_of(rng, 3, 0.4))
    assert out_of_step(curve, 75, 0.0)
    assert out_of_step(curve, 75, 0.05)
    assert not out_of_step(curve, 75, 0.3)
    assert not out_of_step(curve, 30, 0.0)
    assert not out_of_step(0.5 * curve, 75, 0.0)
