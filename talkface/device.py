"""Where the networks run, and on how many cores."""

from __future__ import annotations

import os

import torch

from talkface.errors import TalkfaceError


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        TalkfaceError: there is no device of that name, or this machine does not have it.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in available:
        raise TalkfaceError(f"--device {name}: there is no such device.", "Use auto, cpu, cuda or mps.")
    if not available[device.type]:
        raise TalkfaceError(
            f"--device {name}: PyTorch {torch.__version__} finds no {device.type.upper()} device on this machine.",
            "Use --device cpu, or install a PyTorch build for your accelerator.",
        )
    return device
