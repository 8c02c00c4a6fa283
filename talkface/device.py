"""Where the networks run."""

from __future__ import annotations

import torch

from talkface.errors import TalkfaceError


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        TalkfaceError: the device is asked for by name and this machine does not have it.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    kind = name.partition(":")[0]
    if kind not in available:
        raise TalkfaceError(f"--device {name}: there is no such device.", "Use auto, cpu, cuda or mps.")
    if not available[kind]:
        raise TalkfaceError(
            f"--device {name}: PyTorch {torch.__version__} finds no {kind.upper()} device on this machine.",
            "Use --device cpu, or install a PyTorch build for your accelerator.",
        )
    return torch.device(name)
