import numpy as np
import pytest

from talkface.metrics.mutual_information import information_sums, other_moments


def test_a_blind_estimator_gives_minus_two_ln_two():
    total, count = information_sums(np.zeros(5), np.zeros(5))
    assert total / count == pytest.approx(-2 * np.log(2))


def test_a_sure_and_right_estimator_gives_zero():
    total, _ = information_sums(np.full(5, 500.0), np.full(5, -500.0))
    assert total == pytest.approx(0, abs=1e-100)


def test_the_estimate_is_the_formula_of_the_paper():
    joint, marginal = np.array([0.5, -1.0, 2.0]), np.array([0.1, -0.4, 1.5])
    expected = np.mean(-np.log1p(np.exp(-joint))) - np.mean(np.log1p(np.exp(marginal)))
    total, count = information_sums(joint, marginal)
    assert total / count == pytest.approx(expected)


@pytest.mark.parametrize("frames", [2, 3, 30, 75])
def test_every_frame_gets_the_sound_of_another_and_each_sound_is_used_once(frames):
    partner = other_moments(frames, seed=frames)
    assert not np.any(partner == np.arange(frames))
    assert sorted(partner) == list(range(frames))
    np.testing.assert_array_equal(partner, other_moments(frames, seed=frames))
