"""Synthetic speech: MFCC steps with the mouth class of each, for the first lesson of the audio encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from talkface.config import MFCC_STEPS, data_root
from talkface.errors import TalkfaceError
from talkface.files import atomic_write, make_folder

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
    """Writes the data set whole or not at all: steps (N, 13), labels (N,), steps of each utterance (M,).

    Raises:
        TalkfaceError: it cannot be written there, as on a full disk.
    """
    make_folder(folder)
    with atomic_write(folder / FILE) as beside:
        np.savez(beside, steps=steps.astype(np.float16), labels=labels.astype(np.uint8), lengths=lengths)


class VisemeBatches:
    """Random moments of the synthetic speech.

    Args:
        folder: of the data set; None: $TALKFACE_DATA/visemes.
        seed: of all draws.

    Raises:
        TalkfaceError: the data set is missing.
    """

    def __init__(self, folder: Path | None, seed: int) -> None:
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
        self.seed = seed

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """MFCC windows (B, 20, 13) and the class (B,) int64 sounding in their middle."""
        random = np.random.default_rng((self.seed, 3, step))
        utterance = random.integers(len(self.lengths), size=size)
        start, length = self.start[utterance], self.lengths[utterance]
        centre = (random.random(size) * length).astype(np.int64)
        inside = centre[:, None] + np.arange(-MFCC_STEPS // 2, MFCC_STEPS // 2)
        rows = start[:, None] + inside.clip(0, length[:, None] - 1)
        return torch.from_numpy(self.steps[rows]), torch.from_numpy(self.labels[start + centre])
