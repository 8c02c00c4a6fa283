"""Files of weights and of training states.

Weights are safetensors that carry their own configuration and a format number. Every file appears whole or not at all,
so that a full disk or a power cut leaves the last good one.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from talkface.config import weights_dir
from talkface.errors import TalkfaceError
from talkface.files import make_folder, replacing, sha256, unwritable
from talkface.model.amie import StatisticsNetwork
from talkface.model.encoders import conv_weights_channels_last
from talkface.model.generator import Generator, GeneratorConfig
from talkface.model.presets import TrainConfig

FORMAT = 1
Network = TypeVar("Network", bound=nn.Module)


def save_network(
    network: nn.Module, kind: str, path: Path, half: bool = False, about: dict[str, Any] | None = None
) -> None:
    """Writes weights, configuration and format number, whole or not at all.

    Args:
        network: Generator or StatisticsNetwork; its `config` travels along.
        kind: "generator" or "estimator".
        path: of the .safetensors file.
        half: store in fp16.
        about: facts for the reader (data, steps, figures), JSON-serialisable.

    Raises:
        TalkfaceError: the file cannot be written, as on a full disk.
    """
    tensors = {n: (t.half() if half else t).detach().cpu().contiguous() for n, t in network.state_dict().items()}
    metadata = {
        "talkface_format": str(FORMAT),
        "kind": kind,
        "config": json.dumps(asdict(network.config)),
        "about": json.dumps(about or {}),
    }
    with _whole(path) as beside:
        save_file(tensors, beside, metadata)
        _sort_header(beside)
        beside.chmod(0o644)  # whatever rights safetensors gave it


def load_generator(path: Path | str | None = None, device: torch.device | str = "cpu") -> Generator:
    """The generator in `path`, ready to speak; None takes the bundled `weights/generator.safetensors`.

    Raises:
        TalkfaceError: the file is missing, cut, of another format or not a generator.
    """
    path = Path(path) if path else weights_dir() / "generator.safetensors"
    return _load(path, "generator", Generator, device)


def load_estimator(path: Path | str | None = None, device: torch.device | str = "cpu") -> StatisticsNetwork:
    """The statistics network T of AMIE in `path`; None takes the bundled `weights/estimator.safetensors`.

    Raises:
        TalkfaceError: the file is missing, cut, of another format or not an estimator.
    """
    path = Path(path) if path else weights_dir() / "estimator.safetensors"
    return _load(path, "estimator", StatisticsNetwork, device)


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


def _load(path: Path, kind: str, network: type[Network], device: torch.device | str) -> Network:
    if not path.is_file():
        raise TalkfaceError(
            f"Weights file {path} does not exist.", "Give --weights a .safetensors file that `talkface train` wrote."
        )
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise TalkfaceError(
            f"Weights file {path} cannot be read: it is cut or not a safetensors file ({error}).",
            "Fetch or copy it again, or leave --weights out to take the bundled generator.",
        ) from error
    if metadata.get("talkface_format") != str(FORMAT) or metadata.get("kind") != kind:
        raise TalkfaceError(
            f"Weights file {path} is not a talkface {kind} of format {FORMAT} "
            f"(it says: kind {metadata.get('kind', 'none')}, format {metadata.get('talkface_format', 'none')}).",
            "Give a file that `talkface train` of this version wrote.",
        )
    stored = json.loads(metadata["config"])
    try:
        built = network(GeneratorConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}))
        built.load_state_dict(tensors)
    except (RuntimeError, TypeError) as error:
        raise TalkfaceError(
            f"Weights file {path} does not fit its own configuration: {str(error).splitlines()[0]}",
            "Give a file that `talkface train` of this version wrote.",
        ) from error
    return conv_weights_channels_last(built.eval().requires_grad_(False)).to(device)


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], config: TrainConfig, keep: int) -> Path:
    """Writes the training state of `step`, whole or not at all, and removes all but the newest `keep` checkpoints.

    Raises:
        TalkfaceError: the file cannot be written, as on a full disk; the checkpoints before it stay.
    """
    path = folder / f"checkpoint-{step:07d}.pt"
    with _whole(path) as beside, beside.open("wb") as file:
        torch.save({"format": FORMAT, "step": step, "config": json.dumps(asdict(config)), "state": state}, file)
    for old in sorted(folder.glob("checkpoint-*.pt"))[: -max(keep, 1)]:
        old.unlink()
    return path


def newest_checkpoint(
    folder: Path, config: TrainConfig, device: torch.device | str = "cpu"
) -> tuple[int, dict[str, Any]] | None:
    """The newest whole checkpoint in `folder` as (step, state); a cut one is skipped; None where there is none.

    Raises:
        TalkfaceError: the folder belongs to a run of another configuration, or of another version's format.
    """
    for path in sorted(folder.glob("checkpoint-*.pt"), reverse=True):
        try:
            stored = torch.load(path, map_location=device, weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError):
            continue
        if not isinstance(stored, dict) or stored.get("format") != FORMAT:
            raise TalkfaceError(
                f"{path} is not a talkface checkpoint of format {FORMAT}.", "Give another --out, or remove the file."
            )
        _check_same_run(json.loads(stored["config"]), config, folder)
        return stored["step"], stored["state"]
    return None


def _check_same_run(stored: dict[str, Any], config: TrainConfig, folder: Path) -> None:
    """A field that the stored configuration does not know yet counts as having its default."""
    defaults = {name: value for name, value in _flat(asdict(TrainConfig())).items() if not name.startswith("stages.")}
    there, wanted = defaults | _flat(stored), _flat(asdict(config))
    for name in [*wanted, *there]:
        if there.get(name) != wanted.get(name):
            raise TalkfaceError(
                f"{folder} holds a run with another {name}: {there.get(name)}; now it is {wanted.get(name)}.",
                "Give another --out, or remove the folder to start afresh.",
            )


def _flat(nested: Any, name: str = "") -> dict[str, Any]:
    """Nested dictionaries and sequences as one dictionary with dotted names."""
    if not isinstance(nested, dict | list | tuple):
        return {name: nested}
    items = nested.items() if isinstance(nested, dict) else enumerate(nested)
    return {k: v for key, value in items for k, v in _flat(value, f"{name}.{key}" if name else str(key)).items()}


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """`replacing`, in a folder that is made; knows how torch and safetensors report what the system refuses."""
    make_folder(path.parent)
    try:
        with replacing(path) as beside:
            yield beside
    except SafetensorError as error:
        raise unwritable(path, error) from error
    except RuntimeError as error:  # torch.save's, where it arose from the system's refusal
        if not isinstance(error.__context__, OSError):
            raise
        raise unwritable(path, error.__context__) from error
