"""What `talkface eval` can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from talkface.errors import TalkfaceError

METRICS = ("psnr", "psnr_lineage", "ssim", "lmd", "mouth_r", "sync", "mi", "cpbd", "lse")
"""Each may be named after `--metrics`."""

DEFAULT_METRICS = ("psnr", "psnr_lineage", "ssim", "lmd", "mouth_r", "sync", "mi", "cpbd")
PART_OF = {
    "lmd_128": "lmd",
    "lmd_iod": "lmd",
    "mouth_move": "mouth_r",
    "sync_lag": "sync",
    "mi_real": "mi",
    "cpbd_real": "cpbd",
}
PART_OF |= {"lse_c": "lse", "lse_d": "lse", "lse_offset": "lse"}
WITHOUT_WEIGHTS = {
    "fid": "FID needs an Inception network trained on ImageNet",
    "csim": "CSIM needs a face recognition network",
}
IDENTITIES = ("first", "closest-mouth", "random")
ROWS = ("still", "wrong_sound", "model")


@dataclass(frozen=True)
class EvalConfig:
    """One evaluation: of a data set's split, of two videos, or of a list of pairs of videos."""

    data: str | Path | None = None
    """Preprocessed data set: a name below $TALKFACE_DATA or a folder. None takes lrw, or grid where there is no lrw."""

    split: str = "test"
    """train, val or test."""

    metrics: tuple[str, ...] | None = None
    """Of `METRICS`; None takes all that need no weights of the user's, and lse too where `syncnet` is given."""

    weights: Path | None = None
    """The generator's .safetensors; None takes the bundled one."""

    estimator: Path | None = None
    """The statistics network T for `mi`; None takes the bundled one."""

    syncnet: Path | None = None
    """SyncNet's published weights (syncnet_v2.model) for `lse`."""

    identity: str = "first"
    """The clip's frame that serves as the photo: first, closest-mouth (the most closed) or random (by the seed)."""

    limit: int | None = None
    """Score this many clips, spread evenly over the split; None scores all."""

    rows: tuple[str, ...] = ROWS
    """Which of still, wrong_sound and model to compute."""

    real: Path | None = None
    """A real video, to compare `fake` with. No data set is read then."""

    fake: Path | None = None
    """A generated video of the same speech, by any system."""

    pairs: Path | None = None
    """A CSV of real,fake paths, one pair a line, relative to its own folder."""

    json: Path | None = None
    """Where to write the report as JSON."""

    csv: Path | None = None
    """Where to write one line for each clip and row."""

    figures: Path | None = None
    """Folder for pictures: strips, curves, scatter."""

    ablation: tuple[Path, ...] = ()
    """More generators for the ablation strips of `figures` (paper Fig. 6)."""

    device: str = "auto"
    """auto, cpu, cuda or mps."""

    seed: int = 0
    """Of wrong sounds, random identities, mutual information's partners and the bootstrap."""

    workers: int = 0
    """Clips scored at a time, each in a thread of its own; 0 takes one for each CPU core, and one on a GPU."""

    def __post_init__(self) -> None:
        for name in self.metrics or ():
            _check_metric(name)
        if self.identity not in IDENTITIES:
            raise TalkfaceError(f"--identity {self.identity} is not known.", f"Use one of {', '.join(IDENTITIES)}.")
        if not self.rows or not set(self.rows) <= set(ROWS):
            raise TalkfaceError(f"Rows {', '.join(self.rows)!r} are not known.", f"Use some of {', '.join(ROWS)}.")
        if self.limit is not None and self.limit < 1:
            raise TalkfaceError(f"--limit {self.limit} leaves no clip.", "Give a number of clips of at least 1.")
        if (self.real is None) != (self.fake is None):
            raise TalkfaceError("Only one video was given.", "Give two: talkface eval REAL.mp4 FAKE.mp4")
        if self.real is not None and self.pairs is not None:
            raise TalkfaceError("Two videos and --pairs were given.", "Give one of them.")
        if self.syncnet is not None and "lse" not in self.wanted:
            raise TalkfaceError(
                f"--syncnet is for lse alone, which is not among --metrics {','.join(self.metrics)}.",
                "Add lse to --metrics, or leave out --syncnet.",
            )
        if "lse" in self.wanted and self.syncnet is None:
            raise TalkfaceError(
                "lse needs SyncNet's weights, which talkface may not carry.",
                "Give the path of the published syncnet_v2.model with --syncnet.",
            )
        if "lse" in self.wanted and not self.of_videos:
            raise TalkfaceError(
                "lse needs the videos with their sound at 16 kHz, which preprocessed clips do not hold.",
                "Compare videos: talkface eval REAL.mp4 FAKE.mp4 --metrics lse --syncnet syncnet_v2.model",
            )

    @property
    def of_videos(self) -> bool:
        """Whether videos are compared directly, without a data set and a generator."""
        return self.real is not None or self.pairs is not None

    @property
    def wanted(self) -> tuple[str, ...]:
        """The metrics asked for, each once, in the order of `METRICS`."""
        default = DEFAULT_METRICS if self.syncnet is None else METRICS
        asked = {PART_OF.get(name, name) for name in self.metrics or default}
        return tuple(name for name in METRICS if name in asked)


def _check_metric(name: str) -> None:
    if name in WITHOUT_WEIGHTS:
        raise TalkfaceError(
            f"{name} is not computed: {WITHOUT_WEIGHTS[name]}, and no library brings such weights with it.",
            f"Leave {name} out of --metrics, or score the rendered videos with a tool of your own.",
        )
    if name not in METRICS and name not in PART_OF:
        raise TalkfaceError(f"--metrics {name} is not known.", f"Choose from {', '.join(METRICS)}.")
