"""Files of weights.

Weights are safetensors that carry their own configuration and a format number. Every file appears whole or not at all,
so that a full disk or a power cut leaves the last good one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from talkface.config import weights_dir
from talkface.errors import TalkfaceError
from talkface.files import atomic_write, make_folder, sha256, write_error
from talkface.model.amie import EstimatorConfig, StatisticsNetwork
from talkface.model.blocks import conv_weights_channels_last
from talkface.model.generator import Generator, GeneratorConfig
from talkface.model.paper import PaperConfig, PaperGenerator

FORMAT = 2  # 1 was the generator of talkface 0.1, which 0.2 cannot load
AnyGenerator = Generator | PaperGenerator
KINDS: dict[str, tuple[type[nn.Module], type]] = {
    "generator": (Generator, GeneratorConfig),
    "paper-generator": (PaperGenerator, PaperConfig),
    "estimator": (StatisticsNetwork, EstimatorConfig),
}


def save_network(network: nn.Module, path: Path, half: bool = False, about: dict[str, Any] | None = None) -> None:
    """Writes weights, configuration and format number, whole or not at all.

    Args:
        network: Generator, PaperGenerator or StatisticsNetwork; its `config` is stored with it.
        path: of the .safetensors file.
        half: store in fp16.
        about: facts for the reader (data, steps, figures), JSON-serialisable.

    Raises:
        TalkfaceError: the file cannot be written, as on a full disk.
    """
    kind, config = next((k, asdict(network.config)) for k, (cls, _) in KINDS.items() if type(network) is cls)  # type: ignore[call-overload]
    tensors = {n: (t.half() if half else t).detach().cpu().contiguous() for n, t in network.state_dict().items()}
    metadata = {
        "talkface_format": str(FORMAT),
        "kind": kind,
        "config": json.dumps(config),
        "about": json.dumps(about or {}),
    }
    with whole_file(path) as beside:
        save_file(tensors, beside, metadata)
        _sort_header(beside)
        beside.chmod(0o644)  # whatever rights safetensors gave it


def load_generator(path: Path | str | None = None, device: torch.device | str = "cpu") -> AnyGenerator:
    """The generator in `path`, ready to speak; None takes the bundled `weights/generator.safetensors`.

    Raises:
        TalkfaceError: the file is missing, cut, of another format or not a generator.
    """
    path = Path(path) if path else weights_dir() / "generator.safetensors"
    return _load(path, ("generator", "paper-generator"), device)


def load_estimator(path: Path | str | None = None, device: torch.device | str = "cpu") -> StatisticsNetwork:
    """The statistics network T of AMIE in `path`; None takes the bundled `weights/estimator.safetensors`.

    Raises:
        TalkfaceError: the file is missing, cut, of another format or not an estimator.
    """
    path = Path(path) if path else weights_dir() / "estimator.safetensors"
    return _load(path, ("estimator",), device)


def weights_hash(path: Path | str | None = None) -> str:
    """SHA-256 of a weights file in hexadecimal; None takes the bundled generator."""
    return sha256(Path(path) if path else weights_dir() / "generator.safetensors")


def _sort_header(path: Path) -> None:
    """safetensors writes the metadata in an order that changes from call to call; the same weights give one file."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:
            file.seek(8)
            file.write(text.ljust(length))


def _load(path: Path, kinds: tuple[str, ...], device: torch.device | str) -> Any:
    if not path.is_file():
        raise TalkfaceError(
            f"Weights file {path} does not exist.", "Give --weights a .safetensors file that `talkface train` wrote."
        )
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise TalkfaceError(
            f"Weights file {path} cannot be read: it is cut or not a safetensors file ({error}).",
            "Fetch or copy it again, or leave --weights out to take the bundled generator.",
        ) from error
    kind, version = metadata.get("kind", "none"), metadata.get("talkface_format", "none")
    if version != str(FORMAT) or kind not in kinds:
        raise TalkfaceError(
            f"Weights file {path} is not a talkface {kinds[0]} of format {FORMAT} "
            f"(it says: kind {kind}, format {version}).",
            "Give a file that `talkface train` of this version wrote.",
        )
    network, configuration = KINDS[kind]
    try:
        stored = json.loads(metadata["config"])
        built = network(configuration(**{k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}))
        built.load_state_dict(tensors)
    except Exception as error:  # a damaged configuration can make the construction of a network raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TalkfaceError(
            f"Weights file {path} does not fit its own configuration: {reason}",
            "Give a file that `talkface train` of this version wrote.",
        ) from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise TalkfaceError(
            f"Weights file {path} is damaged: some of its values are not numbers.",
            "Fetch or copy it again, or leave --weights out to take the bundled generator.",
        )
    return conv_weights_channels_last(built.eval().requires_grad_(False)).to(device)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """`atomic_write`, in a folder that is made; knows how torch and safetensors report what the system refuses."""
    make_folder(path.parent)
    try:
        with atomic_write(path) as beside:
            yield beside
    except SafetensorError as error:
        raise write_error(path, error) from error
    except RuntimeError as error:  # torch.save's, where it arose from the system's refusal
        if not isinstance(error.__context__, OSError):
            raise
        raise write_error(path, error.__context__) from error
