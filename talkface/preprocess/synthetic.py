"""`talkface visemes`: synthetic speech with viseme classes, for training the audio encoder.

eSpeak NG speaks random text and reports when each phoneme begins. Phonemes that look alike on the lips share a class, a
viseme. The result is a data set called "visemes", which `talkface train` finds in $TALKFACE_DATA. It needs the library
of eSpeak NG (Debian: libespeak-ng1), which is not part of talkface.
"""
# ruff: noqa: RUF001 (Arabic letters and IPA symbols that look like other characters)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
from scipy.signal import lfilter

from talkface.config import SOUND_RATE, STEPS_PER_SECOND, data_root
from talkface.data.visemes import SILENT, VISEMES, save_visemes
from talkface.media.audio import mfcc_of
from talkface.media.espeak import Synthesizer

LANGUAGES = ("en-us", "en", "ar", "es", "de", "en-us", "ar")
# Without m3, m7, f2 and f4: the figures of EXPERIMENTS.md are measured with voices that no network has learned.
VARIANTS = ("m1", "m2", "m4", "m5", "m6", "f1", "f3", "f5", "klatt", "klatt2", "croak", "whisper")
GRID = (  # the words of the sentences of the GRID corpus, by position
    ("bin", "lay", "place", "set"),
    ("blue", "green", "red", "white"),
    ("at", "by", "in", "with"),
    tuple("abcdefghijklmnopqrstuvxyz"),
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    ("again", "now", "please", "soon"),
)
CONSONANTS = (*(4 * "pbm"), *"fv", "th", *"tdsznl", "sh", "ch", *"jkghrwy", "st", "pr", "bl", "mp")
VOWELS = (*"aeiou", "oo", "ee", "ou", "ai", "ar", "er")
ARABIC = tuple(4 * "بم" + "ابتثجحخدرزسشصطعغفقكلمنهوي")
ARABIC_VOWELS = ("\u064e", "\u064f", "\u0650", "ا", "و", "ي")

RATE = 20_000  # Hz of the synthetic sound
STEP = RATE // STEPS_PER_SECOND  # samples
BATCH = 50  # utterances whose MFCC are computed together, as of one recording


@dataclass(frozen=True)
class VisemeConfig:
    """What to synthesise."""

    utterances: int = 2500
    """Number of utterances, of about 3.5 s each."""

    seed: int = 0
    """Seed of the text, the voices and the distortions."""

    out: Path | None = None
    """Folder of the data set; None for $TALKFACE_DATA/visemes."""


def viseme_of(symbol: str) -> int:
    """The class of an IPA symbol as eSpeak NG writes it. Marks of stress and length are ignored."""
    plain = symbol.strip("ˈˌ'ː:ˤʲ̃ ")
    for letter in plain:
        for number, (_, symbols) in enumerate(VISEMES):
            if letter in symbols:
                return number
    return SILENT


def make_visemes(config: VisemeConfig, on_step: Callable[[int, int], None] | None = None) -> Path:
    """Synthesise random utterances and write the data set.

    Args:
        config: what to synthesise.
        on_step: called with (utterances done, all utterances).

    Returns:
        The folder of the data set.

    Raises:
        TalkfaceError: the library of eSpeak NG is not installed, or the data set cannot be written.
    """
    random, synthesizer = np.random.default_rng(config.seed), Synthesizer()
    steps: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    lengths: list[int] = []
    sounds: list[np.ndarray] = []
    for first in range(0, config.utterances, BATCH):
        spoken = [_utterance(synthesizer, random) for _ in range(min(BATCH, config.utterances - first))]
        waveform = np.concatenate([sound for sound, _ in spoken])
        steps.append(mfcc_of(waveform, RATE)[: len(waveform) // STEP])
        sounds.extend(librosa.resample(sound, orig_sr=RATE, target_sr=SOUND_RATE) for sound, _ in spoken)
        labels.extend(of_steps for _, of_steps in spoken)
        lengths.extend(len(of_steps) for _, of_steps in spoken)
        if on_step:
            on_step(len(lengths), config.utterances)
    out = config.out or data_root() / "visemes"
    save_visemes(out, np.concatenate(steps), np.concatenate(labels), np.array(lengths), np.concatenate(sounds))
    return out


def _utterance(synthesizer: Synthesizer, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One utterance: its sound at RATE, a whole number of steps long, and the class of each step."""
    language = LANGUAGES[random.integers(len(LANGUAGES))]
    voice = f"{language}+{VARIANTS[random.integers(len(VARIANTS))]}"
    rate, pitch = int(random.integers(120, 240)), int(random.integers(10, 95))
    sound, phonemes = synthesizer.speak(_text(language, random), voice, rate, pitch)
    stretch = random.uniform(0.84, 1.16)  # simulates a longer or shorter vocal tract
    sound = librosa.resample(sound, orig_sr=synthesizer.rate * stretch, target_sr=RATE, res_type="soxr_mq")
    before, after = random.integers(2, 30, size=2)  # steps of silence
    length = before + len(sound) // STEP + after
    padded = np.zeros(length * STEP, np.float32)
    padded[before * STEP :][: len(sound)] = sound[: (length - before) * STEP]
    starts = [(before * STEP / RATE + second / stretch, symbol) for second, symbol in phonemes]
    return _distorted(padded, random), step_labels(starts, length)


def _text(language: str, random: np.random.Generator) -> str:
    if language != "ar" and random.random() < 0.4:
        return " ".join(words[random.integers(len(words))] for words in GRID)
    letters, vowels = (ARABIC, ARABIC_VOWELS) if language == "ar" else (CONSONANTS, VOWELS)
    words = []
    for _ in range(random.integers(4, 10)):
        syllables = random.integers(1, 4)
        words.append("".join(str(random.choice(letters)) + str(random.choice(vowels)) for _ in range(syllables)))
    if random.random() < 0.5:
        return ", ".join(words)  # p, b and m after a pause
    return ", ".join(" ".join(part) for part in np.array_split(words, 2))


def _distorted(sound: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """`sound` after a random one-pole filter, which simulates another microphone, and with noise."""
    pole = random.uniform(-0.6, 0.6)
    filtered = lfilter([1 - abs(pole)], [1, -pole], sound)
    noise = random.standard_normal(len(filtered)) * 10 ** random.uniform(-4.5, -2)
    return (0.5 * filtered / (np.abs(filtered).max() + 1e-9) + 0.5 * noise).clip(-1, 1).astype(np.float32)


def step_labels(phonemes: list[tuple[float, str]], steps: int) -> np.ndarray:
    """The class of each step of 10 ms: that of the current phoneme; silence before the first one.

    Args:
        phonemes: the second at which each phoneme begins, and its IPA symbol, in order.
        steps: number of steps.
    """
    found = np.full(steps, SILENT, np.uint8)
    for second, symbol in phonemes:
        found[int(second * STEPS_PER_SECOND) :] = viseme_of(symbol)
    return found
