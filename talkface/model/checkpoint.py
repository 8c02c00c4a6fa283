"""Weights files: safetensors that carry their own configuration and a format number."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from talkface.config import weights_dir
from talkface.errors import TalkfaceError
from talkface.model.amie import StatisticsNetwork
from talkface.model.encoders import conv_weights_channels_last
from talkface.model.generator import Generator, GeneratorConfig
from talkface.model.presets import TrainConfig

FORMAT = 1
Network = TypeVar("Network", bound=nn.Module)


def save_network(
    network: nn.Module, kind: str, path: Path, half: bool = False, about: dict[str, Any] | None = None
) -> None:
    """Writes weights, configuration and format number, atomically.

    Args:
        network: Generator or StatisticsNetwork; its `config` travels along.
        kind: "generator" or "estimator".
        path: of the .safetensors file.
        half: store in fp16.
        about: facts for the reader (data, steps, figures), JSON-serialisable.
    """
    tensors = {n: (t.half() if half else t).detach().cpu().contiguous() for n, t in network.state_dict().items()}
    metadata = {
        "talkface_format": str(FORMAT),
        "kind": kind,
        "config": json.dumps(asdict(network.config)),
        "about": json.dumps(about or {}),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        save_file(tensors, beside, metadata)
        Path(beside).chmod(0o644)
        Path(beside).replace(path)
    finally:
        Path(beside).unlink(missing_ok=True)


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
    path = Path(path) if path else weights_dir() / "generator.safetensors"
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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
    config = GeneratorConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()})
    built = network(config)
    try:
        built.load_state_dict(tensors)
    except RuntimeError as error:
        raise TalkfaceError(
            f"Weights file {path} does not fit its own configuration: {str(error).splitlines()[0]}",
            "Give a file that `talkface train` of this version wrote.",
        ) from error
    return conv_weights_channels_last(built.eval().requires_grad_(False)).to(device)


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], config: TrainConfig, keep: int) -> Path:
    """Writes the training state of `step` atomically and removes all but the newest `keep` checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"checkpoint-{step:07d}.pt"
    beside = folder / f".{path.name}"
    torch.save({"format": FORMAT, "step": step, "config": json.dumps(asdict(config)), "state": state}, beside)
    beside.replace(path)
    for old in sorted(folder.glob("checkpoint-*.pt"))[:-keep]:
        old.unlink()
    return path


def newest_checkpoint(
    folder: Path, config: TrainConfig, device: torch.device | str = "cpu"
) -> tuple[int, dict[str, Any]] | None:
    """The newest whole checkpoint in `folder` as (step, state); a cut one is skipped; None where there is none.

    Raises:
        TalkfaceError: the folder belongs to a run of another configuration.
    """
    for path in sorted(folder.glob("checkpoint-*.pt"), reverse=True):
        try:
            stored = torch.load(path, map_location=device, weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError):
            continue
        _same_run(json.loads(stored["config"]), json.loads(json.dumps(asdict(config))), folder)
        return stored["step"], stored["state"]
    return None


def _same_run(stored: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    different = [name for name in wanted if stored.get(name) != wanted[name]]
    if different:
        name = different[0]
        raise TalkfaceError(
            f"{folder} holds a run with another {name}: {stored.get(name)}, wanted {wanted[name]}.",
            "Give another --out, or remove the folder to start afresh.",
        )
