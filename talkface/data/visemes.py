"""Synthetic speech: MFCC steps with the mouth class of each, for the first lesson of the audio encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from talkface.config import FPS, MFCC_STEPS, STEPS_PER_SECOND, data_root
from talkface.errors import TalkfaceError

# Class names, and the IPA symbols in each.
# ruff: noqa: RUF001 (some of them look like Latin letters)
VISEMES = (
    ("p b m", "pbm"),
    ("f v", "fvɱ"),
    ("th", "θð"),
    ("t d s z n l", "tdsznlɾɬɭɖʈ"),
    ("sh ch j", "ʃʒɕʑç"),
    ("k g h", "kɡghxɣqχħʕʔŋɴcɟ"),
    ("r", "rɹɻʀʁ"),
    ("w", "wʍɥβ"),
    ("i e", "ieɪɛjyʏ"),
    ("a", "aæɑɐʌ"),
    ("o", "oɔɒø"),
    ("u", "uʊ"),
    ("schwa", "əɚɜɘɨᵻœ"),
    ("silence", "_"),
)
SILENT = len(VISEMES) - 1
FILE = "visemes.npz"


def save_visemes(folder: Path, steps: np.ndarray, labels: np.ndarray, lengths: np.ndarray) -> None:
    """Writes the data set atomically: steps (N, 13), labels (N,), steps of each utterance (M,)."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{FILE}"
    with beside.open("wb") as file:
        np.savez(file, steps=steps.astype(np.float16), labels=labels.astype(np.uint8), lengths=lengths)
    beside.replace(folder / FILE)


class VisemeBatches:
    """Random moments of the synthetic speech.

    Args:
        folder: of the data set; None: $TALKFACE_DATA/visemes.
        offsets: where the windows wanted lie, in frames from the moment, as many before as after.
        seed: of all draws.

    Raises:
        TalkfaceError: the data set is missing.
    """

    def __init__(self, folder: Path | None, offsets: Sequence[int], seed: int) -> None:
        folder = folder or data_root() / "visemes"
        if not (folder / FILE).is_file():
            raise TalkfaceError(
                f"There is no synthetic speech in {folder}.",
                "Make it with `talkface visemes`, or train without it: --lessons sound,lips,full.",
            )
        with np.load(folder / FILE) as stored:
            self.steps = stored["steps"].astype(np.float32)
            self.labels = stored["labels"].astype(np.int64)
            self.lengths = stored["lengths"]
        self.start = np.cumsum(self.lengths) - self.lengths
        self.offsets, self.seed = np.array(offsets), seed

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """MFCC windows (B, C, 20, 13) and the class (B,) int64 sounding in their middle."""
        random = np.random.default_rng((self.seed, 3, step))
        utterance = random.integers(len(self.lengths), size=size)
        start, length = self.start[utterance], self.lengths[utterance]
        centre = (random.random(size) * length).astype(np.int64)
        frames = self.offsets * (STEPS_PER_SECOND // FPS)
        steps = np.arange(-MFCC_STEPS // 2, MFCC_STEPS // 2)
        inside = centre[:, None, None] + frames[:, None] + steps
        rows = start[:, None, None] + inside.clip(0, length[:, None, None] - 1)
        return torch.from_numpy(self.steps[rows]), torch.from_numpy(self.labels[start + centre])
