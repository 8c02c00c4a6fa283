"""How loud and how stressed speech is around a moment, from its MFCC: what brows and head follow.

Only the steps around the moment are read, so nothing grows with the length of the recording.
"""

from __future__ import annotations

import numpy as np

from talkface.config import MEL_BANDS, STEPS_PER_SECOND
from talkface.media.windows import MFCC_SCALE, SILENCE

REACH = 1.0  # s before and after the moment
SYLLABLE = 0.16  # s, width of the window that smooths the level of a syllable
PHRASE = 1.0  # s, width of the window of the level that syllables are compared with
RESPONSE = 0.5  # s, width of the window over which head and brows follow the stress
STRESS_DB = 9.0  # dB by which a fully stressed syllable is louder than its surroundings
QUIET_DB = -38.0  # mean of the mel bands against the level of the speech, below which nothing is stressed


class Accents:
    """The accents of one recording.

    Args:
        mfcc: float32 (steps, 13), 100 per second, as `talkface.media.audio.load_speech` computes them.
    """

    def __init__(self, mfcc: np.ndarray) -> None:
        self.mfcc = mfcc
        self._syllable, self._phrase = _window(SYLLABLE), _window(PHRASE)

    def at(self, seconds: float) -> float:
        """Stress around a moment, in [0, 1]: a smooth function of time."""
        reach = round((RESPONSE / 2) * STEPS_PER_SECOND) + 1
        margin = len(self._phrase) // 2
        centre = round(seconds * STEPS_PER_SECOND)
        level = self._level(np.arange(centre - reach - margin, centre + reach + margin + 1))
        syllable = np.convolve(level, self._syllable, "same")[margin:-margin]
        phrase = np.convolve(level, self._phrase, "valid")
        stress = np.clip((syllable - phrase) / STRESS_DB, 0, 1) * np.clip((syllable - QUIET_DB) / STRESS_DB, 0, 1)
        apart = (np.arange(centre - reach, centre + reach + 1) / STEPS_PER_SECOND - seconds) / RESPONSE
        response = np.where(np.abs(apart) < 0.5, np.cos(np.pi * apart) ** 2, 0)
        return float(np.clip(2 * (stress * response).sum() / response.sum(), 0, 1))

    def _level(self, steps: np.ndarray) -> np.ndarray:
        """Mean of the mel bands in dB against the level of the speech; silence before and after the recording."""
        first = np.full(len(steps), SILENCE[0])
        inside = (steps >= 0) & (steps < len(self.mfcc))
        first[inside] = self.mfcc[steps[inside], 0]
        return first * (MFCC_SCALE / MEL_BANDS**0.5)


def _window(seconds: float) -> np.ndarray:
    """A symmetric window of that width with the sum 1."""
    window = np.hanning(2 * round(seconds * STEPS_PER_SECOND / 2) + 3)[1:-1]
    return window / window.sum()
