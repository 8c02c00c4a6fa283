"""The stage "estimator": the statistics network T of AMIE learns from real frames and their sound (paper 3.2).

At first T's two encoders learn lip points, each by itself: the Image Encoder those of the frame, the Audio Encoder how
they differ from the clip's other moments. The paper does not say where T's encoders start. From random weights, T
stayed at chance on real frames for a thousand steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkface.data.moments import MomentBatch
from talkface.model.amie import ESTIMATES, StatisticsNetwork, other_moments
from talkface.model.audio import LIP_POINTS
from talkface.train.optimizing import EMA, Synchronise, optimizer_step
from talkface.train.presets import ObjectiveConfig

LIP_SCALE = 3.0  # px that count as 1
PAIRS = 4  # marginal pairs of each frame
WARM_STEPS = 100  # over which the rate rises
LAST_RATE = 0.05  # of the rate, at the end


class EstimatorStage:
    """T, the heads that read lip points from its encoders, and their optimiser.

    Args:
        statistics: T.
        config: rates, and which estimate is maximised.
        moments: moments of each clip in a batch.
        synchronise: averages gradients over the processes that train together.
    """

    def __init__(
        self,
        statistics: StatisticsNetwork,
        config: ObjectiveConfig,
        moments: int,
        synchronise: Synchronise | None = None,
    ) -> None:
        self.statistics, self.config, self.moments, self.synchronise = statistics, config, moments, synchronise
        features, device = statistics.config.features, next(statistics.parameters()).device
        self.heads = nn.ModuleList(nn.Linear(features, 2 * LIP_POINTS) for _ in range(2)).to(device)
        learned = [*statistics.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.AdamW(learned, config.estimator_learning_rate, weight_decay=0.02)
        self.ema = EMA(statistics, 0.995)

    def step(self, step: int, progress: float, batch: MomentBatch) -> dict[str, Tensor]:
        """One step; the loss terms by name.

        Args:
            step: of this stage.
            progress: share of the stage that is done.
            batch: real moments.
        """
        self.statistics.train()
        terms = self.lip_losses(batch) if progress < self.config.estimator_lips else self.information_loss(batch)
        rate = self.config.estimator_learning_rate * self._rate(step, progress)
        optimizer_step(self.optimizer, terms, self.config.clip_norm, rate, self.synchronise)
        self.ema.update(self.statistics)
        return {name: value.detach() for name, value in terms.items()}

    def lip_losses(self, batch: MomentBatch) -> dict[str, Tensor]:
        """Distance of the lip points that the encoders give, in units of `LIP_SCALE`."""
        wanted = batch.lips.flatten(1) / LIP_SCALE
        seen = self.heads[0](self.statistics.encode_frame(batch.frames))
        heard = self.heads[1](self.statistics.audio_encoder(batch.windows))
        return {
            "image_lips": F.smooth_l1_loss(seen, wanted),
            "audio_lips": F.smooth_l1_loss(self._of_clip(heard), self._of_clip(wanted)),
        }

    def information_loss(self, batch: MomentBatch) -> dict[str, Tensor]:
        """Minus the estimate of the mutual information (Eq. 6 or 7)."""
        partner = other_moments(len(batch.frames) // self.moments, self.moments, 1, PAIRS).to(batch.frames.device)
        scores = self.statistics.joint_and_marginal(batch.frames, batch.windows, partner)
        return {"statistics": -ESTIMATES["js" if self.config.estimate == "none" else self.config.estimate](*scores)}

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on, but for T itself."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict(),
            "heads": self.heads.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a state."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])
        self.heads.load_state_dict(state["heads"])

    def _of_clip(self, points: Tensor) -> Tensor:
        """Points (B, D) less their mean over the moments of each clip."""
        clips = points.unflatten(0, (-1, self.moments))
        return (clips - clips.mean(1, keepdim=True)).flatten(0, 1)

    def _rate(self, step: int, progress: float) -> float:
        """Factor on the learning rate; it rises and falls once in each of the two parts of the stage."""
        lips = self.config.estimator_lips
        inside = progress / lips if progress < lips else (progress - lips) / (1 - lips)
        rise = min(1.0, (step + 1) / WARM_STEPS) if progress < lips or not lips else 1.0
        return rise * (1 - (1 - LAST_RATE) * inside)
