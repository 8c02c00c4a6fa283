"""Optimiser steps, averaged weights and frozen judges: what all training stages share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import get_ema_multi_avg_fn

Synchronise = Callable[[Iterable[nn.Parameter]], None]
"""Averages the gradients of parameters over the processes that train together."""

WARM_EMA_UPDATES = 1_000_000  # updates with which weights from a file are credited


class NotFinite(Exception):
    """A loss is NaN or infinite. Says which loss."""


class EMA:
    """Exponential moving average of a network's weights; what is published.

    Args:
        network: the network to follow.
        decay: weight of the past. It is reached gradually where the first weights are random.
        trained: the weights come from a file, so that the decay needs no warm-up.
    """

    def __init__(self, network: nn.Module, decay: float, trained: bool = False) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self.updates = WARM_EMA_UPDATES if trained else 0

    @torch.no_grad()
    def update(self, network: nn.Module, decay: float | None = None) -> None:
        """One step towards the present weights; `decay` in place of the usual one."""
        self.updates += 1
        decay = min(self.decay if decay is None else decay, (1 + self.updates) / (10 + self.updates))
        averaged, present = list(self.network.parameters()), list(network.parameters())
        get_ema_multi_avg_fn(decay)(averaged, present, None)

    def state_dict(self) -> dict[str, Any]:
        """Weights and number of updates."""
        return {"network": self.network.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a state."""
        self.network.load_state_dict(state["network"])
        self.updates = state["updates"]


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 for convolutions and matrix products on CUDA inside the block; float32 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


class frozen:
    """No gradient for the parameters of `network` inside the block; gradients still pass through it."""

    def __init__(self, network: nn.Module) -> None:
        self.parameters = [p for p in network.parameters() if p.requires_grad]

    def __enter__(self) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(False)

    def __exit__(self, *error: object) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(True)


def optimizer_step(
    optimizer: torch.optim.Optimizer,
    terms: dict[str, Tensor],
    clip_norm: float,
    learning_rate: float | None = None,
    synchronise: Synchronise | None = None,
) -> None:
    """Minimises the sum of the loss terms by one step.

    Args:
        optimizer: of the parameters that learn.
        terms: weighted loss terms by name.
        clip_norm: largest norm of the gradient of all its parameters together.
        learning_rate: for this step; None keeps the optimiser's.
        synchronise: averages the gradients over processes; None where there is one process.

    Raises:
        NotFinite: a loss is NaN or infinite.
    """
    loss = torch.stack(list(terms.values())).sum()
    optimizer.zero_grad(set_to_none=True)
    if loss.device.type == "cpu" and not torch.isfinite(loss):  # its gradient would crash a warp
        if synchronise is None:
            bad = next(name for name, value in terms.items() if not torch.isfinite(value))
            raise NotFinite(f"the loss {bad!r} is {terms[bad].item()}")
        _spoil(optimizer)
    else:
        loss.backward()
    for group in optimizer.param_groups:
        if learning_rate is not None:
            group["lr"] = float(learning_rate)  # a numpy scalar could not be loaded from a checkpoint
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if synchronise is not None:
        synchronise(parameters)
    norm = clip_grad_norm_(parameters, clip_norm)
    if synchronise is not None and not torch.isfinite(norm):
        raise NotFinite("a gradient is NaN or infinite in one of the processes")
    optimizer.step()


def _spoil(optimizer: torch.optim.Optimizer) -> None:
    """NaN for every gradient: once averaged, all processes learn that one of them has no finite loss."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.full_like(parameter, float("nan"))
