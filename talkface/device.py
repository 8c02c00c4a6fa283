"""Selection of the device that the networks run on, and the number of CPU cores and threads.

PyTorch is imported when a function needs it, because a render on a CPU does without.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from talkface.errors import TalkfaceError
from talkface.workers import cores as cores

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# What the drivers of NVIDIA and AMD create: on Linux, under WSL, and on Windows.
GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/nvhost-gpu", "C:/Windows/System32/nvcuda.dll")
MIN_MPS_TORCH = (2, 13)  # earlier versions lack grid_sample(padding_mode="border") on MPS (pytorch#125098)


def seed_torch(seed: int) -> None:
    """Set the seed of PyTorch's random numbers."""
    import torch

    torch.manual_seed(seed)


def torch_threads() -> int:
    """Return the number of CPU threads of PyTorch."""
    import torch

    return torch.get_num_threads()


def may_have_gpu() -> bool:
    """Tell whether it is worth importing PyTorch to look for a GPU: there is a driver, or this is a Mac of Apple's."""
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    return apple or any(Path(name).exists() for name in GPU_FILES)


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Let PyTorch use one CPU thread inside the block, and as many as before after it.

    Our networks are too small to gain from several threads, and lose much where other processes want the cores.

    Args:
        wanted: False changes nothing.
    """
    import torch

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
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            _avoid_magma()
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
    if device.type == "cuda":
        _avoid_magma()
    return device


def _avoid_magma() -> None:
    """Solve systems of equations on CUDA with cuSOLVER: MAGMA, which PyTorch 2.11 prefers for batches, reads memory
    that is not its own when several processes share an H200."""
    import torch

    if torch.backends.cuda.is_built():
        torch.backends.cuda.preferred_linalg_library("cusolver")


def mps_works() -> bool:
    """Tell whether there is an MPS device with the operations that warping needs.

    They are grid_sample(padding_mode="border") and linalg.solve_ex, which earlier versions of PyTorch lack on MPS.
    """
    import torch

    if not torch.backends.mps.is_available():
        return False
    image = torch.arange(4.0).view(1, 1, 2, 2)
    grid = torch.tensor([[[[-1.5, 0.0], [1.5, 0.5]]]])  # partly outside of the image
    system, values = torch.tensor([[[2.0, 0.5], [0.5, 1.0]]]), torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    try:
        results = _warping(image.to("mps"), grid.to("mps"), system.to("mps"), values.to("mps"))
    except (NotImplementedError, RuntimeError):
        return False
    expected = _warping(image, grid, system, values)
    return all(torch.allclose(a.cpu(), b, atol=1e-5) for a, b in zip(results, expected, strict=True))


def _warping(image: Tensor, grid: Tensor, system: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The operations of `talkface.model.lipwarp` that not every version of PyTorch has on MPS."""
    import torch
    import torch.nn.functional as F

    sampled = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
    return sampled, torch.linalg.solve_ex(system, values).result


def _check_available(name: str, device: torch.device) -> None:
    import torch

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
    import torch

    return tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2])
