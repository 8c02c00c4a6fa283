"""The stage "visemes": the MFCC window encoder learns mouth classes of synthetic speech. Not in the paper."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkface.data.augment import distort_sound
from talkface.data.visemes import VISEMES, VisemeBatch
from talkface.model.audio import WindowEncoder
from talkface.train.optimizing import EMA, Synchronise, optimizer_step
from talkface.train.presets import LipsConfig


class VisemesStage:
    """The window encoder, a linear layer for the classes, and their optimiser.

    Args:
        encoder: what is trained.
        config: rates.
        device: where the encoder is.
        augment: distort the sound.
        synchronise: averages gradients over the processes that train together.
    """

    def __init__(
        self,
        encoder: WindowEncoder,
        config: LipsConfig,
        device: torch.device | str = "cpu",
        augment: bool = True,
        synchronise: Synchronise | None = None,
    ) -> None:
        self.encoder, self.config, self.augment, self.synchronise = encoder, config, augment, synchronise
        self.head = nn.Linear(encoder.out.out_features, len(VISEMES)).to(device)
        parameters = [*encoder.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay)
        self.ema = EMA(encoder, config.ema)

    def step(self, step: int, progress: float, batch: VisemeBatch) -> dict[str, Tensor]:
        """One step; the loss by name."""
        self.encoder.train()
        windows = distort_sound(batch.windows) if self.augment else batch.windows
        terms = {"visemes": F.cross_entropy(self.head(self.encoder(windows)), batch.classes)}
        rate = self.config.learning_rate * (1 - 0.95 * progress)
        optimizer_step(self.optimizer, terms, self.config.clip_norm, rate, self.synchronise)
        self.ema.update(self.encoder)
        return {name: value.detach() for name, value in terms.items()}

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on, but for the encoder itself."""
        return {
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a state."""
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])
