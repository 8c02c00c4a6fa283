"""Synthetic speech with mouth classes, to teach the audio encoder the sounds before it sees any face.

eSpeak NG speaks random text and tells when each phoneme begins; phonemes that look alike on the lips share a class.
What comes out is a data set called "visemes" that `talkface train` finds under $TALKFACE_DATA. It needs the library of
eSpeak NG (Debian: libespeak-ng1); nothing of it ships with talkface.
"""
# ruff: noqa: RUF001 (Arabic letters and IPA symbols that look like others)

from __future__ import annotations

import ctypes
import ctypes.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import soundfile
from scipy.signal import lfilter

from talkface.config import STEPS_PER_SECOND, data_root
from talkface.data.visemes import SILENT, VISEMES, save_visemes
from talkface.errors import TalkfaceError
from talkface.media.audio import load_speech

LANGUAGES = ("en-us", "en-gb", "ar", "es", "de", "en-us", "ar")
VARIANTS = (
    "m1",
    "m2",
    "m3",
    "m4",
    "m5",
    "m6",
    "m7",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "klatt",
    "klatt2",
    "croak",
    "whisper",
)
GRID = (  # the sentences of the GRID corpus are made of these
    ("bin", "lay", "place", "set"),
    ("blue", "green", "red", "white"),
    ("at", "by", "in", "with"),
    tuple("abcdefghijklmnopqrstuvxyz"),
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    ("again", "now", "please", "soon"),
)
CONSONANTS = (*"pbmfv", "th", *"tdsznl", "sh", "ch", *"jkghrwy", "st", "pr", "bl", "mp")
VOWELS = (*"aeiou", "oo", "ee", "ou", "ai", "ar", "er")
ARABIC = tuple("ابتثجحخدرزسشصطعغفقكلمنهوي")
ARABIC_VOWELS = ("\u064e", "\u064f", "\u0650", "ا", "و", "ي")

RATE = 20_000  # Hz of the collected sound
STEP = RATE // STEPS_PER_SECOND  # samples
TOGETHER = 50  # utterances analysed as one recording

# eSpeak NG's C interface (speak_lib.h)
SYNCHRONOUS, PHONEME_EVENTS, PHONEME_IPA, UTF8 = 2, 1, 2, 1
EVENT_END, EVENT_PHONEME, PARAMETER_RATE, PARAMETER_PITCH, PARAMETER_RANGE = 0, 7, 1, 3, 4


@dataclass(frozen=True)
class VisemeConfig:
    """What is spoken."""

    utterances: int = 2500
    """About 3.5 s each."""
    seed: int = 0
    """Of text, voices and distortions."""
    out: Path | None = None
    """Folder of the data set; None: $TALKFACE_DATA/visemes."""


class _Name(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Name),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Synthesizer:
    """eSpeak NG in this process: text in, sound and phoneme times out.

    Raises:
        TalkfaceError: the library is not installed.
    """

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1"
        try:
            self.library = ctypes.CDLL(name)
        except OSError as error:
            raise TalkfaceError(
                "The library of eSpeak NG is not installed; it speaks the synthetic speech.",
                "Install it (Debian: apt install libespeak-ng1; macOS: brew install espeak-ng), or train without it.",
            ) from error
        self.rate = self.library.espeak_Initialize(SYNCHRONOUS, 0, None, PHONEME_EVENTS | PHONEME_IPA)
        self._sound: list[np.ndarray] = []
        self._phonemes: list[tuple[float, str]] = []
        self._callback = _Callback(self._receive)
        self.library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voice: str, rate: int, pitch: int) -> tuple[np.ndarray, list[tuple[float, str]]]:
        """The sound, float32 [-1, 1] at `self.rate`, and the (second, IPA symbol) at which each phoneme begins."""
        self._sound, self._phonemes = [], []
        self.library.espeak_SetVoiceByName(voice.encode())
        for parameter, value in ((PARAMETER_RATE, rate), (PARAMETER_PITCH, pitch), (PARAMETER_RANGE, 60)):
            self.library.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        self.library.espeak_Synth(data, len(data) + 1, 0, 1, 0, UTF8, None, None)
        self.library.espeak_Synchronize()
        return np.concatenate([*self._sound, np.zeros(0, np.float32)]), self._phonemes

    def _receive(self, sound: ctypes.Array, samples: int, events: ctypes.Array) -> int:
        if sound and samples:
            self._sound.append(np.ctypeslib.as_array(sound, (samples,)).astype(np.float32) / 32768)
        number = 0
        while events[number].type != EVENT_END:
            if events[number].type == EVENT_PHONEME:
                symbol = bytes(events[number].id.string).decode("utf-8", "ignore")
                self._phonemes.append((events[number].audio_position / 1000, symbol))
            number += 1
        return 0


def viseme_of(symbol: str) -> int:
    """The mouth class of an IPA symbol as eSpeak NG writes it; stress and length marks are passed over."""
    plain = symbol.strip("ˈˌ'ː:ˤʲ̃ ")
    for letter in plain:
        for number, (_, symbols) in enumerate(VISEMES):
            if letter in symbols:
                return number
    return SILENT


def make_visemes(config: VisemeConfig, on_step: Callable[[int, int], None] | None = None) -> Path:
    """Speaks `config.utterances` random utterances and writes the data set.

    Args:
        on_step: told (utterances done, utterances in all).

    Returns:
        The folder of the data set.
    """
    random, synthesizer = np.random.default_rng(config.seed), Synthesizer()
    steps, labels, lengths = [], [], []
    for first in range(0, config.utterances, TOGETHER):
        spoken = [_utterance(synthesizer, random) for _ in range(min(TOGETHER, config.utterances - first))]
        steps.append(_mfcc(np.concatenate([sound for sound, _ in spoken])))
        labels.extend(each for _, each in spoken)
        lengths.extend(len(each) for _, each in spoken)
        if on_step:
            on_step(len(lengths), config.utterances)
    out = config.out or data_root() / "visemes"
    save_visemes(out, np.concatenate(steps), np.concatenate(labels), np.array(lengths))
    return out


def _utterance(synthesizer: Synthesizer, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sound at RATE, a whole number of steps long, and the class of each step."""
    language = LANGUAGES[random.integers(len(LANGUAGES))]
    voice = f"{language}+{VARIANTS[random.integers(len(VARIANTS))]}"
    rate, pitch = int(random.integers(120, 240)), int(random.integers(10, 95))
    sound, phonemes = synthesizer.speak(_text(language, random), voice, rate, pitch)
    stretch = random.uniform(0.84, 1.16)  # longer or shorter vocal tract
    sound = librosa.resample(sound, orig_sr=synthesizer.rate * stretch, target_sr=RATE, res_type="soxr_mq")
    before, after = random.integers(2, 30, size=2)  # steps of silence at the ends
    length = before + len(sound) // STEP + after
    padded = np.zeros(length * STEP, np.float32)
    padded[before * STEP :][: len(sound)] = sound[: (length - before) * STEP]
    starts = [(before * STEP / RATE + second / stretch, symbol) for second, symbol in phonemes]
    return _distorted(padded, random), _labels(starts, length)


def _mfcc(sound: np.ndarray) -> np.ndarray:
    """MFCC of sound at RATE, one row for each whole step."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        soundfile.write(wav, sound, RATE)
        return load_speech(wav).mfcc[: len(sound) // STEP]


def _text(language: str, random: np.random.Generator) -> str:
    if language != "ar" and random.random() < 0.4:
        return " ".join(words[random.integers(len(words))] for words in GRID)
    letters, vowels = (ARABIC, ARABIC_VOWELS) if language == "ar" else (CONSONANTS, VOWELS)
    words = []
    for _ in range(random.integers(4, 10)):
        syllables = random.integers(1, 4)
        words.append("".join(str(random.choice(letters)) + str(random.choice(vowels)) for _ in range(syllables)))
    return ", ".join(" ".join(part) for part in np.array_split(words, 2))


def _distorted(sound: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A random one-pole filter (another microphone) and noise."""
    pole = random.uniform(-0.6, 0.6)
    filtered = lfilter([1 - abs(pole)], [1, -pole], sound)
    noise = random.standard_normal(len(filtered)) * 10 ** random.uniform(-4.5, -2)
    return (0.5 * filtered / (np.abs(filtered).max() + 1e-9) + 0.5 * noise).clip(-1, 1).astype(np.float32)


def _labels(phonemes: list[tuple[float, str]], steps: int) -> np.ndarray:
    """The class at each 10-ms step: that of the phoneme that is sounding; silence before the first."""
    found = np.full(steps, SILENT, np.uint8)
    for second, symbol in phonemes:
        found[int(second * STEPS_PER_SECOND) :] = viseme_of(symbol)
    return found
