"""Mutual information estimates against closed forms."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from talkface.model.amie import (
    ESTIMATES,
    EstimatorConfig,
    StatisticsNetwork,
    dv_mutual_information,
    js_mutual_information,
    other_moments,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def gaussians(rho, count, generator):
    """Pairs of standard normal numbers of correlation rho, (count, 2), and the same with the partners exchanged."""
    x, noise = torch.randn(2, count, generator=generator)
    y = rho * x + math.sqrt(1 - rho**2) * noise
    return torch.stack([x, y], 1), torch.stack([x, y.roll(1)], 1)


def log_ratio(pairs, rho):
    """log p(x, y) / p(x) p(y): the best critic there is."""
    x, y = pairs.double().unbind(1)
    return -0.5 * math.log(1 - rho**2) - (rho**2 * (x**2 + y**2) - 2 * rho * x * y) / (2 * (1 - rho**2))


def trained_critic(estimate, rho, steps=350):
    """A small network that has learned to tell joint from marginal pairs, from fresh samples at every step."""
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(1)
    critic = nn.Sequential(nn.Linear(2, 32), nn.ELU(), nn.Linear(32, 32), nn.ELU(), nn.Linear(32, 1), nn.Flatten(0))
    optimiser = torch.optim.Adam(critic.parameters(), 1e-2)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
        joint, marginal = gaussians(rho, 2048, generator)
        optimiser.zero_grad()
        (-ESTIMATES[estimate](critic(joint), critic(marginal))).backward()
        optimiser.step()
    return critic


@torch.no_grad()
def estimated(estimate, critic, rho):
    joint, marginal = gaussians(rho, 400_000, torch.Generator().manual_seed(2))
    return ESTIMATES[estimate](critic(joint), critic(marginal)).item()


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_donsker_varadhan_finds_the_information_of_correlated_gaussians(rho):
    assert estimated("dv", trained_critic("dv", rho), rho) == pytest.approx(-0.5 * math.log(1 - rho**2), rel=0.1)


def test_jensen_shannon_ranks_correlations_and_approaches_the_best_critic():
    found = {rho: estimated("js", trained_critic("js", rho), rho) for rho in (0.0, 0.5, 0.9)}
    assert found[0.0] == pytest.approx(-2 * math.log(2), abs=0.005)
    assert found[0.0] < found[0.5] < found[0.9]
    for rho in (0.5, 0.9):
        joint, marginal = gaussians(rho, 400_000, torch.Generator().manual_seed(2))
        best = js_mutual_information(log_ratio(joint, rho), log_ratio(marginal, rho)).item()
        assert found[rho] == pytest.approx(best, abs=0.02)


@pytest.mark.parametrize("rho", [0.3, 0.9])
def test_donsker_varadhan_with_the_best_critic_is_the_information(rho):
    """Eq. 4 to 6: the supremum is reached at the log density ratio, where the second term vanishes."""
    joint, marginal = gaussians(rho, 400_000, torch.Generator().manual_seed(3))
    found = dv_mutual_information(log_ratio(joint, rho), log_ratio(marginal, rho)).item()
    assert found == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.01)


def test_mutual_information_of_an_untrained_estimator_is_minus_two_ln_two(mini_estimator):
    network = StatisticsNetwork(mini_estimator).eval()
    nn.init.zeros_(network.classifier[-1].weight)
    nn.init.zeros_(network.classifier[-1].bias)
    scores = network.joint_and_marginal(torch.rand(4, 3, 64, 88), torch.randn(4, 20, 13), torch.tensor([1, 0, 3, 2]))
    assert js_mutual_information(*scores).item() == pytest.approx(-2 * math.log(2), abs=1e-6)
    assert dv_mutual_information(*scores).item() == pytest.approx(0, abs=1e-6)


def test_the_estimates_are_the_papers_equations():
    joint, marginal = np.random.default_rng(0).normal(size=(2, 50))
    softplus = lambda x: np.log(1 + np.exp(x))  # noqa: E731 (Eq. 8)
    js = np.mean(-softplus(-joint)) - np.mean(softplus(marginal))
    dv = np.mean(joint) - np.log(np.mean(np.exp(marginal)))
    both = torch.tensor(joint), torch.tensor(marginal)
    assert js_mutual_information(*both).item() == pytest.approx(js)
    assert dv_mutual_information(*both).item() == pytest.approx(dv)


def test_the_estimates_hold_for_scores_of_any_size():
    scores = torch.tensor([1000.0]), torch.tensor([-1000.0])
    assert js_mutual_information(*scores).item() == 0
    assert dv_mutual_information(*scores).item() == 2000
    assert js_mutual_information(*reversed(scores)).item() == -2000


def test_joint_and_marginal_scores_are_those_of_the_pairs_one_by_one(mini_estimator):
    network = StatisticsNetwork(mini_estimator).eval()
    frames, windows, partner = torch.rand(4, 3, 64, 88), torch.randn(4, 20, 13), torch.tensor([2, 3, 0, 1])
    joint, marginal = network.joint_and_marginal(frames, windows, partner)
    for i in range(4):
        assert joint[i].item() == pytest.approx(network(frames[i : i + 1], windows[i : i + 1]).item(), abs=1e-6)
        other = windows[partner[i]][None]
        assert marginal[i].item() == pytest.approx(network(frames[i : i + 1], other).item(), abs=1e-6)


def test_frame_and_sound_both_change_the_score(mini_estimator):
    network = StatisticsNetwork(mini_estimator).eval()
    frame, windows = torch.rand(1, 3, 64, 88), torch.randn(1, 20, 13)
    base = network(frame, windows)
    assert network(1 - frame, windows) != base
    assert network(frame, windows + 1) != base


def test_the_network_takes_whole_faces_as_well_as_crops():
    config = EstimatorConfig(256, 256, (4, 4, 4, 4, 4, 4), features=8)
    assert StatisticsNetwork(config).eval()(torch.rand(2, 3, 256, 256), torch.randn(2, 20, 13)).shape == (2,)


@pytest.mark.parametrize("clips,moments,frames", [(1, 2, 1), (3, 4, 1), (2, 3, 5)])
def test_marginal_pairs_join_moments_of_one_clip_only(clips, moments, frames):
    (partner,) = other_moments(clips, moments, frames).numpy()
    row = np.arange(clips * moments * frames)
    clip, moment, frame = np.unravel_index(row, (clips, moments, frames))
    others = np.unravel_index(partner, (clips, moments, frames))
    assert np.array_equal(others[0], clip)
    assert (others[1] != moment).all()
    assert np.array_equal(others[2], frame)
    assert sorted(partner) == row.tolist()  # each sound is used once
