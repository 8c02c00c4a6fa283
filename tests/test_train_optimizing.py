"""Optimiser steps, averaged weights and frozen judges."""

import pytest
import torch
from torch import nn

from talkface.train.optimizing import EMA, NotFinite, frozen, mixed_precision, optimizer_step


def number(value):
    """A network of one weight."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


def test_the_average_follows_by_its_decay_which_is_reached_gradually():
    average, target = EMA(number(5.0), decay=0.3), number(1.0)
    expected = 5.0
    for update in range(1, 6):
        average.update(target)
        weight = min(0.3, (1 + update) / (10 + update))
        expected = weight * expected + (1 - weight)
        assert average.network.weight.item() == pytest.approx(expected)


def test_weights_from_a_file_are_averaged_with_the_full_decay_at_once():
    average = EMA(number(5.0), decay=0.9, trained=True)
    average.update(number(1.0))
    assert average.network.weight.item() == pytest.approx(0.9 * 5 + 0.1)


def test_a_decay_can_be_given_for_one_update():
    average = EMA(number(5.0), decay=0.9, trained=True)
    average.update(number(1.0), decay=0.5)
    assert average.network.weight.item() == pytest.approx(3.0)


def test_the_average_is_a_network_of_its_own_in_eval_mode():
    network = number(5.0).train()
    average = EMA(network, decay=0.9)
    nn.init.zeros_(network.weight)
    assert average.network.weight.item() == 5
    assert not average.network.weight.requires_grad
    assert not average.network.training


def test_an_average_that_is_stored_and_taken_up_goes_on_as_before():
    one, other, target = EMA(number(5.0), 0.9), EMA(number(2.0), 0.9), number(1.0)
    one.update(target)
    other.load_state_dict(one.state_dict())
    one.update(target), other.update(target)
    assert torch.equal(one.network.weight, other.network.weight)


def test_frozen_parameters_get_no_gradient_and_thaw_as_they_were():
    judge = nn.Sequential(number(2.0), number(3.0))
    judge[1].requires_grad_(False)
    x = torch.ones(1, 1, requires_grad=True)
    with frozen(judge):
        judge(x).sum().backward()
    assert x.grad.item() == 6
    assert judge[0].weight.grad is None
    assert [p.requires_grad for p in judge.parameters()] == [True, False]


def test_a_step_minimises_the_sum_of_the_terms_with_a_clipped_gradient():
    layer = number(1.0)
    optimizer = torch.optim.SGD(layer.parameters(), 99.0)
    terms = {"a": 3 * layer.weight.sum(), "b": 4 * layer.weight.sum()}
    optimizer_step(optimizer, terms, clip_norm=2.0, learning_rate=0.1)
    assert layer.weight.item() == pytest.approx(1 - 0.1 * 2, rel=1e-5)
    optimizer_step(optimizer, {"a": 0.5 * layer.weight.sum()}, clip_norm=2.0)
    assert layer.weight.item() == pytest.approx(0.8 - 0.1 * 0.5, rel=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_term_that_is_not_finite_is_named_and_nothing_is_learned(value):
    layer = number(1.0)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    with pytest.raises(NotFinite, match="'bad'"):
        optimizer_step(optimizer, {"good": layer.weight.sum(), "bad": value * layer.weight.sum()}, 1.0)
    assert layer.weight.item() == 1


def test_a_loss_that_is_not_finite_reaches_every_process_that_trains_together():
    """The gradient becomes NaN, so that the others, whose losses are finite, stop as well."""
    layer, averaged = number(1.0), []
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    with pytest.raises(NotFinite, match="one of the processes"):
        optimizer_step(
            optimizer, {"bad": torch.nan * layer.weight.sum()}, 1.0, synchronise=lambda ps: averaged.extend(ps)
        )
    assert averaged == [layer.weight]
    assert layer.weight.item() == 1


def test_precision_is_mixed_on_cuda_alone():
    layer = number(1.0)
    with mixed_precision(torch.device("cpu")):
        assert layer(torch.ones(1, 1)).dtype == torch.float32
