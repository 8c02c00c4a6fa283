"""One training clip: what it holds, and how it is laid out as members of a tar shard.

A clip NAME is the members NAME.json (who, where from, quality), NAME.npz (arrays), NAME.wav (sound, 16-bit PCM; absent
where the source has no sound) and NAME.000.jpg, NAME.001.jpg ... (frames), in this order: one sample in WebDataset's
sense. The sound is PCM and not FLAC because Python reads it without a library: 1.3 KB per frame. Frames are JPEG,
quality 90, no chroma subsampling. Measured on 407 frames of faces (KB per frame, PSNR in dB, decode in ms on one core):

    JPEG 90 4:4:4  13.9  45.3  0.48   chosen: random access, decodes anywhere, keeps the lips' colour edge
    JPEG 95 4:2:0  15.5  44.6  0.39   larger and still worse
    JPEG 95 4:4:4  20.1  47.1  0.45
    WebP 95         9.6  43.7  0.72   and 5.3 ms to encode, a sixth of the whole budget per frame
    H.264 crf 10    2.8  42.2  1.21   smallest by far, but needs ffmpeg to read and a process per clip
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
from talkface.media.windows import mfcc_windows

JPEG_QUALITY = 90
ARRAYS = ("lips", "points68", "eyes", "transforms", "mfcc_steps")
FACTS = ("name", "dataset", "split", "speaker", "source", "fps", "lead_steps", "sound_lead", "quality")


@dataclass
class Clip:
    """A talking face of T frames with its sound, aligned to 256 px."""

    name: str
    """Unique in its data set: the source's path without suffix, as in "SPK00/train/SPK00_00001"."""

    dataset: str
    split: str
    """train, val or test."""

    speaker: str
    """Who speaks, "" where the data set does not say."""

    source: str
    """Path of the video below the folder that was preprocessed."""

    lips: np.ndarray
    """float32 (T, 40, 2), aligned px: outer then inner ring of the mesh (talkface.face.landmarks.LIPS)."""

    points68: np.ndarray
    """float32 (T, 68, 2), aligned px, in the 68-point scheme."""

    eyes: np.ndarray
    """float32 (T, 2, 2), aligned px: the two eye centres."""

    transforms: np.ndarray
    """float64 (T, 2, 3): source picture px -> aligned px."""

    mfcc_steps: np.ndarray
    """float32 (steps, 13): MFCC every 10 ms, not yet cut into windows; the first frame begins at step `lead_steps`."""

    encoded: list[bytes] = field(repr=False)
    """T JPEG pictures."""

    fps: float = float(FPS)

    lead_steps: int = 0
    """Steps of sound before the first frame: 0, but where the clip is a piece of a longer video."""

    av_offset: float = 0.0
    """Seconds by which the sound lags the picture; `mfcc` makes up for it."""

    sound: bytes = field(default=b"", repr=False)
    """WAV file of the sound, 16 kHz mono; it begins `sound_lead` seconds before the first frame. Empty for a clip
    without sound, and for clips of format 1."""

    sound_lead: float = 0.0
    """Seconds of `sound` before the first frame."""

    quality: dict = field(default_factory=dict)
    """Figures behind the decision to keep the clip, as in manifest.jsonl."""

    def __len__(self) -> int:
        return len(self.encoded)

    @property
    def mfcc(self) -> np.ndarray:
        """float32 (T, 20, 13): one window of sound for each frame, in step with the picture."""
        return mfcc_windows(self.mfcc_steps, len(self), self.fps, self.av_offset + self.lead_steps / STEPS_PER_SECOND)

    @property
    def waveform(self) -> np.ndarray:
        """float32 (samples,) in [-1, 1] at 16 kHz, from `sound_lead` s before the first frame; empty if silent."""
        return decode_sound(self.sound) if self.sound else np.zeros(0, np.float32)

    def frame(self, i: int) -> np.ndarray:
        """Frame i, uint8 RGB (256, 256, 3)."""
        return decode_frame(self.encoded[i])

    def frames(self) -> Iterator[np.ndarray]:
        """Every frame in order, decoded when it is asked for."""
        return map(decode_frame, self.encoded)


def encode_frame(rgb: np.ndarray) -> bytes:
    """An aligned face, uint8 RGB (256, 256, 3), as JPEG."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), flags)[1].tobytes()


def decode_frame(data: bytes) -> np.ndarray:
    """The picture of `encode_frame`, uint8 RGB (256, 256, 3)."""
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def encode_sound(waveform: np.ndarray) -> bytes:
    """float32 (samples,) in [-1, 1] at 16 kHz as a WAV file of 16-bit samples; louder samples are clipped."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SOUND_RATE)
        writer.writeframes(np.round(waveform.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def decode_sound(data: bytes) -> np.ndarray:
    """The samples of `encode_sound`, float32 (samples,) in [-1, 1]."""
    with wave.open(io.BytesIO(data)) as reader:
        return np.frombuffer(reader.readframes(reader.getnframes()), "<i2").astype(np.float32) / 32767


def pack(clip: Clip) -> list[tuple[str, bytes]]:
    """The members of a clip in order: (suffix, content). The same clip gives the same bytes."""
    facts = {name: getattr(clip, name) for name in FACTS}
    arrays = io.BytesIO()
    np.savez(arrays, **{name: getattr(clip, name) for name in ARRAYS})
    members = [("json", json.dumps(facts, sort_keys=True).encode()), ("npz", arrays.getvalue())]
    if clip.sound:
        members.append(("wav", clip.sound))
    return members + [(f"{i:03d}.jpg", data) for i, data in enumerate(clip.encoded)]


def unpack(members: list[bytes], av_offset: float = 0.0) -> Clip:
    """The clip whose members these are, in the order of `pack`."""
    facts = json.loads(members[0])
    with np.load(io.BytesIO(members[1]), allow_pickle=False) as arrays:
        values = {name: arrays[name] for name in ARRAYS}
    sound = members[2] if members[2][:4] == b"RIFF" else b""
    frames = members[3:] if sound else members[2:]
    return Clip(**facts, **values, encoded=frames, sound=sound, av_offset=av_offset)
