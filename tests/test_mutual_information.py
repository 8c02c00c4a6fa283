"""`mi` and `mi_auc`: closed forms, and the moments that a clip's frames are compared with."""

import numpy as np
import pytest
import torch

from talkface.metrics.mutual_information import (
    GAP,
    MutualInformation,
    information_sums,
    load_mutual_information,
    marginal_pairs,
    ranking_sums,
)
from talkface.model.amie import APART, EstimatorConfig, StatisticsNetwork, js_mutual_information
from talkface.model.checkpoint import save_network


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


def test_the_estimate_is_the_one_that_the_network_is_trained_with():
    joint, marginal = np.random.default_rng(0).normal(size=(2, 40)).astype(np.float32)
    total, count = information_sums(joint, marginal)
    assert total / count == pytest.approx(js_mutual_information(torch.tensor(joint), torch.tensor(marginal)).item())


@pytest.mark.parametrize(
    "own,other,auc",
    [([3.0, 2.0], [1.0, -1.0], 1.0), ([0.0] * 4, [0.0] * 4, 0.5), ([0.0, 0.0], [1.0, 2.0], 0.0), ([2, 0], [1, 1], 0.5)],
)
def test_the_auc_is_the_share_of_pairs_that_the_own_sound_wins(own, other, auc):
    won, pairs = ranking_sums(np.array(own), np.array(other))
    assert won / pairs == auc


@pytest.mark.parametrize("frames", [2 * GAP, 2 * GAP + 1, 30, 75, 300])
def test_moments_of_a_pair_are_at_least_three_tenths_of_a_second_apart_in_one_clip(frames):
    first, second = marginal_pairs(frames)
    assert len(first) == len(second) > 0
    assert np.abs(first - second).min() >= APART * 25
    assert min(first.min(), second.min()) >= 0
    assert max(first.max(), second.max()) < frames
    assert len({*zip(first.tolist(), second.tolist(), strict=True)}) == len(first)  # no pair counts twice


@pytest.mark.parametrize("frames", [30, 75])
def test_every_frame_and_every_sound_takes_part(frames):
    first, second = marginal_pairs(frames)
    assert set(first) == set(second) == set(range(frames))


@pytest.mark.parametrize("frames", [0, 1, GAP, 2 * GAP - 1])
def test_a_clip_that_is_too_short_adds_nothing(frames, mini_estimator):
    assert [len(part) for part in marginal_pairs(frames)] == [0, 0]
    metric = MutualInformation(StatisticsNetwork(mini_estimator).eval())
    sums = metric.sums(np.zeros((frames, 8), np.float32), np.zeros((frames, 8), np.float32))
    assert {name: value.tolist() for name, value in sums.items()} == {"mi": [0, 0], "mi_auc": [0, 0]}


class Sync(torch.nn.Module):
    """A statistics network that is right: it compares a number in the picture with a number in the sound."""

    def __init__(self, config, factor):
        super().__init__()
        self.config, self.factor = config, factor

    def encode_frame(self, frame):
        return frame.mean((1, 2, 3))[:, None]

    def audio_encoder(self, windows):
        return windows.mean((1, 2))[:, None]

    def score(self, image, audio):
        return -self.factor * (image - audio).abs().sum(1)


@pytest.mark.parametrize("factor,auc", [(1000.0, 1.0), (0.0, 0.5), (-1000.0, 0.0)])
def test_the_auc_of_a_perfect_a_constant_and_a_mistaken_network(factor, auc, mini_estimator):
    """Frame i is gray i, and so is its sound."""
    gray = np.arange(40, dtype=np.uint8)
    frames = np.broadcast_to(gray[:, None, None, None], (40, 256, 256, 3))
    windows = np.broadcast_to((gray / 255).astype(np.float32)[:, None, None], (40, 20, 13)).copy()
    metric = MutualInformation(Sync(mini_estimator, factor))
    sums = metric.sums(metric.encode_frames(frames), metric.encode_speech(windows))
    assert sums["mi_auc"][0] / sums["mi_auc"][1] == auc
    assert sums["mi"][1] == 40
    if auc == 0.5:
        assert sums["mi"][0] / 40 == pytest.approx(-2 * np.log(2))


@pytest.mark.parametrize("size", [(64, 88), (256, 256)])
def test_a_clip_is_scored_by_the_network_on_the_mouths_place_in_each_frame(size):
    torch.manual_seed(0)
    network = StatisticsNetwork(EstimatorConfig(*size, widths=(4, 4, 4, 8, 8), features=8)).eval()
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (24, 256, 256, 3), dtype=np.uint8)
    windows = rng.normal(size=(24, 20, 13)).astype(np.float32)
    metric = MutualInformation(network)
    found = metric.sums(metric.encode_frames(frames), metric.encode_speech(windows))
    crops = frames[:, 158:222, 84:172] if size == (64, 88) else frames  # the template's mouth is at (128, 185)
    pictures, first, second = torch.from_numpy(crops).permute(0, 3, 1, 2) / 255, *marginal_pairs(24)
    with torch.inference_mode():
        joint = network(pictures, torch.from_numpy(windows)).numpy()
        marginal = network(pictures[first], torch.from_numpy(windows[second])).numpy()
    np.testing.assert_allclose(found["mi"], information_sums(joint, marginal), rtol=1e-5)
    np.testing.assert_allclose(found["mi_auc"], ranking_sums(joint[first], marginal), atol=0.5)


def test_the_network_is_read_from_a_file(tmp_path, mini_estimator):
    save_network(StatisticsNetwork(mini_estimator), tmp_path / "t.safetensors")
    assert load_mutual_information(tmp_path / "t.safetensors").estimator.config == mini_estimator
