"""The Jensen-Shannon estimate of mutual information (paper Eq. 7, 8) by a trained statistics network T.

Shapes: N frames, D features of the encoders.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from talkface.config import ALIGNED_LIPS, FPS
from talkface.model.amie import APART, StatisticsNetwork
from talkface.model.checkpoint import load_estimator
from talkface.model.inference import crop_corner

BLOCK = 256  # pictures or windows of speech encoded together
GAP = round(APART * FPS + 0.5)  # frames between the moments of a marginal pair
SHIFTS = 8  # marginal pairs of each frame, at most


class MutualInformation:
    """Scores frames and speech by T, one clip at a time.

    Args:
        estimator: T, trained on real frames, in eval mode.
        device: where T is.
    """

    def __init__(self, estimator: StatisticsNetwork, device: torch.device | str = "cpu") -> None:
        self.estimator, self.device = estimator, device
        height, width = estimator.config.height, estimator.config.width
        left, top = (0, 0) if height == 256 else crop_corner(np.array(ALIGNED_LIPS, np.float32))
        self.window = np.s_[:, top : top + height, left : left + width]

    @torch.inference_mode()
    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        """uint8 RGB (N, 256, 256, 3), aligned -> float32 (N, D): T's features of the mouth's place in each."""
        rows = []
        for start in range(0, len(frames), BLOCK):
            crops = np.ascontiguousarray(frames[start : start + BLOCK][self.window])
            pictures = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float() / 255
            rows.append(self.estimator.encode_frame(pictures).cpu().numpy())
        return np.concatenate(rows)

    @torch.inference_mode()
    def encode_speech(self, windows: np.ndarray) -> np.ndarray:
        """float32 (N, 20, 13) MFCC windows -> float32 (N, D)."""
        return self.estimator.audio_encoder(torch.from_numpy(windows).to(self.device)).cpu().numpy()

    @torch.inference_mode()
    def sums(self, image: np.ndarray, speech: np.ndarray) -> dict[str, np.ndarray]:
        """The sums of `mi` and `mi_auc` for the N frames of a clip and their speech.

        Args:
            image: float32 (N, D), from `encode_frames`.
            speech: float32 (N, D), from `encode_speech`.
        """
        image_ND, speech_ND = (torch.from_numpy(x).to(self.device) for x in (image, speech))
        joint = self.estimator.score(image_ND, speech_ND).cpu().numpy()
        first, second = marginal_pairs(len(image))
        marginal = self.estimator.score(image_ND[first], speech_ND[second]).cpu().numpy()
        return {"mi": information_sums(joint, marginal), "mi_auc": ranking_sums(joint[first], marginal)}


def load_mutual_information(path: Path | None = None, device: torch.device | str = "cpu") -> MutualInformation:
    """Mutual information by the statistics network in a file; None takes the bundled one.

    Raises:
        TalkfaceError: there is no such file, or it does not hold a statistics network.
    """
    return MutualInformation(load_estimator(path, device), device)


def information_sums(joint: np.ndarray, marginal: np.ndarray) -> np.ndarray:
    """The sums that one clip adds to the Jensen-Shannon estimate (Eq. 7).

    Args:
        joint: (N,) scores T(f_i, a_i) of frames with their own sound.
        marginal: (M,) scores T(f_j, a_k) of frames with the sound of other moments of the clip.

    Returns:
        float64 (2,): N times the estimate of this clip, and N; zeros where there are no marginal pairs.
    """
    if not len(marginal):
        return np.zeros(2)
    joint, marginal = joint.astype(np.float64), marginal.astype(np.float64)
    estimate = -np.logaddexp(0, -joint).mean() - np.logaddexp(0, marginal).mean()
    return np.array([estimate * len(joint), len(joint)])


def ranking_sums(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The sums that one clip adds to `mi_auc`: how often a frame's own sound scores above another moment's.

    Args:
        own: (M,) scores of frames with their own sound.
        other: (M,) scores of the same frames with the sound of other moments.

    Returns:
        float64 (2,): pairs won, a tie counting half, and pairs.
    """
    won = (own > other).sum() + 0.5 * (own == other).sum()
    return np.array([won, len(own)], np.float64)


def marginal_pairs(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames and the moments, at least 0.3 s away in the same clip, whose sound each is paired with (j and k of Eq. 7).

    Args:
        frames: of the clip.

    Returns:
        Two int64 (M,): j and k; empty for a clip that is too short.
    """
    if frames < 2 * GAP:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    index = np.arange(frames)
    shifts = np.unique(np.linspace(GAP, frames - GAP, SHIFTS).round().astype(int))
    pairs = [(index, (index + shift) % frames) for shift in shifts]
    pairs = [(j[np.abs(j - k) >= GAP], k[np.abs(j - k) >= GAP]) for j, k in pairs]
    return np.concatenate([j for j, _ in pairs]), np.concatenate([k for _, k in pairs])
