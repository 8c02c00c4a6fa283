"""The processes that train together: one, or those that `torchrun` started."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from talkface.device import pick_device
from talkface.errors import TalkfaceError
from talkface.train.optimizing import Synchronise
from talkface.train.presets import TrainConfig


@dataclass(frozen=True)
class Processes:
    """This process among those that train together."""

    rank: int
    world: int
    device: torch.device

    def share(self, batch: Any) -> Any:
        """This process's rows of a joint batch, which is a NamedTuple of tensors, on its device."""
        parts = (joint.chunk(self.world)[self.rank].to(self.device, non_blocking=True) for joint in batch)
        return type(batch)(*parts)

    @property
    def synchronise(self) -> Synchronise | None:
        """What averages gradients over the processes; None for a single one."""
        return self.average_gradients if self.world > 1 else None

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Averages the gradients of parameters over the processes; a missing gradient counts as 0."""
        learned = list(parameters)
        for parameter in learned:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([parameter.grad.flatten() for parameter in learned if parameter.grad is not None])
        distributed.all_reduce(flat)
        flat /= self.world
        start = 0
        for parameter in learned:
            parameter.grad = flat[start : start + parameter.numel()].view_as(parameter).clone()
            start += parameter.numel()

    def mean(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss terms averaged over the processes, without gradient."""
        detached = {name: value.detach().float() for name, value in terms.items()}
        if self.world > 1:
            row = torch.stack(list(detached.values()))
            distributed.all_reduce(row)
            detached = dict(zip(detached, row / self.world, strict=True))
        return detached

    def take_over(self, network: nn.Module) -> None:
        """Gives all processes the first one's weights, which alone has validated."""
        if self.world > 1:
            for tensor in network.state_dict().values():
                distributed.broadcast(tensor, 0)

    def any(self, mine: bool) -> bool:
        """Whether it is so in any process; every process must ask."""
        if self.world == 1:
            return mine
        answer = torch.tensor(float(mine), device=self.device)
        distributed.all_reduce(answer, distributed.ReduceOp.MAX)
        return bool(answer)

    def leave(self) -> None:
        """Ends the group."""
        if self.world > 1 and distributed.is_initialized():
            distributed.destroy_process_group()


def join(device: str, config: TrainConfig) -> Processes:
    """Joins the other processes, where `torchrun` has started several.

    Args:
        device: auto, cpu, cuda or mps; of several CUDA devices each process takes its own.

    Raises:
        TalkfaceError: no such device, or a batch that cannot be shared equally.
    """
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    for stage in config.stages:
        if stage.batch % world:
            raise TalkfaceError(
                f"Batch {stage.batch} of stage {stage.name!r} cannot be shared equally by {world} processes.",
                f"Use --set {stage.name}.batch=N with an N that divides by {world}.",
            )
    picked = pick_device(device)
    if picked.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    if world == 1:
        return Processes(rank, world, picked)
    if picked.type == "cuda":
        local, there = int(os.environ.get("LOCAL_RANK", rank)), torch.cuda.device_count()
        if local >= there:
            raise TalkfaceError(
                f"torchrun has started more processes on this machine than its {there} GPUs.",
                f"Use --nproc-per-node {there}.",
            )
        picked = torch.device("cuda", local)
        torch.cuda.set_device(picked)
    # Imported later, by torch._dynamo, this module would keep the group in default arguments beyond its end, and the
    # group's threads would abort the process at exit.
    importlib.import_module("torch.distributed.nn.functional")
    distributed.init_process_group("nccl" if picked.type == "cuda" else "gloo")
    return Processes(rank, world, picked)
