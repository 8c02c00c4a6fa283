"""Files of training states.

Every file appears whole or not at all, so that a full disk or a power cut leaves the last good one.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
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
    folder: Path,
    config: TrainConfig,
    device: torch.device | str = "cpu",
    on_note: Callable[[str], None] = lambda note: None,
) -> tuple[int, dict[str, Any]] | None:
    """The newest whole checkpoint in `folder` as (step, state); None if there are no checkpoints.

    Args:
        folder: folder of the run.
        config: configuration that the run must have.
        device: where the tensors are loaded.
        on_note: called with a sentence about each checkpoint that is passed over because it is truncated or damaged.

    Raises:
        TalkfaceError: none of the checkpoints is whole, one may not be read, or the folder belongs to a run of another
            configuration or of another version's format.
    """
    damaged = []
    for path in sorted(folder.glob("checkpoint-*.pt"), reverse=True):
        stored = _load(path, device)
        if stored is None:
            damaged.append(path.name)
            continue
        if not isinstance(stored, dict) or stored.get("format") != FORMAT:
            raise TalkfaceError(
                f"{path} is not a talkface checkpoint of format {FORMAT}.", "Give another --out, or remove the file."
            )
        _check_same_run(json.loads(stored["config"]), config, folder)
        for name in damaged:
            on_note(f"{folder / name} is truncated or damaged; it is passed over for {path.name}.")
        return stored["step"], stored["state"]
    if damaged:
        raise TalkfaceError(
            f"{folder} has no whole checkpoint: {', '.join(damaged)} {'is' if len(damaged) == 1 else 'are'} truncated "
            "or damaged.",
            "Copy a whole one there, or remove the damaged files to start at step 0, or give another --out.",
        )
    return None


def _load(path: Path, device: torch.device | str) -> Any:
    """The content of a checkpoint; None if the file is truncated or damaged."""
    try:
        with path.open("rb") as file:
            if zipfile.ZipFile(file).testzip() is not None:  # torch.load does not compare the checksums
                return None
            file.seek(0)
            return torch.load(file, map_location=device, weights_only=True)
    except torch.OutOfMemoryError:
        raise
    except OSError as error:
        raise TalkfaceError(
            f"{path} cannot be read: {error.strerror or error}.", "Check the disk and the permissions of the file."
        ) from error
    except Exception:  # a damaged file can make the parser raise anything
        return None


def _check_same_run(stored: dict[str, Any], config: TrainConfig, folder: Path) -> None:
    """A field that the stored configuration does not know yet counts as having its default."""
    before, now = ([stage["name"] for stage in c["stages"]] for c in (stored, asdict(config)))
    if before != now:
        raise TalkfaceError(
            f"{folder} holds a run with the stages {', '.join(before)}; now they are {', '.join(now)}.",
            "Give another --out, or remove the folder to start afresh.",
        )
    defaults = {name: value for name, value in _flat(asdict(TrainConfig())).items() if not name.startswith("stages.")}
    there, wanted = defaults | _flat(stored), _flat(asdict(config))
    for name in [*wanted, *there]:
        if there.get(name) != wanted.get(name):
            raise TalkfaceError(
                f"{folder} holds a run with another {_setting(name, now)}: {there.get(name)}; now it is "
                f"{wanted.get(name)}.",
                "Give another --out, or remove the folder to start afresh.",
            )


def _setting(name: str, stages: list[str]) -> str:
    """The name by which --set knows a field: mouth.batch for stages.1.batch."""
    owner, _, rest = name.partition(".")
    if owner != "stages":
        return name
    number, _, field = rest.partition(".")
    return f"{stages[int(number)]}.{field}"


def _flat(nested: Any, name: str = "") -> dict[str, Any]:
    """Nested dictionaries and sequences as one dictionary with dotted names."""
    if not isinstance(nested, dict | list | tuple):
        return {name: nested}
    items = nested.items() if isinstance(nested, dict) else enumerate(nested)
    return {k: v for key, value in items for k, v in _flat(value, f"{name}.{key}" if name else str(key)).items()}
