"""Steps that rendering a photo and dubbing a video have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from talkface.config import SOUND_RATE
from talkface.device import one_thread
from talkface.media.audio import Speech
from talkface.media.decode import stream_audio
from talkface.media.windows import iterate_windows
from talkface.model.checkpoint import AnyGenerator, load_generator, weights_hash
from talkface.model.generator import Generator
from talkface.model.hearing import stream_features, stream_vectors
from talkface.model.paper import PaperGenerator
from talkface.model.recogniser import load_speech_encoder
from talkface.model.talking import takes_mfcc

OnStep = Callable[[int, int], None]
OnNote = Callable[[str], None]
Frames = TypeVar("Frames")


def in_one_thread(frames: Iterator[Frames], device: torch.device) -> Iterator[Frames]:
    """The same frames; on a CPU PyTorch has one thread while one is generated, but not while the caller uses it."""
    while True:
        with one_thread(device.type == "cpu"):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


def speech_features(
    generator: AnyGenerator, speech: Speech, count: int, rate: Fraction, track: int | None, device: torch.device
) -> Iterator[np.ndarray]:
    """What the generator takes of the sound, for each of `count` frames."""
    if takes_mfcc(generator):
        return iterate_windows(speech.mfcc, count, rate)
    blocks = stream_audio(speech.path, SOUND_RATE, track)
    times = (float((k + Fraction(1, 2)) / rate) for k in range(count))
    return stream_features(stream_vectors(load_speech_encoder(device=device), blocks), times)


def open_generator(
    weights: str | Path | AnyGenerator | None, device: torch.device
) -> tuple[AnyGenerator, dict[str, str]]:
    """Return the network in evaluation mode on `device`, and its path and hash."""
    if isinstance(weights, Generator | PaperGenerator):
        return weights.to(device).eval(), {"path": "a Generator in memory"}
    generator = load_generator(weights, device)
    return generator, {"path": str(weights or "bundled"), "sha256": weights_hash(weights)}


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started
