import numpy as np
import pytest
import torch

from talkface.metrics.mutual_information import MutualInformation, information_sums, other_moments
from talkface.model.amie import StatisticsNetwork


def test_an_estimator_that_cannot_tell_pairs_apart_gives_minus_two_ln_two():
    total, count = information_sums(np.zeros(5), np.zeros(5))
    assert total / count == pytest.approx(-2 * np.log(2))


def test_an_estimator_that_tells_all_pairs_apart_gives_zero():
    total, _ = information_sums(np.full(5, 500.0), np.full(5, -500.0))
    assert total == pytest.approx(0, abs=1e-100)


def test_the_estimate_is_the_log_likelihood_of_telling_joint_from_marginal_pairs():
    """Scores of ln 3, 0 and -ln 3 say that a pair is joint with probability 3/4, 1/2 and 1/4."""
    joint, marginal = np.log([3, 1]), np.log([1, 1 / 3])
    total, count = information_sums(joint, marginal)
    assert total / count == pytest.approx(np.log([3 / 4, 1 / 2]).mean() + np.log([1 / 2, 3 / 4]).mean())


@pytest.mark.parametrize("frames", [2, 3, 30, 75])
def test_every_frame_gets_the_sound_of_another_and_each_sound_is_used_once(frames):
    partner = other_moments(frames, seed=frames)
    assert not np.any(partner == np.arange(frames))
    assert sorted(partner) == list(range(frames))
    np.testing.assert_array_equal(partner, other_moments(frames, seed=frames))


def test_a_clip_is_scored_by_the_network_on_its_window_of_each_frame(mini_config):
    torch.manual_seed(0)
    network = StatisticsNetwork(mini_config).eval()
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (5, 256, 256, 3), dtype=np.uint8)
    windows = rng.normal(size=(5, 20, 13)).astype(np.float32)
    metric = MutualInformation(network, seed=3)
    found = metric.sums(metric.encode_frames(frames), metric.encode_speech(windows))
    x, y, side = mini_config.window
    pictures = torch.from_numpy(frames[:, y : y + side, x : x + side]).permute(0, 3, 1, 2) / 255
    at = np.clip(np.arange(5)[:, None] + np.array(mini_config.audio_offsets), 0, 4)
    with torch.inference_mode():
        scores = [network(pictures, torch.from_numpy(windows[at[who]])) for who in (np.arange(5), other_moments(5, 3))]
    np.testing.assert_allclose(found, information_sums(*(one.numpy() for one in scores)), rtol=1e-5)
