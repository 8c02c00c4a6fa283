"""Where and how long to train, and what is told about it. What is learned is said by `talkface.train.presets`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from talkface.errors import TalkfaceError
from talkface.train.presets import Stage


@dataclass(frozen=True)
class TrainOptions:
    """Where and how long to train; what is learned is said by TrainConfig."""

    data: tuple[str, ...]
    """Names (or folders) of preprocessed data sets."""
    out: Path
    """Folder of the run: checkpoints, log.jsonl, generator.safetensors."""
    split: str = "train"
    """Which split to learn from."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    minutes: float | None = None
    """Stop (with a checkpoint) after so long; None: when all steps are done."""
    checkpoint_minutes: float = 4.0
    """Between two checkpoints."""
    checkpoint_steps: int | None = None
    """A checkpoint every so many steps besides."""
    keep: int = 3
    """Newest checkpoints to keep."""
    validation: tuple[str, ...] | None = None
    """Data sets whose split "val" is validated on; None takes those of `data` that have one."""
    validation_steps: int = 1000
    """Steps between two validations; each stage is also validated at its end."""
    log_steps: int = 20
    """Between two lines of the log."""
    workers: int = 2
    """Processes that prepare batches, at most one per core; 0 prepares them in this process."""
    compile: bool = False
    """torch.compile the generator: pays on GPUs in runs of more than a few minutes."""
    init: Path | None = None
    """Weights file of a generator to start from in place of random weights."""
    init_estimator: Path | None = None
    """Weights file of a statistics network to start from in place of random weights."""

    @property
    def learned_from(self) -> str:
        """The clips, in words."""
        return f"{', '.join(Path(name).name for name in self.data)} (split {self.split})"

    def __post_init__(self) -> None:
        if not self.data:
            raise TalkfaceError("--data names no data set.", "Give one, or several with commas: --data lrw,grid")
        for name in ("log_steps", "validation_steps", "keep"):
            if getattr(self, name) < 1:
                flag = f"--{name.replace('_', '-')}"
                raise TalkfaceError(f"{flag} {getattr(self, name)} is less than 1.", "Give a number of at least 1.")


class Diverged(TalkfaceError):
    """A loss or a weight is no longer a number, or a loss has exploded."""


class StageProgress(NamedTuple):
    """A stage of the curriculum and where in the run it stands."""

    stage: Stage
    begin: int
    """Steps of the stages before it."""

    def progress(self, step: int) -> float:
        """Share of the stage that is done when `step` steps of the run are."""
        return (step - self.begin) / self.stage.steps


@dataclass
class Step:
    """What `on_step` is told."""

    stage: str
    step: int
    """Steps done, all stages counted."""
    total: int
    losses: dict[str, float]
    frames_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Report:
    """What a call of `train` did."""

    out: Path
    step: int
    total: int
    finished: bool
    generator: Path
    seconds: float
