"""Recordings that several test files make."""

import struct
import subprocess

import numpy as np

from talkface.media.ffmpeg import ffmpeg_exe


def voice(seconds: float, rate: int = 5000, pitch: float = 120.0, seed: int = 0) -> np.ndarray:
    """Audio similar to speech: harmonics of a pitch, in syllables, with some noise. float32 in [-1, 1]."""
    time = np.arange(round(seconds * rate)) / rate
    harmonics = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 12))
    noise = np.random.default_rng(seed).normal(size=len(time))
    return (0.2 * (np.sin(2 * np.pi * 3 * time) ** 2) * (harmonics + 0.1 * noise)).astype(np.float32)


def wav_bytes(sound: np.ndarray, rate: int, channels: int = 1, lies: dict[str, int] | None = None) -> bytes:
    """A wav file of float32 or int16 samples; `lies` are wrong values for its header."""
    data = np.ascontiguousarray(sound).tobytes()
    width = sound.dtype.itemsize
    true = {"size": len(data), "rate": rate, "channels": channels, "kind": 3 if sound.dtype.kind == "f" else 1}
    said = true | (lies or {})
    frame = channels * width
    head = struct.pack("<IHHII", 16, said["kind"], said["channels"], said["rate"], rate * frame)
    head += struct.pack("<HH", frame, 8 * width)
    size = min(said["size"], 0xFFFFFFFF)
    return (
        b"RIFF"
        + struct.pack("<I", min(36 + size, 0xFFFFFFFF))
        + b"WAVEfmt "
        + head
        + b"data"
        + struct.pack("<I", size)
        + data
    )


def save_wav(path, sound, rate=5000, channels=1, lies=None):
    path.write_bytes(wav_bytes(sound, rate, channels, lies))
    return path


def pcm16(sound: np.ndarray) -> np.ndarray:
    return np.round(sound * 32767).astype("<i2")


def convert(source, target, *options):
    command = [ffmpeg_exe(), "-v", "error", "-y", "-i", f"file:{source}", *options, f"file:{target}"]
    subprocess.run(command, check=True)
    return target
