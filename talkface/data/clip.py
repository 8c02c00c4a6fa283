"""One training clip: its contents, and how they are stored as members of a tar shard.

A clip NAME is one WebDataset sample. Its members are, in this order: NAME.json (name, source and quality figures),
NAME.npz (arrays), NAME.wav (sound, 16-bit PCM; absent if the source has no sound) and NAME.000.jpg, NAME.001.jpg ...
(frames). The sound is PCM instead of FLAC, because Python reads PCM without a library; it takes 1.3 KB per frame. The
frames are JPEG of quality 90 without chroma subsampling. The alternatives, measured on 407 frames of faces (KB per
frame, PSNR in dB, decoding time in ms on one core):

    JPEG 90 4:4:4  13.9  45.3  0.48   chosen: random access, decodes everywhere, keeps the colour edge of the lips
    JPEG 95 4:2:0  15.5  44.6  0.39   larger and still worse
    JPEG 95 4:4:4  20.1  47.1  0.45
    WebP 95         9.6  43.7  0.72   takes 5.3 ms to encode, a sixth of the time budget of a frame
    H.264 crf 10    2.8  42.2  1.21   the smallest, but reading it needs ffmpeg and one process per clip
"""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from talkface.config import FPS, SOUND_RATE, STEPS_PER_SECOND
from talkface.errors import TalkfaceError
from talkface.media.windows import mfcc_windows

JPEG_QUALITY = 90
ARRAYS = ("lips", "points68", "eyes", "transforms", "mfcc_steps")
FACTS = ("name", "dataset", "split", "speaker", "source", "fps", "lead_steps", "sound_lead", "quality")


@dataclass
class Clip:
    """A video of a talking face, T frames aligned to 256 x 256 px, with its sound."""

    name: str
    """Unique in its data set: the path of the source without suffix, for example "SPK00/train/SPK00_00001"."""

    dataset: str
    split: str
    """train, val or test."""

    speaker: str
    """The person who speaks; "" if unknown."""

    source: str
    """Path of the video, relative to the folder that was preprocessed."""

    lips: np.ndarray
    """float32 (T, 40, 2), aligned px: outer and then inner lip contour of the mesh (talkface.face.landmarks.LIPS)."""

    points68: np.ndarray
    """float32 (T, 68, 2), aligned px: landmarks in the 68-point scheme."""

    eyes: np.ndarray
    """float32 (T, 2, 2), aligned px: the two eye centres."""

    transforms: np.ndarray
    """float64 (T, 2, 3): affine transforms from px of the source to aligned px."""

    mfcc_steps: np.ndarray
    """float32 (steps, 13): MFCC every 10 ms, not yet cut into windows. Step `lead_steps` is the start of frame 0."""

    encoded: list[bytes] = field(repr=False)
    """T JPEG files, one for each frame."""

    fps: float = float(FPS)

    lead_steps: int = 0
    """Steps of sound before the first frame: 0 unless the clip is a piece of a longer video."""

    av_offset: float = 0.0
    """Seconds by which the sound lags behind the picture. `mfcc` corrects it."""

    sound: bytes = field(default=b"", repr=False)
    """The sound as a WAV file, 16 kHz mono, which begins `sound_lead` seconds before the first frame. Empty for a clip
    without sound and for a clip of format 1."""

    sound_lead: float = 0.0
    """Seconds of `sound` before the first frame."""

    quality: dict = field(default_factory=dict)
    """The figures that decided whether to keep the clip, as in manifest.jsonl."""

    def __len__(self) -> int:
        return len(self.encoded)

    @property
    def mfcc(self) -> np.ndarray:
        """float32 (T, 20, 13): the MFCC window of each frame, synchronous with the picture."""
        return mfcc_windows(self.mfcc_steps, len(self), self.fps, self.av_offset + self.lead_steps / STEPS_PER_SECOND)

    @property
    def waveform(self) -> np.ndarray:
        """float32 (samples,) in [-1, 1] at 16 kHz, from `sound_lead` s before the first frame; empty without sound."""
        return decode_sound(self.sound) if self.sound else np.zeros(0, np.float32)

    def frame(self, i: int) -> np.ndarray:
        """Frame i, uint8 RGB (256, 256, 3)."""
        return decode_frame(self.encoded[i])

    def frames(self) -> Iterator[np.ndarray]:
        """All frames in order, decoded one at a time."""
        return map(decode_frame, self.encoded)


def encode_frame(rgb: np.ndarray) -> bytes:
    """An aligned face, uint8 RGB (256, 256, 3), as JPEG."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), flags)[1].tobytes()


def decode_frame(data: bytes) -> np.ndarray:
    """The picture that `encode_frame` compressed, uint8 RGB (256, 256, 3).

    Raises:
        TalkfaceError: the data are not a picture.
    """
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise TalkfaceError("A frame of a clip is not a valid JPEG file.", "Copy or preprocess the data set again.")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def to_pcm(waveform: np.ndarray) -> np.ndarray:
    """float (samples,) in [-1, 1] as little-endian int16 (samples,); values out of range are clipped."""
    return np.round(waveform.clip(-1, 1) * 32767).astype("<i2")


def from_pcm(samples: np.ndarray) -> np.ndarray:
    """The samples that `to_pcm` rounded, float32 (samples,) in [-1, 1]."""
    return samples.astype(np.float32) / 32767


def encode_sound(waveform: np.ndarray) -> bytes:
    """float32 (samples,) in [-1, 1] at 16 kHz as a WAV file of 16-bit samples; samples out of range are clipped."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SOUND_RATE)
        writer.writeframes(to_pcm(waveform).tobytes())
    return file.getvalue()


def decode_sound(data: bytes) -> np.ndarray:
    """The samples that `encode_sound` stored, float32 (samples,) in [-1, 1]."""
    with wave.open(io.BytesIO(data)) as reader:
        return from_pcm(np.frombuffer(reader.readframes(reader.getnframes()), "<i2"))


def pack(clip: Clip) -> list[tuple[str, bytes]]:
    """The members of a clip, in order, as (suffix, content). The same clip always gives the same bytes."""
    facts = {name: getattr(clip, name) for name in FACTS}
    arrays = io.BytesIO()
    np.savez(arrays, **{name: getattr(clip, name) for name in ARRAYS})
    members = [("json", json.dumps(facts, sort_keys=True).encode()), ("npz", arrays.getvalue())]
    if clip.sound:
        members.append(("wav", clip.sound))
    return members + [(f"{i:03d}.jpg", data) for i, data in enumerate(clip.encoded)]


def unpack_arrays(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a clip by name, from its .npz member."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in ARRAYS}


def unpack(members: list[bytes], av_offset: float = 0.0) -> Clip:
    """The clip that `pack` turned into these members.

    Args:
        members: contents in the order of `pack`; clips of format 1 have no WAV member.
        av_offset: seconds by which the sound lags behind the picture.
    """
    facts = json.loads(members[0])
    with np.load(io.BytesIO(members[1]), allow_pickle=False) as arrays:
        values = {name: arrays[name] for name in ARRAYS}
    sound = members[2] if members[2][:4] == b"RIFF" else b""
    frames = members[3:] if sound else members[2:]
    return Clip(**facts, **values, encoded=frames, sound=sound, av_offset=av_offset)
