"""The Jensen-Shannon estimate of mutual information (paper Eq. 7, 8) by a trained statistics network T.

Shapes: N frames, D features of the encoders.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import torch

from talkface.model.amie import StatisticsNetwork
from talkface.model.checkpoint import load_estimator
from talkface.model.inference import with_audio_context

BLOCK = 256  # windows of speech encoded together


class MutualInformation:
    """Scores frames and speech by T, one clip at a time.

    Args:
        estimator: T, trained on real frames, in eval mode.
        device: where T is.
        seed: seed of the marginal pairs.
    """

    def __init__(self, estimator: StatisticsNetwork, device: torch.device | str = "cpu", seed: int = 0) -> None:
        self.estimator, self.device, self.seed = estimator, device, seed

    @torch.inference_mode()
    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        """uint8 RGB (N, 256, 256, 3), aligned -> float32 (N, D): T's features of the generator's window of each."""
        x, y, side = self.estimator.config.window
        crops = np.ascontiguousarray(frames[:, y : y + side, x : x + side])
        pictures = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float() / 255
        return self.estimator.encode_frame(pictures).cpu().numpy()

    @torch.inference_mode()
    def encode_speech(self, windows: np.ndarray) -> np.ndarray:
        """float32 (N, 20, 13) MFCC windows -> float32 (N, D)."""
        stream, encoded = with_audio_context(windows, self.estimator.config.audio_offsets), []
        while block := list(islice(stream, BLOCK)):
            encoded.append(self.estimator.audio_encoder(torch.from_numpy(np.stack(block)).to(self.device)).cpu())
        return torch.cat(encoded).numpy()

    @torch.inference_mode()
    def sums(self, image: np.ndarray, speech: np.ndarray) -> np.ndarray:
        """The sums of `information_sums` for the N frames of a clip and their speech.

        Args:
            image: float32 (N, D), from `encode_frames`.
            speech: float32 (N, D), from `encode_speech`.
        """
        partner = other_moments(len(image), self.seed)
        image_ND, speech_ND = (torch.from_numpy(x).to(self.device) for x in (image, speech))
        joint = self.estimator.score(image_ND, speech_ND).cpu().numpy()
        marginal = self.estimator.score(image_ND, speech_ND[partner]).cpu().numpy()
        return information_sums(joint, marginal)


def load_mutual_information(
    path: Path | None = None, device: torch.device | str = "cpu", seed: int = 0
) -> MutualInformation:
    """Mutual information by the statistics network in a file; None takes the bundled one.

    Raises:
        TalkfaceError: there is no such file, or it does not hold a statistics network.
    """
    return MutualInformation(load_estimator(path, device), device, seed)


def information_sums(joint: np.ndarray, marginal: np.ndarray) -> np.ndarray:
    """The sums that one clip adds to the estimate.

    Args:
        joint: (N,) scores T(f_i, a_i) of frames with their own sound.
        marginal: (N,) scores T(f_j, a_k) of frames with the sound of other frames.

    Returns:
        float64 (2,): sum of -softplus(-T_joint) - softplus(T_marginal), and N.
    """
    joint, marginal = joint.astype(np.float64), marginal.astype(np.float64)
    return np.array([-np.logaddexp(0, -joint).sum() - np.logaddexp(0, marginal).sum(), len(joint)])


def other_moments(frames: int, seed: int) -> np.ndarray:
    """For each frame the index of another frame, whose sound it is scored with; each index is used once.

    Args:
        frames: number of frames.
        seed: seed of the choice.

    Returns:
        int64 (frames,). A single frame gets its own index.
    """
    if frames < 2:
        return np.zeros(frames, np.int64)
    order = np.random.default_rng(seed).permutation(frames)
    partner = np.empty(frames, np.int64)
    partner[order] = np.roll(order, 1)
    return partner
