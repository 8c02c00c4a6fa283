"""Synthetic speech: MFCC steps with the viseme class of each, for the first training stage of the audio encoder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talkface.config import MFCC_STEPS, data_root
from talkface.errors import TalkfaceError
from talkface.files import atomic_write, make_folder

# The name and the IPA symbols of each class.
# ruff: noqa: RUF001 (some IPA symbols look like Latin letters)
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
    """Write the data set atomically.

    Args:
        folder: of the data set; created if missing.
        steps: (N, 13) MFCC of all utterances, one after the other.
        labels: (N,) the class of each step, an index into VISEMES.
        lengths: (M,) the number of steps of each utterance.

    Raises:
        TalkfaceError: the data set cannot be written there, for example because the disk is full.
    """
    make_folder(folder)
    with atomic_write(folder / FILE) as beside:
        np.savez(beside, steps=steps.astype(np.float16), labels=labels.astype(np.uint8), lengths=lengths)


class VisemeBatch(NamedTuple):
    """Moments of synthetic speech."""

    windows: Tensor
    """(B, 20, 13) MFCC."""
    classes: Tensor
    """(B,) int64: the class of the middle step."""


class VisemeBatches:
    """Batches of random moments of the synthetic speech.

    Args:
        folder: of the data set; None for $TALKFACE_DATA/visemes.
        seed: of the random numbers.

    Raises:
        TalkfaceError: the data set does not exist.
    """

    def __init__(self, folder: Path | None, seed: int) -> None:
        folder = folder or data_root() / "visemes"
        if not (folder / FILE).is_file():
            raise TalkfaceError(
                f"There is no synthetic speech in {folder}.",
                "Make it with `talkface visemes`, or train without it: --stages sound,lips,full.",
            )
        with np.load(folder / FILE) as stored:
            self.steps = stored["steps"].astype(np.float32)
            self.labels = stored["labels"].astype(np.int64)
            self.lengths = stored["lengths"]
        self.start = np.cumsum(self.lengths) - self.lengths
        self.seed = seed

    def batch(self, step: int, size: int) -> VisemeBatch:
        """The batch of a training step: MFCC windows (B, 20, 13) and the class of their middle step, int64 (B,)."""
        random = np.random.default_rng((self.seed, 3, step))
        utterance = random.integers(len(self.lengths), size=size)
        start, length = self.start[utterance], self.lengths[utterance]
        centre = (random.random(size) * length).astype(np.int64)
        inside = centre[:, None] + np.arange(-MFCC_STEPS // 2, MFCC_STEPS // 2)
        rows = start[:, None] + inside.clip(0, length[:, None] - 1)
        return VisemeBatch(torch.from_numpy(self.steps[rows]), torch.from_numpy(self.labels[start + centre]))
