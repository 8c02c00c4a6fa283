"""How the networks are trained: the configuration, its presets, and the ablations of the paper's Table 3."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from talkface.errors import TalkfaceError
from talkface.model.amie import EstimatorConfig
from talkface.model.generator import GeneratorConfig
from talkface.model.paper import PaperConfig

STAGES = ("visemes", "lips", "mouth", "estimator", "full")


@dataclass(frozen=True)
class Stage:
    """One stage of the curriculum."""

    name: str
    """"visemes": the MFCC window encoder learns mouth classes of synthetic speech. "lips": the Audio Encoder learns lip
    points from speech. "mouth": the other parts learn the inside of the mouth on true lips. "estimator": the statistics
    network of AMIE learns from real frames. "full": the paper's objective (Eq. 13)."""
    steps: int
    """Optimiser steps."""
    batch: int
    """Sequences (moments of sound in "visemes", clips in "estimator" and "full") in a step, over all processes."""
    rollout: int = 1
    """Frames of a sequence."""
    moments: int = 1
    """Moments of each clip, at least 0.3 s apart, in "estimator" and "full"."""

    def __post_init__(self) -> None:
        if self.name not in STAGES:
            raise TalkfaceError(
                f"Stage {self.name!r} is not a valid stage: expected one of {', '.join(STAGES)}.", "Check --stages."
            )
        for name in ("steps", "batch", "rollout", "moments"):
            if getattr(self, name) < 1:
                raise TalkfaceError(
                    f"Stage {self.name!r} has {name} {getattr(self, name)}: expected at least 1.",
                    f"Use --set {self.name}.{name}=N, or leave the stage out with --stages.",
                )
        if self.name in ("estimator", "full") and self.moments < 2:
            raise TalkfaceError(
                f"Stage {self.name!r} has 1 moment of each clip: marginal pairs need at least 2.",
                f"Use --set {self.name}.moments=2.",
            )


@dataclass(frozen=True)
class LipsConfig:
    """How the stage "lips" trains the Audio Encoder. None of it is in the paper."""

    shape_weight: float = 1.0
    """Distance of the lip points."""
    movement_weight: float = 1.0
    """The same with the mean of the sequence taken off."""
    closure_weight: float = 1.0
    """Cross-entropy of "the mouth is shut"."""
    learning_rate: float = 1e-3
    """Peak of a one-cycle schedule."""
    weight_decay: float = 0.01
    """Of AdamW."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.98
    """Decay of the averaged weights."""
    copies: int = 2
    """Distorted copies of each recording that are learned from besides."""
    landmark_noise: float = 2.0
    """px, added to the photo's lip points."""


@dataclass(frozen=True)
class MouthConfig:
    """How the stage "mouth" trains the decoder on true lip shapes. None of it is in the paper."""

    l1_weight: float = 0.4
    """L1 over the painted area."""
    l1_steps: int = 800
    """Steps before the discriminator joins."""
    warmup_steps: int = 1200
    """Steps after that in which the discriminator learns alone."""
    gan_ratio: float = 1.5
    """How hard the adversarial term pulls at the picture, against all other terms together."""
    gan_weight_limit: float = 2.5
    """Upper bound of the weight that follows from it."""
    feature_matching_weight: float = 0.15
    """Difference of the discriminator's features of real and generated mouths."""
    penalty_weight: float = 1.0
    """Gamma of the R1 gradient penalty."""
    learning_rate: float = 4e-4
    """Of the generator, at the beginning."""
    discriminator_learning_rate: float = 6e-4
    """Of the discriminator, at the beginning."""
    final_rate: float = 0.15
    """Share of both learning rates that is left at the end; they fall linearly."""
    clip_norm: float = 1.0
    """Largest norm of the generator's gradient."""
    discriminator_clip_norm: float = 5.0
    """Largest norm of the discriminator's gradient."""
    relit_share: float = 0.0
    """Share of the sequences that are shown in a brighter, warmer or colder light."""
    low_attention_share: float = 0.15
    """Share of the sequences whose photo shows its lip area at an attention rate below 0.3."""
    ema: float = 0.998
    """Decay of the averaged generator."""
    slow_ema: float = 0.9995
    """The same towards the end."""
    slow_ema_from: float = 0.6
    """Share of the stage after which the slow decay applies."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """The paper's objective (Eq. 13) and how it is minimised. The paper gives no numbers; all of them are ours."""

    gan_weight: float = 0.05
    """Weight of L_GAN (Eq. 9); 1 in the paper, whose other terms are sums."""
    perceptual_weight: float = 2.0
    """lambda_1: perceptual loss (Eq. 10)."""
    lip_weight: float = 10.0
    """lambda_2: L1 on the lip area (Eq. 11)."""
    mi_weight: float = 0.05
    """lambda_3: mutual information (Eq. 12)."""
    audio_lip_weight: float = 0.0
    """Distance of the predicted lip points, px; not in the paper."""
    estimate: str = "js"
    """Mutual information: "js" (Eq. 7), "dv" (Eq. 6) or "none"."""
    asymmetric: bool = True
    """T learns from real pairs only (AMIE); False: from generated ones (MINE)."""
    attention_schedule: bool = True
    """Attention rate on the photo's lips: 0.7-0.9, then 0.1-0.3, then 1 (paper 3.3)."""
    learning_rate: float = 2e-4
    """Of the generator."""
    adversary_learning_rate: float = 2e-4
    """Of discriminator and statistics network."""
    estimator_learning_rate: float = 5e-4
    """Of the statistics network in the stage "estimator", at the beginning of each of its parts."""
    estimator_lips: float = 1 / 3
    """Share of the stage "estimator", at its beginning, in which T's encoders learn lip points."""
    clip_norm: float = 1.0
    """Largest norm of each network's gradient."""
    ema: float = 0.999
    """Decay of the averaged generator."""

    def __post_init__(self) -> None:
        if not 0 <= self.estimator_lips < 1:
            raise TalkfaceError(
                f"estimator_lips {self.estimator_lips} is not a share: expected 0 or more, and less than 1.",
                "Use --set full.estimator_lips=0.3.",
            )
        if self.estimate not in ("js", "dv", "none"):
            raise TalkfaceError(
                f"estimate {self.estimate!r} is not a valid estimate: expected js, dv or none.",
                "Use --set full.estimate=js.",
            )


@dataclass(frozen=True)
class TrainConfig:
    """How the networks are trained. Defaults (preset "small") are the recipe of the bundled weights."""

    generator: GeneratorConfig | PaperConfig = field(default_factory=GeneratorConfig)
    """Sizes of the generator; PaperConfig builds the paper's."""
    estimator: EstimatorConfig = field(default_factory=EstimatorConfig)
    """Sizes of the statistics network of AMIE."""
    stages: tuple[Stage, ...] = (
        Stage("lips", 400, 20, rollout=30),
        Stage("mouth", 5_200, 16, rollout=2),
        Stage("estimator", 4500, 16, moments=8),
    )
    """The curriculum, in order."""
    lips: LipsConfig = field(default_factory=LipsConfig)
    """Settings of the stage "lips"."""
    mouth: MouthConfig = field(default_factory=MouthConfig)
    """Settings of the stage "mouth"."""
    full: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """Settings of the stages "full" and "estimator"."""
    augment: bool = True
    """Mirror, geometry, colour and sound distortions."""
    seed: int = 0
    """Of initial weights, batches and distortions."""

    def __post_init__(self) -> None:
        names = {stage.name for stage in self.stages}
        if isinstance(self.generator, PaperConfig) and names & {"visemes", "lips", "mouth"}:
            raise TalkfaceError("The paper's generator has the stages full and estimator only.", "Use --stages full.")

    @staticmethod
    def field_of(stage: str) -> str:
        """The field that says how a stage is trained: "lips", "mouth" or "full"."""
        return {"visemes": "lips", "lips": "lips", "mouth": "mouth"}.get(stage, "full")

    @property
    def total_steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)


SMALL = TrainConfig()
PAPER = TrainConfig(
    generator=PaperConfig(),
    estimator=EstimatorConfig(256, 256, (16, 32, 64, 128, 128, 128)),
    stages=(Stage("full", 200_000, 8, rollout=3, moments=2),),
)
TINY = TrainConfig(
    generator=GeneratorConfig(hearing="mfcc", widths=(8, 16, 24), style=16, audio_width=32),
    estimator=EstimatorConfig(widths=(8, 16, 16, 16), features=32),
    stages=(
        Stage("lips", 60, 8, rollout=20),
        Stage("mouth", 50, 4, rollout=2),
        Stage("full", 10, 2, rollout=2, moments=2),
    ),
    mouth=MouthConfig(l1_steps=30, warmup_steps=5),
)
PRESETS = {"small": SMALL, "paper": PAPER, "tiny": TINY}

# Table 3. Each row says what it adds to the baseline: mutual information (MINE: DV estimate, T trained on generated
# pairs), JS in place of DV, asymmetric training, dynamic attention (DA). AMIE = MINE + Asy. + JS; ours = AMIE + DA.
_OFF: dict[str, Any] = {"estimate": "none", "asymmetric": False, "attention": False}
ABLATIONS: dict[str, dict[str, Any]] = {
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
ABLATION_BASE = replace(
    SMALL,
    generator=GeneratorConfig(hearing="mfcc", widths=(24, 40, 64), opening_gain=1.35),
    stages=(
        Stage("lips", 400, 20, rollout=30),
        Stage("mouth", 1500, 8, rollout=2),
        Stage("estimator", 1500, 16, moments=8),
        Stage("full", 1500, 4, rollout=2, moments=2),
    ),
    lips=LipsConfig(landmark_noise=1.0),
    mouth=MouthConfig(l1_steps=1000, warmup_steps=200, gan_weight_limit=0.8),
    full=ObjectiveConfig(mi_weight=0.1),  # its gradient at the lip points is as large as that of the lip loss
)
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
        raise TalkfaceError(
            f"Ablation {row!r} is not a row of Table 3: expected one of {', '.join(ABLATIONS)}.", "Check --rows."
        )
    settings = dict(ABLATIONS[row])
    attention = bool(settings.pop("attention"))
    return replace(
        config,
        generator=replace(config.generator, attention=attention),
        full=replace(config.full, attention_schedule=attention, **settings),
    )


def scaled(config: TrainConfig, factor: float) -> TrainConfig:
    """`config` with `factor` times the steps in each stage, at least one.

    Raises:
        TalkfaceError: the factor is not above 0.
    """
    if not factor > 0:
        raise TalkfaceError(f"--steps-scale {factor} is not above 0.", "Use 0.1 for a tenth of the steps.")
    stages = tuple(replace(stage, steps=max(round(stage.steps * factor), 1)) for stage in config.stages)
    l1_steps, warmup = (max(round(n * factor), 1) for n in (config.mouth.l1_steps, config.mouth.warmup_steps))
    mouth = replace(config.mouth, l1_steps=l1_steps, warmup_steps=warmup)
    return replace(config, stages=stages, mouth=mouth)


def preset(name: str) -> TrainConfig:
    """The configuration of a preset ("small", "paper", "tiny") or of an ablation row.

    Raises:
        TalkfaceError: there is no such preset.
    """
    if name in PRESETS:
        return PRESETS[name]
    if name in ABLATIONS:
        return ablated(ABLATION_BASE, name)
    raise TalkfaceError(
        f"--preset {name}: there is no such preset.", f"Use one of {', '.join([*PRESETS, *ABLATIONS])}."
    )
