"""Synthetic speech with the viseme class of each step of 10 ms: for the stage "visemes", and for closures in "lips"."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talkface.config import FPS, MFCC_STEPS, SOUND_RATE, STEPS_PER_SECOND, data_root
from talkface.data.clip import from_pcm, to_pcm
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
LABIAL = 0
VOWELS = (8, 9, 10, 11, 12)
OPEN_CONSONANTS = (3, 5, 6)
FILE = "visemes.npz"

# In steps of 10 ms. A phoneme is a movement: between a closure and an open mouth nothing is said about the lips.
SHUT_BEFORE, SHUT_AT_LEAST, SHUT_AT_MOST = 1, 4, 9  # before the beginning of p, b, m; and from there on
AROUND = 7  # before and after p, b, m
INTO_VOWEL, OUT_OF_VOWEL = 4, 3


class Utterance(NamedTuple):
    """One utterance of synthetic speech."""

    steps: np.ndarray
    """float32 (S, 13): MFCC every 10 ms."""
    labels: np.ndarray
    """int64 (S,): the class of each step, an index into VISEMES."""
    waveform: np.ndarray
    """float32 (160 S,) in [-1, 1] at 16 kHz."""


def save_visemes(folder: Path, steps: np.ndarray, labels: np.ndarray, lengths: np.ndarray, sound: np.ndarray) -> None:
    """Write the data set atomically.

    Args:
        folder: of the data set; created if missing.
        steps: (N, 13) MFCC of all utterances, one after the other.
        labels: (N,) the class of each step, an index into VISEMES.
        lengths: (M,) the number of steps of each utterance.
        sound: (160 N,) waveform of all utterances in [-1, 1] at 16 kHz.

    Raises:
        TalkfaceError: the data set cannot be written there, for example because the disk is full.
    """
    make_folder(folder)
    pcm = to_pcm(sound)
    with atomic_write(folder / FILE) as beside:
        np.savez(beside, steps=steps.astype(np.float16), labels=labels.astype(np.uint8), lengths=lengths, sound=pcm)


def find_visemes(name_or_dir: str | Path) -> Path | None:
    """The folder of synthetic speech of this name in $TALKFACE_DATA, or at this path; None where there is none."""
    return next((root for root in (data_root() / name_or_dir, Path(name_or_dir)) if (root / FILE).is_file()), None)


def utterances(folder: Path, limit: int) -> list[Utterance]:
    """The first utterances of a data set of synthetic speech, at most `limit`.

    Raises:
        TalkfaceError: the data set keeps no sound.
    """
    with np.load(folder / FILE) as stored:
        if "sound" not in stored:
            raise TalkfaceError(
                f"The synthetic speech in {folder} keeps no sound: an earlier talkface made it.",
                "Make it again with `talkface visemes`.",
            )
        lengths = stored["lengths"][:limit]
        ends = np.cumsum(lengths)
        steps, labels, sound = (stored[name] for name in ("steps", "labels", "sound"))
    samples = SOUND_RATE // STEPS_PER_SECOND
    return [
        Utterance(
            steps[end - count : end].astype(np.float32),
            labels[end - count : end].astype(np.int64),
            from_pcm(sound[samples * (end - count) : samples * end]),
        )
        for count, end in zip(lengths, ends, strict=True)
    ]


def closures(labels: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the mouth is shut, and in which frames that is known.

    Shut is known at p, b and m, open in the middle of vowels and at t, s, k, r and the like, unless a closure is near.

    Args:
        labels: (S,) class of each step of 10 ms.
        frames: number of video frames.

    Returns:
        bool (frames,) each.
    """
    shut, known = np.zeros(len(labels), bool), np.zeros(len(labels), bool)
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    runs = list(zip(labels[starts], starts, [*starts[1:], len(labels)], strict=True))
    for label, start, end in runs:
        if label in VOWELS:
            known[start + INTO_VOWEL : max(end - OUT_OF_VOWEL, 0)] = True
        elif label in OPEN_CONSONANTS:
            known[start:end] = True
    labial = [(start, end) for label, start, end in runs if label == LABIAL]
    for start, end in labial:
        known[max(start - AROUND, 0) : end + AROUND] = False
    for start, end in labial:
        closed = np.s_[max(start - SHUT_BEFORE, 0) : start + min(max(end - start, SHUT_AT_LEAST), SHUT_AT_MOST)]
        shut[closed] = known[closed] = True
    middle = ((np.arange(frames) + 0.5) * STEPS_PER_SECOND / FPS).astype(int).clip(max=len(labels) - 1)
    return shut[middle], known[middle]


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
                "Make it with `talkface visemes`, or leave the stage visemes out: --stages lips,mouth.",
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
