"""Selection of the device that the networks run on, and the number of CPU cores and threads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from talkface.errors import TalkfaceError
from talkface.workers import cores as cores

MIN_MPS_TORCH = (2, 13)  # earlier versions lack grid_sample(padding_mode="border") on MPS (pytorch#125098)


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Let PyTorch use one CPU thread inside the block, and as many as before after it.

    Our networks are too small to gain from several threads, and lose much where other processes want the cores.

    Args:
        wanted: False changes nothing.
    """
    before = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if wanted:
            torch.set_num_threads(before)


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called `name`, such as cpu, cuda, cuda:1 or mps.

    "auto" selects CUDA, else Apple's MPS if this PyTorch supports all operations that are needed, else the CPU.

    Raises:
        TalkfaceError: `name` is not a device, or this machine or this PyTorch does not have it.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if _torch_version() >= MIN_MPS_TORCH and mps_works() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise TalkfaceError(
            f"--device {name} is not a valid device: expected auto, cpu, cuda, cuda:N or mps.",
            "Use auto, or leave it out.",
        )
    _check_available(name, device)
    return device


def mps_works() -> bool:
    """Tell whether there is an MPS device that computes grid_sample(padding_mode="border"), which warping needs."""
    if not torch.backends.mps.is_available():
        return False
    image = torch.arange(4.0).view(1, 1, 2, 2)
    grid = torch.tensor([[[[-1.5, 0.0], [1.5, 0.5]]]])  # partly outside of the image
    try:
        sampled = F.grid_sample(image.to("mps"), grid.to("mps"), padding_mode="border", align_corners=False)
    except (NotImplementedError, RuntimeError):
        return False
    expected = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
    return torch.allclose(sampled.cpu(), expected, atol=1e-5)


def _check_available(name: str, device: torch.device) -> None:
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[device.type]:
        raise TalkfaceError(
            f"--device {name}: PyTorch {torch.__version__} finds no {device.type.upper()} device on this machine.",
            "Use --device cpu, or install a PyTorch build for your accelerator.",
        )
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.type != "cpu" and (device.index or 0) >= count:
        devices = "1 device" if count == 1 else f"{count} devices"
        raise TalkfaceError(
            f"--device {name}: this machine has {devices} of this kind, and counting starts at 0.",
            f"Use {device.type}:{count - 1} or a smaller number.",
        )
    if device.type == "mps" and not mps_works():
        raise TalkfaceError(
            f"--device {name}: PyTorch {torch.__version__} lacks an operation on MPS that warping needs.",
            "Install PyTorch 2.13 or later, or use --device cpu.",
        )


def _torch_version() -> tuple[int, ...]:
    """Return the major and minor version of PyTorch."""
    return tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2])
