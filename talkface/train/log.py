"""The files in which a run tells what happens: log.jsonl, and TensorBoard's where it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from talkface.files import atomic_write, os_errors_as_user_errors
from talkface.train.options import Step


class RunLog:
    """Log of one run; taken up again at `step`, later lines of an interrupted run are dropped.

    Args:
        folder: of the run.
        step: steps that are done.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.folder, self.path = folder, folder / "log.jsonl"
        with os_errors_as_user_errors(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            self._forget_after(step)
            self.file = self.path.open("a", encoding="utf-8", buffering=1)
        self.board = _tensorboard(folder, step)

    def line(self, told: Step) -> None:
        """One line of losses."""
        row = {"step": told.step, "stage": told.stage, "frames_per_second": round(told.frames_per_second, 2)}
        with os_errors_as_user_errors(self.path):
            self.file.write(json.dumps(row | {k: round(v, 5) for k, v in told.losses.items()}) + "\n")
        if self.board:
            for name, value in told.losses.items():
                self.board.add_scalar(f"loss/{name}", value, told.step)
            self.board.add_scalar("frames_per_second", told.frames_per_second, told.step)

    def validation(self, stage: str, step: int, figures: dict[str, float]) -> None:
        """One line of validation figures."""
        row = {"step": step, "stage": stage, "validation": {k: round(v, 4) for k, v in figures.items()}}
        with os_errors_as_user_errors(self.path):
            self.file.write(json.dumps(row) + "\n")
        if self.board:
            for name, value in figures.items():
                self.board.add_scalar(f"validation/{name}", value, step)

    def close(self) -> None:
        """Flushes everything."""
        self.file.close()
        if self.board:
            self.board.close()

    def _forget_after(self, step: int) -> None:
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        kept = [line for line in lines if _step(line) <= step]
        if len(kept) < len(lines):
            with atomic_write(self.path) as beside:
                beside.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _step(line: str) -> int:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return 1 << 62


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
