"""eSpeak NG: turns text into sound and the times of its phonemes.

Its library is not part of talkface. It comes with the package espeakng-loader (pip install "talkface[text]") or from
the system (Debian: libespeak-ng1). Its licence is the GPL, version 3 or later.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import wave
from pathlib import Path

import numpy as np

from talkface.errors import TalkfaceError
from talkface.files import atomic_write

WORDS_PER_MINUTE = 160
PITCH = 50  # of 0 to 99
PEAK = 0.7  # of full scale
MAX_TEXT = 20_000  # characters; about half an hour of speech

# eSpeak NG's C interface (speak_lib.h)
SYNCHRONOUS, PHONEME_EVENTS, PHONEME_IPA, UTF8 = 2, 1, 2, 1
EVENT_END, EVENT_PHONEME, PARAMETER_RATE, PARAMETER_PITCH, PARAMETER_RANGE = 0, 7, 1, 3, 4


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
    """The library of eSpeak NG: turns text into sound and the times of its phonemes.

    Raises:
        TalkfaceError: the library is not installed.
    """

    def __init__(self) -> None:
        name, data = _library()
        try:
            self.library = ctypes.CDLL(name)
        except OSError as error:
            raise TalkfaceError(
                "The library of eSpeak NG, which makes the synthetic speech, is not installed.",
                "pip install 'talkface[text]', or install it (Debian: apt install libespeak-ng1; macOS: brew install "
                "espeak-ng).",
            ) from error
        self.rate = self.library.espeak_Initialize(SYNCHRONOUS, 0, data, PHONEME_EVENTS | PHONEME_IPA)
        self._sound: list[np.ndarray] = []
        self._phonemes: list[tuple[float, str]] = []
        self._callback = _Callback(self._receive)
        self.library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voice: str, rate: int, pitch: int) -> tuple[np.ndarray, list[tuple[float, str]]]:
        """Speak a text.

        Args:
            text: to speak.
            voice: eSpeak's name of a language and a variant, for example "en-us+m3".
            rate: words per minute.
            pitch: 0 to 99.

        Returns:
            The sound, float32 (samples,) in [-1, 1] at `self.rate` Hz, and for each phoneme the second at which it
            begins and its IPA symbol.

        Raises:
            TalkfaceError: there is no such voice.
        """
        self._sound, self._phonemes = [], []
        if self.library.espeak_SetVoiceByName(voice.encode()):
            raise TalkfaceError(
                f"--voice {voice} is not a voice of eSpeak NG.",
                "Use a language such as en-us, de or ar, or one with a variant, such as en+f3.",
            )
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


def write_speech(text: str, path: Path, voice: str = "en-us") -> None:
    """Write a WAV file in which eSpeak NG speaks a text.

    Args:
        text: to speak, in the language of the voice.
        path: the file, 16-bit PCM, mono.
        voice: as in `Synthesizer.speak`.

    Raises:
        TalkfaceError: eSpeak NG is not installed, it has no such voice, or the text is empty or too long.
    """
    if len(text) > MAX_TEXT:
        raise TalkfaceError(f"--text has {len(text)} characters: at most {MAX_TEXT} are spoken.", "Divide the text.")
    synthesizer = Synthesizer()
    sound, _ = synthesizer.speak(text, voice, WORDS_PER_MINUTE, PITCH)
    peak = float(np.abs(sound).max(initial=0))
    if not text.strip() or not peak:
        raise TalkfaceError(
            f"--text {text[:40]!r} has nothing that the voice {voice} can say.",
            "Give some words in the language of --voice.",
        )
    with atomic_write(path) as beside, wave.open(str(beside), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(synthesizer.rate)
        writer.writeframes(np.round(sound * (PEAK / peak) * 32767).astype("<i2").tobytes())


def _library() -> tuple[str, bytes | None]:
    """Path of the library, and of its data if they are not where the library looks for them."""
    try:
        import espeakng_loader
    except ImportError:
        return ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1", None
    return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path()).encode()
