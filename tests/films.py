"""Films to test with, made of a public-domain face (NASA's portrait of Eileen Collins, in scikit-image)."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import soundfile

from talkface.media.video import VideoWriter

FPS = 25
RATE = 16_000  # Hz
SIDE = 256
MOUTH_X, MOUTH_Y, HALF_WIDTH, CHIN_Y, WIDE_OPEN = 127.0, 147.0, 28.0, 215.0, 14.0  # px of `portrait`


def portrait() -> np.ndarray:
    """A face, uint8 RGB (256, 256, 3), its eyes 42 px apart."""
    return np.ascontiguousarray(skimage.data.astronaut()[:SIDE, 96 : 96 + SIDE])


def mouth_opened(face: np.ndarray, by: float) -> np.ndarray:
    """`portrait` with the jaw dropped, `by` 0 (not at all) to 1."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    gap = by * WIDE_OPEN * np.clip(1 - ((x - MOUTH_X) / HALF_WIDTH) ** 2, 0, 1)
    below = (y - MOUTH_Y - gap) / (CHIN_Y - MOUTH_Y - gap)
    moved = np.where(y >= MOUTH_Y + gap, y - gap * np.clip(1 - below, 0, 1), y)
    opened = cv2.remap(face, x, moved.astype(np.float32), cv2.INTER_LINEAR)
    inside = (y >= MOUTH_Y) & (y < MOUTH_Y + gap)
    opened[inside] = (60, 15, 20)
    return opened


def syllables(frames: int, seed: int = 0) -> np.ndarray:
    """How much is said in each hundredth of a second, 0 to 1, (frames * 4,): a few syllables a second."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.random(frames // 3 + 2) ** 2, 12)[: frames * 4]
    return np.clip(np.convolve(np.pad(level, 6, "edge"), np.hanning(13) / np.hanning(13).sum(), "valid"), 0, 1)


def talking(loudness: np.ndarray, face: np.ndarray | None = None) -> list[np.ndarray]:
    """Frames of a face whose mouth opens with `loudness` (steps of 10 ms, 0 to 1)."""
    face = portrait() if face is None else face
    return [mouth_opened(face, by) for by in loudness.reshape(-1, 4).mean(1)]


def sound_of(loudness: np.ndarray, seed: int = 0) -> np.ndarray:
    """Noise at 16 kHz, as loud as `loudness` says (steps of 10 ms, 0 to 1)."""
    level = np.interp(np.arange(len(loudness) * RATE // 100) / (RATE // 100), np.arange(len(loudness)), loudness)
    noise = np.random.default_rng(seed).standard_normal(len(level))
    return (0.25 * (level + 0.01) * noise).clip(-1, 1).astype(np.float32)


def write_film(
    path: Path, frames: Sequence[np.ndarray], sound: np.ndarray | None = None, fps: float | str = FPS
) -> Path:
    """An mp4 of `frames` with `sound` (16 kHz), or without."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    wav = path.with_suffix(".wav")
    if sound is not None:
        soundfile.write(wav, sound, RATE)
    with VideoWriter(path, width, height, fps, wav if sound is not None else None, preset="ultrafast") as film:
        for frame in frames:
            film.write(frame)
    wav.unlink(missing_ok=True)
    return path


def write_talk(path: Path, frames: int = 20, seed: int = 0) -> Path:
    """A film of somebody talking, good enough to become a clip."""
    loudness = syllables(frames, seed)
    return write_film(path, talking(loudness), sound_of(loudness, seed))
