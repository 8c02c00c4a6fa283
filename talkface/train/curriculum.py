"""What each stage of the curriculum is made of: its data, its trainer, its validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from talkface.data.moments import MomentBatches
from talkface.data.mouths import MouthBatches
from talkface.data.reader import ClipDataset
from talkface.data.sequences import SequenceBatches
from talkface.data.speech import LipBatches, SpeechClip, mfcc_clips, speech_clips, synthetic_clips
from talkface.data.visemes import VisemeBatches
from talkface.errors import TalkfaceError
from talkface.model.amie import StatisticsNetwork
from talkface.model.blocks import conv_weights_channels_last
from talkface.model.generator import Generator
from talkface.model.paper import PaperConfig, PaperGenerator
from talkface.model.recogniser import SpeechEncoder, load_speech_encoder
from talkface.train.estimator_stage import EstimatorStage
from talkface.train.estimator_validation import EstimatorValidation
from talkface.train.full_stage import FullStage
from talkface.train.lips_stage import LipsStage, lip_figures
from talkface.train.mouth_stage import MouthStage
from talkface.train.mouth_validation import MouthValidation
from talkface.train.optimizing import EMA, Synchronise
from talkface.train.presets import Stage, TrainConfig
from talkface.train.visemes_stage import VisemesStage


class Trainer(Protocol):
    """What trains one stage."""

    ema: EMA

    def step(self, step: int, progress: float, batch: Any) -> dict[str, Tensor]:
        """One step, numbered within the stage; the loss terms by name."""

    def state_dict(self) -> dict[str, Any]:
        """Everything but the networks themselves."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a state."""


@dataclass
class Networks:
    """Everything that is trained, and what is published."""

    generator: Generator | PaperGenerator
    statistics: StatisticsNetwork

    @classmethod
    def build(cls, config: TrainConfig, device: torch.device | str = "cpu") -> Networks:
        """Networks with random weights, which follow from the configuration's seed."""
        torch.manual_seed(config.seed)
        shape = config.generator
        generator = PaperGenerator(shape) if isinstance(shape, PaperConfig) else Generator(shape)
        statistics = StatisticsNetwork(config.estimator)
        for network in (generator, statistics):
            conv_weights_channels_last(network).to(device)
        return cls(generator, statistics)

    def state_dict(self) -> dict[str, Any]:
        """Weights of both."""
        return {"generator": self.generator.state_dict(), "statistics": self.statistics.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up weights."""
        self.generator.load_state_dict(state["generator"])
        self.statistics.load_state_dict(state["statistics"])


@dataclass
class RunningStage:
    """One stage at work."""

    trainer: Trainer
    network: nn.Module
    """What the trainer's average takes the place of when the stage ends."""
    batch: Callable[[int], Any]
    """The joint batch of a step of this stage."""
    validate: Callable[[nn.Module], dict[str, float]] | None = None
    """Figures of an averaged network on unseen people; None where there is no validation data."""
    score: Callable[[dict[str, float]], float] = field(default=lambda figures: 0.0)
    """What chooses the best checkpoint by these figures; smaller is better."""


class Curriculum:
    """Builds the stages of a run.

    Args:
        config: what is learned.
        networks: what is trained.
        datasets: the training clips.
        validation: clips of unseen people; may be empty.
        synthetic: folder of synthetic speech, of which the stages "visemes" and "lips" learn; None where there is none.
        workers: threads that measure the training pictures once.
        device: where the networks are.
        synchronise: averages gradients over the processes that train together.
    """

    def __init__(
        self,
        config: TrainConfig,
        networks: Networks,
        datasets: Sequence[ClipDataset],
        validation: Sequence[ClipDataset],
        synthetic: Path | None,
        workers: int,
        device: torch.device,
        synchronise: Synchronise | None,
    ) -> None:
        self.config, self.networks, self.datasets, self.validation = config, networks, datasets, validation
        self.synthetic = synthetic
        self.workers, self.device, self.synchronise = max(workers, 1), device, synchronise

    def build(self, stage: Stage, fresh: bool) -> RunningStage:
        """The stage, ready to run.

        Args:
            stage: which one.
            fresh: it begins now; False where a checkpoint inside it is about to be loaded.
        """
        return getattr(self, f"_{stage.name}")(stage, fresh)

    def _visemes(self, stage: Stage, fresh: bool) -> RunningStage:
        encoder = self._generator().audio_encoder
        if encoder.windows is None:
            raise TalkfaceError(
                "Stage visemes trains an encoder of MFCC windows; this generator takes a recogniser's features.",
                "Leave the stage out, or use --set generator.hearing=mfcc.",
            )
        speech = VisemeBatches(self.synthetic, self.config.seed)
        trainer = VisemesStage(encoder.windows, self.config.lips, self.device, self.config.augment, self.synchronise)
        return RunningStage(trainer, encoder.windows, lambda step: speech.batch(step, stage.batch))

    def _lips(self, stage: Stage, fresh: bool) -> RunningStage:
        encoder, config = self._generator().audio_encoder, self.config.lips
        recogniser = None if encoder.windows is not None else load_speech_encoder(device=self.device)
        clips = self._speech(self.datasets, recogniser, config.copies if self.config.augment else 0)
        trainer = LipsStage(encoder, config, clips, fresh, self.config.augment, self.synchronise)
        augment = self.config.augment
        noise = config.landmark_noise if augment else 0.0
        synthetic = synthetic_clips(self.synthetic, recogniser) if self.synthetic else []
        batches = LipBatches(clips, self.config.seed, landmark_noise=noise, mirror=augment, synthetic=synthetic)
        unseen = self._speech(self.validation, recogniser, 0) if self._validation_has_sound() else []

        def validate(network: nn.Module) -> dict[str, float]:
            return lip_figures(network, unseen, encoder.expression)  # type: ignore[arg-type]

        return RunningStage(
            trainer,
            encoder,
            lambda step: batches.batch(step, stage.batch, stage.rollout),
            validate if unseen else None,
            lambda figures: figures["share"],
        )

    def _mouth(self, stage: Stage, fresh: bool) -> RunningStage:
        generator = self._generator()
        relit = self.config.mouth.relit_share
        batches = MouthBatches(self.datasets, self.config.seed, self.workers, self.config.augment, relit)
        trainer = MouthStage(generator, self.config.mouth, self.device, self.synchronise)
        judge = MouthValidation(self.validation, device=self.device) if self.validation else None

        def validate(network: nn.Module) -> dict[str, float]:
            return judge.figures(network) if judge else {}  # type: ignore[arg-type]

        return RunningStage(
            trainer,
            generator,
            lambda step: batches.batch(step, stage.batch, stage.rollout),
            validate if judge and judge.items else None,
            lambda figures: figures["kid_closed"] + figures["kid_teeth"],
        )

    def _estimator(self, stage: Stage, fresh: bool) -> RunningStage:
        size = (self.config.estimator.height, self.config.estimator.width)
        batches = MomentBatches(self.datasets, size, self.config.seed, self.config.augment)
        trainer = EstimatorStage(self.networks.statistics, self.config.full, stage.moments, self.synchronise)
        judge = EstimatorValidation(self.validation) if self._validation_has_sound() else None

        def validate(network: nn.Module) -> dict[str, float]:
            return judge.figures(network) if judge else {}  # type: ignore[arg-type]

        return RunningStage(
            trainer,
            self.networks.statistics,
            lambda step: batches.batch(step, stage.batch, stage.moments),
            validate if judge else None,
            lambda figures: -figures["mi_auc"],
        )

    def _full(self, stage: Stage, fresh: bool) -> RunningStage:
        generator = self.networks.generator
        if isinstance(generator, Generator) and generator.audio_encoder.windows is None:
            raise TalkfaceError(
                "Stage full trains generators that take MFCC windows; this one takes a recogniser's features.",
                "Leave the stage out, or use --set generator.hearing=mfcc.",
            )
        batches = self._sequences()
        trainer = FullStage(
            generator, self.networks.statistics, self.config.full, stage.moments, self.device, self.synchronise
        )
        return RunningStage(
            trainer,
            generator,
            lambda step: batches.batch(step, stage.batch, stage.moments, stage.rollout),
        )

    def _generator(self) -> Generator:
        generator = self.networks.generator
        assert isinstance(generator, Generator)  # TrainConfig sees to it
        return generator

    def _sequences(self) -> SequenceBatches:
        whole = isinstance(self.networks.generator, PaperGenerator)
        return SequenceBatches(self.datasets, self.config.seed, self.config.augment, whole)

    def _speech(
        self, datasets: Sequence[ClipDataset], recogniser: SpeechEncoder | None, copies: int
    ) -> list[SpeechClip]:
        """The clips with a recogniser's features, or with MFCC windows without one."""
        return speech_clips(datasets, recogniser, copies, self.config.seed) if recogniser else mfcc_clips(datasets)

    def _validation_has_sound(self) -> bool:
        return any(np.any(dataset.has_sound) for dataset in self.validation)
