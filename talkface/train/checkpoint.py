"""Files of training states.

Every file appears whole or not at all, so that a full disk or a power cut leaves the last good one.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from talkface.errors import TalkfaceError
from talkface.model.checkpoint import whole_file
from talkface.train.presets import TrainConfig

FORMAT = 1


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], config: TrainConfig, keep: int) -> Path:
    """Writes the training state of `step`, whole or not at all, and removes all but the newest `keep` checkpoints.

    Raises:
        TalkfaceError: the file cannot be written, as on a full disk; the checkpoints before it stay.
    """
    path = folder / f"checkpoint-{step:07d}.pt"
    with whole_file(path) as beside, beside.open("wb") as file:
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
