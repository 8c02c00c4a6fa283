"""The options of `talkface eval`: one class for each kind of evaluation, and what they have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from talkface.errors import TalkfaceError

METRICS = ("psnr", "psnr_lineage", "ssim", "lmd", "mouth_r", "opening", "mouth", "sync", "mi", "cpbd", "life", "lse")
"""The names that `--metrics` takes."""

DEFAULT_METRICS = tuple(name for name in METRICS if name != "lse")
METRIC_OF_COLUMN = {
    "lmd_128": "lmd",
    "lmd_iod": "lmd",
    "mouth_move": "mouth_r",
    "mouth_open": "opening",
    "closed": "opening",
    "closed_real": "opening",
    "mouth_kid": "mouth",
    "mouth_kid_real": "mouth",
    "teeth": "mouth",
    "dark": "mouth",
    "mouth_sharp": "mouth",
    "sync_offset": "sync",
    "mi_real": "mi",
    "mi_auc": "mi",
    "mi_auc_real": "mi",
    "cpbd_real": "cpbd",
    "blinks": "life",
    "blinks_real": "life",
    "head_speed": "life",
    "head_speed_real": "life",
    "lse_c": "lse",
    "lse_d": "lse",
    "lse_offset": "lse",
}
"""Columns that `--metrics` takes as well, and the metric that computes them."""

WITHOUT_WEIGHTS = {
    "fid": "FID needs an Inception network trained on ImageNet",
    "csim": "CSIM needs a face recognition network",
}
IDENTITIES = ("first", "closest-mouth", "random")
ROWS = ("still", "wrong_sound", "model", "true_lips")
"""Rows of a data set's table: the static-photo baseline, the mismatched-audio baseline, the generator, and the
generator with the real lips in place of predicted ones."""


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """Which metrics are computed, and with which networks."""

    metrics: tuple[str, ...] | None = None
    """Some of `METRICS`. None takes all that work without weights of the user, and lse if `syncnet` is given."""

    estimator: Path | None = None
    """File of the statistics network T for `mi`; None takes the bundled one."""

    syncnet: Path | None = None
    """File of SyncNet's published weights (syncnet_v2.model) for `lse`."""

    device: str = "auto"
    """auto, cpu, cuda or mps."""

    seed: int = 0
    """Seed of mismatched audio, random identity frames, the halves of `mouth_kid_real`, and the bootstrap."""

    def __post_init__(self) -> None:
        for name in self.metrics or ():
            _check_metric(name)
        if self.syncnet is not None and "lse" not in self.wanted:
            raise TalkfaceError(
                f"--syncnet is used only by lse, which is not one of --metrics {','.join(self.metrics or ())}.",
                "Add lse to --metrics, or leave out --syncnet.",
            )
        if "lse" in self.wanted and self.syncnet is None:
            raise TalkfaceError(
                "lse needs SyncNet's weights, which are not part of talkface.",
                "Give the path of the published syncnet_v2.model with --syncnet.",
            )

    @property
    def wanted(self) -> tuple[str, ...]:
        """The requested metrics, each once, in the order of `METRICS`."""
        default = DEFAULT_METRICS if self.syncnet is None else METRICS
        requested = {METRIC_OF_COLUMN.get(name, name) for name in self.metrics or default}
        return tuple(name for name in METRICS if name in requested)


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where results are written."""

    json: Path | None = None
    """File of the report as JSON."""

    csv: Path | None = None
    """File with one line for each clip and row."""

    figures: Path | None = None
    """Folder of pictures: strips, curves, scatter plot."""


@dataclass(frozen=True, kw_only=True)
class DatasetEval(ScoringOptions, OutputOptions):
    """Evaluation of a generator on a split of a preprocessed data set."""

    data: str | Path | None = None
    """Name of a data set below $TALKFACE_DATA, or a folder. None takes lrw, else grid, else the bundled sample."""

    split: str = "test"
    """train, val or test."""

    weights: Path | None = None
    """The generator's .safetensors; None takes the bundled one."""

    identity: str = "first"
    """The frame of a clip that serves as the photo: first, closest-mouth (the most closed) or random (by the seed)."""

    limit: int | None = None
    """Score only this many clips, evenly spaced over the split; None scores all."""

    rows: tuple[str, ...] = ROWS
    """Which of `ROWS` to compute. The paper's generator takes no lips, so it has no row true_lips."""

    ablation: tuple[Path, ...] = ()
    """More generators, for the ablation strips of `figures` (paper Fig. 6)."""

    workers: int = 0
    """Number of clips scored at the same time, one thread each. 0 takes one per CPU core, and one on a GPU."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """The requested metrics, without life unless it is named: generated frames of a data set are still."""
        return tuple(name for name in super().wanted if name != "life" or self.metrics)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.identity not in IDENTITIES:
            raise TalkfaceError(
                f"--identity {self.identity} is not known: expected one of {', '.join(IDENTITIES)}.",
                f"Use --identity {IDENTITIES[0]}.",
            )
        if not self.rows or not set(self.rows) <= set(ROWS):
            raise TalkfaceError(
                f"--rows {','.join(self.rows)} is not known: expected some of {', '.join(ROWS)}.",
                f"Use --rows {','.join(ROWS)}.",
            )
        if self.limit is not None and self.limit < 1:
            raise TalkfaceError(
                f"--limit {self.limit} is not a valid number of clips: expected at least 1.", "Use --limit 1 or more."
            )
        if "life" in self.wanted:
            raise TalkfaceError(
                "life needs videos: generated frames of a data set neither blink nor move their heads (--motion 0).",
                "Compare videos: talkface eval REAL.mp4 FAKE.mp4 --metrics life",
            )
        if "lse" in self.wanted:
            raise TalkfaceError(
                "lse needs videos with sound at 16 kHz and cannot be computed from the clips of a data set.",
                "Compare videos: talkface eval REAL.mp4 FAKE.mp4 --metrics lse --syncnet syncnet_v2.model",
            )


@dataclass(frozen=True, kw_only=True)
class PairEval(ScoringOptions, OutputOptions):
    """Comparison of a generated video with the real one."""

    real: Path
    """The real video."""

    fake: Path
    """A generated video of the same speech, by any system."""


@dataclass(frozen=True, kw_only=True)
class PairListEval(ScoringOptions, OutputOptions):
    """Comparison of several generated videos with the real ones."""

    pairs: Path
    """A CSV with a real and a generated video per line; paths are relative to the folder of the CSV."""


def _check_metric(name: str) -> None:
    if name in WITHOUT_WEIGHTS:
        raise TalkfaceError(
            f"{name} is not computed: {WITHOUT_WEIGHTS[name]}, and no library that talkface uses contains its weights.",
            f"Leave {name} out of --metrics, or score the rendered videos with another tool.",
        )
    if name not in METRICS and name not in METRIC_OF_COLUMN:
        raise TalkfaceError(
            f"--metrics {name} is not known: expected some of {', '.join(METRICS)}.", f"Use --metrics {METRICS[0]}."
        )
