"""How the networks are trained: the one configuration class, its presets, and the ablations of the paper's Table 3."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from talkface.errors import TalkfaceError
from talkface.model.generator import GeneratorConfig

STAGES = ("visemes", "sound", "lips", "full")


@dataclass(frozen=True)
class Stage:
    """One lesson of the curriculum."""

    lesson: str
    """"visemes": audio encoder, mouth classes of synthetic speech. "sound": audio encoder, lip shapes of real clips;
    besides, what the photo's lip points tell. "lips": decoder, true lip shapes in place of sound. "full": the paper's
    objective (Eq. 13)."""
    steps: int
    """Optimiser steps."""
    batch: int
    """Sequences (or single moments of sound) in a step, over all processes; even."""
    rollout: int = 1
    """Frames generated one after the other from each sequence, every one fed the one before it."""
    learning_rate: float = 3e-4
    """Peak of a cosine that begins with a warm-up."""

    def __post_init__(self) -> None:
        if self.lesson not in STAGES:
            raise TalkfaceError(f"Lesson {self.lesson!r} is not known.", f"Use one of {', '.join(STAGES)}.")
        if self.steps < 1 or self.rollout < 1:
            raise TalkfaceError(
                f"Lesson {self.lesson!r} has {self.steps} steps of rollout {self.rollout}; both must be at least 1.",
                f"Use --set {self.lesson}.steps=N, or leave the lesson out with --lessons.",
            )
        if self.batch < 2 or self.batch % 2:
            raise TalkfaceError(
                f"Batch {self.batch} of lesson {self.lesson!r} is not an even number of at least 2.",
                f"Use --set {self.lesson}.batch=8, say: each sequence lends another its sound.",
            )


@dataclass(frozen=True)
class TrainConfig:
    """How the networks are trained. Defaults (preset "small") are the recipe that the bundled weights ended in."""

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    """Shape of the networks."""
    stages: tuple[Stage, ...] = (
        Stage("visemes", 1500, 256, learning_rate=1e-3),
        Stage("sound", 2000, 256, learning_rate=5e-4),
        Stage("lips", 2400, 24, learning_rate=6e-4),
        Stage("full", 1100, 8, rollout=3, learning_rate=2e-4),
    )
    """The curriculum, in order."""
    gan_weight: float = 0.03
    """Weight of L_GAN in Eq. 13 (1 in the paper; here the other terms are means, not sums)."""
    perceptual_weight: float = 6.0
    """lambda_1 of Eq. 13: perceptual loss."""
    perceptual_crop: str = "lips"
    """Where phi looks: "frame", the whole window as in the paper, or "lips", the lip area at a third of the cost."""
    perceptual_last_frames: int = 1
    """How many of a rollout's last frames phi looks at; 0: all of them, as in the paper."""
    lip_weight: float = 10.0
    """lambda_2 of Eq. 13: L1 on the lip area."""
    mi_weight: float = 0.02
    """lambda_3 of Eq. 13: mutual information."""
    frame_weight: float = 5.0
    """L1 on the whole window; not in the paper."""
    flow_weight: float = 0.3
    """Flow at the lip points, px; not in the paper, which has no warp."""
    audio_lip_weight: float = 1.0
    """Lip shape heard in the sound; not in the paper. Above 0 this loss alone teaches it; at 0 the pictures do."""
    neutral_lip_weight: float = 1.0
    """Lip shape read off the photo; not in the paper."""
    rgb_weight: float = 2.0
    """L1 of the colour wherever it may be painted, so that it is worth showing before the mask shows it; not in the
    paper."""
    teacher_forcing: float = 0.5
    """Share of the sequences of "full" that are made from the true lips, not from those heard: what is painted between
    heard lips can only be a blur of what may be there; not in the paper."""
    mask_weight: float = 0.3
    """Size of the mask; not in the paper."""
    estimate: str = "js"
    """Mutual information: "js" (Eq. 7), "dv" (Eq. 6) or "none"."""
    asymmetric: bool = True
    """T learns from real pairs only (AMIE); False: from generated ones (MINE)."""
    attention_schedule: bool = True
    """Attention rate on the photo's lips: 0.7-0.9, then 0.1-0.3, then 1 (paper 3.3)."""
    adversaries_learning_rate: float = 2e-4
    """Of discriminator and statistics network."""
    clip_norm: float = 1.0
    """Largest norm of the generator's gradient."""
    ema: float = 0.999
    """Decay of the averaged generator, which is what is published."""
    augment: bool = True
    """Mirror, colour and sound distortions."""
    seed: int = 0
    """Of initial weights, batches and distortions."""

    def __post_init__(self) -> None:
        if self.estimate not in ("js", "dv", "none"):
            raise TalkfaceError(f"estimate {self.estimate!r} is not known.", "Use js, dv or none.")
        if self.perceptual_crop not in ("frame", "lips"):
            raise TalkfaceError(f"perceptual_crop {self.perceptual_crop!r} is not known.", "Use frame or lips.")
        if not 0 <= self.teacher_forcing <= 1:
            raise TalkfaceError(f"teacher_forcing {self.teacher_forcing} is no share.", "Use a number from 0 to 1.")
        if self.perceptual_last_frames < 0:
            raise TalkfaceError(
                f"perceptual_last_frames {self.perceptual_last_frames} is less than 0.", "Use 0 for all."
            )

    @property
    def total_steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)


TINY_GENERATOR = GeneratorConfig(window=(64, 120, 128), widths=(8, 16, 16, 32), audio_width=32, audio_features=48)

SMALL = TrainConfig()
PAPER = TrainConfig(
    generator=GeneratorConfig(
        window=(0, 0, 256), widths=(64, 128, 256, 512), audio_context=0, lip_gain=1.0, head="colour"
    ),
    stages=(Stage("full", 200_000, 16, rollout=4, learning_rate=2e-4),),
    gan_weight=0.1,
    mi_weight=0.1,
    frame_weight=1.0,
    flow_weight=0.0,
    audio_lip_weight=0.0,
    neutral_lip_weight=0.0,
    teacher_forcing=0.0,
    rgb_weight=0.0,
    mask_weight=0.0,
    perceptual_crop="frame",
    perceptual_last_frames=0,
)
TINY = replace(
    SMALL,
    generator=TINY_GENERATOR,
    stages=(
        Stage("sound", 40, 32, learning_rate=2e-3),
        Stage("lips", 60, 8, learning_rate=2e-3),
        Stage("full", 20, 4, rollout=2, learning_rate=1e-3),
    ),
)
PRESETS = {"small": SMALL, "paper": PAPER, "tiny": TINY}

# Table 3. Each row says what it adds to the baseline: mutual information (MINE: DV estimate, T trained on generated
# pairs), JS in place of DV, asymmetric training, dynamic attention (DA). AMIE = MINE + Asy. + JS; ours = AMIE + DA.
_OFF = {"estimate": "none", "asymmetric": False, "attention": False}
ABLATIONS: dict[str, dict[str, object]] = {
    "baseline": _OFF,
    "mine": {**_OFF, "estimate": "dv"},
    "da": {**_OFF, "attention": True},
    "mine-da": {**_OFF, "estimate": "dv", "attention": True},
    "mine-js": {**_OFF, "estimate": "js"},
    "mine-js-da": {**_OFF, "estimate": "js", "attention": True},
    "mine-asy-da": {"estimate": "dv", "asymmetric": True, "attention": True},
    "amie": {"estimate": "js", "asymmetric": True, "attention": False},
    "full": {"estimate": "js", "asymmetric": True, "attention": True},
}
PAPER_NAMES = {
    "baseline": "Baseline",
    "mine": "(a) + MINE",
    "da": "(b) + DA",
    "mine-da": "(c) + MINE + DA",
    "mine-js": "(d) + MINE + JS",
    "mine-js-da": "(e) + MINE + JS + DA",
    "mine-asy-da": "(f) + MINE + Asy. + DA",
    "amie": "(g) + AMIE",
    "full": "Ours (+ AMIE + DA)",
}
PAPER_TABLE_3 = {  # PSNR, SSIM, LMD on LRW
    "baseline": (28.88, 0.89, 1.36),
    "mine": (29.05, 0.89, 1.38),
    "da": (29.19, 0.90, 1.37),
    "mine-da": (29.08, 0.89, 1.32),
    "mine-js": (29.33, 0.90, 1.50),
    "mine-js-da": (29.12, 0.91, 1.21),
    "mine-asy-da": (29.30, 0.90, 1.33),
    "amie": (29.41, 0.92, 1.22),
    "full": (29.64, 0.92, 1.18),
}


def ablated(config: TrainConfig, row: str) -> TrainConfig:
    """`config` with exactly what a row of Table 3 has.

    Raises:
        TalkfaceError: there is no such row.
    """
    if row not in ABLATIONS:
        raise TalkfaceError(f"Ablation {row!r} is not known.", f"Use one of {', '.join(ABLATIONS)}.")
    settings = dict(ABLATIONS[row])
    attention = bool(settings.pop("attention"))
    return replace(
        config,
        generator=replace(config.generator, attention=attention),
        attention_schedule=attention,
        **settings,
    )


def scaled(config: TrainConfig, factor: float) -> TrainConfig:
    """`config` with `factor` times the steps in each lesson, at least one.

    Raises:
        TalkfaceError: the factor is not above 0.
    """
    if not factor > 0:
        raise TalkfaceError(f"--steps-scale {factor} is not above 0.", "Use 0.1 for a tenth of the steps.")
    stages = tuple(replace(stage, steps=max(round(stage.steps * factor), 1)) for stage in config.stages)
    return replace(config, stages=stages)


def preset(name: str) -> TrainConfig:
    """The configuration of a preset ("small", "paper", "tiny") or of an ablation row, which is taken off "small".

    Raises:
        TalkfaceError: there is no such preset.
    """
    if name in PRESETS:
        return PRESETS[name]
    if name in ABLATIONS:
        return ablated(SMALL, name)
    raise TalkfaceError(
        f"--preset {name}: there is no such preset.", f"Use one of {', '.join([*PRESETS, *ABLATIONS])}."
    )
