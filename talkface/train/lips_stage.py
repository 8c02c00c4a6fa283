"""The stage "lips": the Audio Encoder learns lip points and closures from the speech of real clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from talkface.config import EYE_DISTANCE
from talkface.data.augment import distort_sound
from talkface.data.speech import LipBatch, SpeechClip
from talkface.face.landmarks import mouth_opening
from talkface.metrics.correlation import correlation, correlation_sums, opening_std_ratio
from talkface.model.audio import LIFE, AudioEncoder, Expression, expressive_lips
from talkface.model.lips import CLOSED, opening_direction
from talkface.train.optimizing import EMA, Synchronise, optimizer_step
from talkface.train.presets import LipsConfig


def lip_shape_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Distance of lip points (..., 40, 2) px, each mouth's mean taken off as in LMD, and a quarter of the means' own.

    What all points share is mostly the movement of the head, which no sound foretells. Returns (...,).
    """
    error = predicted - true
    place = error.mean(-2, keepdim=True)
    distance = torch.linalg.vector_norm(error - place, dim=-1).mean(-1)
    return distance + torch.linalg.vector_norm(place[..., 0, :], dim=-1) / 4


def movement_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """`lip_shape_loss`'s distance with the mean over the sequence taken off both: (B, T, 40, 2) px -> (B, T)."""
    error = (predicted - predicted.mean(1, keepdim=True)) - (true - true.mean(1, keepdim=True))
    error = error - error.mean(-2, keepdim=True)
    return torch.linalg.vector_norm(error, dim=-1).mean(-1)


class LipsStage:
    """The Audio Encoder and its optimiser.

    Args:
        encoder: what is trained; its feature statistics and opening direction are set from `clips`.
        config: weights and rates.
        clips: the training clips.
        fresh: set the statistics; False where a checkpoint brings them.
        augment: distort MFCC windows.
        synchronise: averages gradients over the processes that train together.
    """

    def __init__(
        self,
        encoder: AudioEncoder,
        config: LipsConfig,
        clips: Sequence[SpeechClip],
        fresh: bool = True,
        augment: bool = True,
        synchronise: Synchronise | None = None,
    ) -> None:
        self.encoder, self.config, self.synchronise = encoder, config, synchronise
        self.distorts = augment and encoder.windows is not None
        if fresh:
            encoder.direction.copy_(opening_direction([torch.from_numpy(clip.lips[0]) for clip in clips]))
        if fresh and encoder.windows is None:
            sample = np.concatenate([clip.features[0][::7] for clip in clips]).astype(np.float32)
            encoder.feature_mean.copy_(torch.from_numpy(sample.mean(0)))
            encoder.feature_scale.copy_(torch.from_numpy(sample.std(0) + 1e-3))
        self.optimizer = torch.optim.AdamW(encoder.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        self.ema = EMA(encoder, config.ema)

    def step(self, step: int, progress: float, batch: LipBatch) -> dict[str, Tensor]:
        """One step; the loss terms by name."""
        self.encoder.train()
        features = distort_sound(batch.features) if self.distorts else batch.features
        audio = self.encoder(features, batch.photo_lips)
        total = batch.counts.sum().clamp(min=1)
        shape = (lip_shape_loss(audio.lips, batch.lips) * batch.counts).sum() / total
        movement = (movement_loss(audio.lips, batch.lips) * batch.counts).sum() / total
        closure = F.binary_cross_entropy_with_logits(
            audio.closed_logit, batch.shut, batch.shut_counts, reduction="sum"
        ) / batch.shut_counts.sum().clamp(min=1)
        terms = {
            "lip_shape": self.config.shape_weight * shape,
            "lip_movement": self.config.movement_weight * movement,
            "lip_closure": self.config.closure_weight * closure,
        }
        rate = self._learning_rate(progress)
        optimizer_step(self.optimizer, terms, self.config.clip_norm, rate, self.synchronise)
        self.ema.update(self.encoder)
        return {name: value.detach() for name, value in terms.items()}

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on, but for the encoder itself."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a state."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])

    def _learning_rate(self, progress: float) -> float:
        """One cycle: up over the first tenth, then down along a cosine."""
        if progress < 0.1:
            return self.config.learning_rate * (0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * progress / 0.1)))
        return self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - 0.1) / 0.9))


@torch.inference_mode()
def lip_figures(encoder: AudioEncoder, clips: Sequence[SpeechClip], how: Expression | None = LIFE) -> dict[str, float]:
    """How well lips follow the sound on unseen clips, the first frame of each being the photo.

    Args:
        encoder: in eval mode.
        clips: of `speech_clips`, without copies.
        how: constants of `expressive_lips`; None takes the likeliest lips as they are.

    Returns:
        r: correlation of the opening with the real one; share: lip distance over the static photo's; spread: ratio of
        the openings' standard deviations; mean: ratio of mean openings; closed and real_closed: share of frames with an
        opening under 2 %; jerk: ratio of the mean changes from frame to frame.
    """
    sums, distance, still = np.zeros(3), 0.0, 0.0
    real_openings, fake_openings, jerks = [], [], np.zeros(2)
    device = encoder.direction.device
    for clip in clips:
        lips = torch.from_numpy(clip.lips[0]).to(device)
        audio = encoder(torch.from_numpy(clip.features[0].astype(np.float32)).to(device)[None], lips[:1])
        fake = (audio.lips if how is None else expressive_lips(audio, encoder.direction, 1.0, how))[0]
        distance += float(_distance(fake, lips).sum())
        still += float(_distance(lips[:1].expand_as(lips), lips).sum())
        a, b = (mouth_opening(x.cpu().numpy(), EYE_DISTANCE) for x in (lips, fake))
        sums += correlation_sums(a, b)
        jerks += np.abs(np.diff(b)).sum(), np.abs(np.diff(a)).sum()
        real_openings.append(a)
        fake_openings.append(b)
    real, made = np.concatenate(real_openings), np.concatenate(fake_openings)
    return {
        "r": float(correlation(sums)),
        "share": distance / still,
        "spread": float(opening_std_ratio(sums)),
        "mean": float(made.mean() / real.mean()),
        "closed": float((made < CLOSED).mean()),
        "real_closed": float((real < CLOSED).mean()),
        "jerk": float(jerks[0] / jerks[1]),
    }


def _distance(a: Tensor, b: Tensor) -> Tensor:
    error = a - b
    return torch.linalg.vector_norm(error - error.mean(-2, keepdim=True), dim=-1).mean(-1)
