"""Raw sound, as pipes carry it: samples without a header. It imports nothing heavy, so the command line uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from talkface.errors import TalkfaceError

if TYPE_CHECKING:
    import numpy as np

# ffmpeg's name of each encoding, with numpy's name of a sample, its full scale and its value of silence.
ENCODINGS = {
    "s16le": ("<i2", 2.0**15, 0),
    "s32le": ("<i4", 2.0**31, 0),
    "f32le": ("<f4", 1.0, 0),
    "u8": ("|u1", 2.0**7, 128),
}
LOWEST_RATE, HIGHEST_RATE = 8_000, 192_000  # Hz
MAX_CHANNELS = 8


@dataclass(frozen=True)
class SoundFormat:
    """What the bytes of a raw sound mean.

    Raises:
        TalkfaceError: a value is out of its range.
    """

    encoding: str = "s16le"
    """s16le, s32le, f32le or u8, as ffmpeg calls them."""
    rate: int = 16_000
    """Hz."""
    channels: int = 1
    """Channels, whose samples take turns."""

    def __post_init__(self) -> None:
        if (
            self.encoding not in ENCODINGS
            or not LOWEST_RATE <= self.rate <= HIGHEST_RATE
            or not 1 <= self.channels <= MAX_CHANNELS
        ):
            raise _not_valid(str(self))

    def __str__(self) -> str:
        return f"{self.encoding}:{self.rate}" + (f":{self.channels}" if self.channels > 1 else "")

    @property
    def dtype(self) -> str:
        """numpy's name of the type of a sample."""
        return ENCODINGS[self.encoding][0]

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return int(self.dtype[-1]) * self.channels

    def decode(self, data: bytes) -> np.ndarray:
        """Return the samples in `data`, (samples, channels) of `dtype`; `data` holds whole samples."""
        import numpy as np

        return np.frombuffer(data, self.dtype).reshape(-1, self.channels)

    def silence(self, samples: int) -> np.ndarray:
        """Return silence, (samples, channels) of `dtype`."""
        import numpy as np

        return np.full((samples, self.channels), ENCODINGS[self.encoding][2], self.dtype)

    def to_mono(self, block: np.ndarray) -> np.ndarray:
        """Return the mean of the channels: (samples, channels) of `dtype` -> float32 (samples,) in [-1, 1]."""
        import numpy as np

        _, full_scale, middle = ENCODINGS[self.encoding]
        mono = ((block.astype(np.float32) - np.float32(middle)) / np.float32(full_scale)).mean(1)
        return np.nan_to_num(mono, nan=0.0, posinf=0.0, neginf=0.0).clip(-1, 1)


def parse_sound_format(text: str) -> SoundFormat:
    """Parse ENCODING:RATE or ENCODING:RATE:CHANNELS, such as s16le:16000.

    Raises:
        TalkfaceError: the text is something else.
    """
    encoding, *numbers = text.split(":")
    if not 1 <= len(numbers) <= 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise _not_valid(text)
    return SoundFormat(encoding, *map(int, numbers))


def _not_valid(text: str) -> TalkfaceError:
    return TalkfaceError(
        f"--sound-format {text} is not valid: expected ENCODING:RATE[:CHANNELS] with the encoding "
        f"{', '.join(ENCODINGS)}, a rate of {LOWEST_RATE} to {HIGHEST_RATE} Hz and at most {MAX_CHANNELS} channels.",
        "Use s16le:16000 for 16-bit samples of one channel at 16 kHz, for example.",
    )
