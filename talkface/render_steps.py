"""Steps that rendering a photo, dubbing a video and live video have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from talkface.config import SOUND_RATE
from talkface.device import one_thread, seed_torch
from talkface.face.networks import FaceNetworks, face_networks
from talkface.kept import Kept
from talkface.media.audio import Speech
from talkface.media.decode import stream_audio
from talkface.media.windows import iterate_windows
from talkface.model.backend import Backend, choose_backend, load_any_generator, load_any_speech_encoder
from talkface.model.hearing import stream_features, stream_vectors
from talkface.model.onnx_engine import OnnxGenerator
from talkface.model.talking import takes_mfcc
from talkface.render_options import RenderOptions

if TYPE_CHECKING:
    from talkface.model.checkpoint import AnyGenerator

OnStep = Callable[[int, int], None]
OnNote = Callable[[str], None]
T = TypeVar("T")


class Notes:
    """The report's notes, told as soon as they are known.

    Args:
        on_note: called with each of them.
    """

    def __init__(self, on_note: OnNote | None) -> None:
        self.texts: list[str] = []
        self._on_note = on_note

    def add(self, *texts: str) -> None:
        """Add notes."""
        for text in texts:
            self.texts.append(text)
            if self._on_note:
                self._on_note(text)


def begin(options: RenderOptions, on_note: OnNote | None) -> tuple[Backend, Notes]:
    """The engine of a render, and its notes, of which the first may be about the engine."""
    notes = Notes(on_note)
    backend = choose_backend(options.backend, options.device, options.weights)
    if backend.note:
        notes.add(backend.note)
    return backend, notes


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the time that the block takes to a stage."""
    started = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started


def limits_threads(backend: Backend) -> bool:
    """Whether PyTorch runs on a CPU: the networks are too small to gain from more than one of its threads."""
    return backend.name == "torch" and backend.device == "cpu"


def in_one_thread(frames: Iterator[T], backend: Backend) -> Iterator[T]:
    """The same frames; on a CPU PyTorch has one thread while one is made, but not while the caller uses it."""
    limited = limits_threads(backend)
    while True:
        with one_thread() if limited else nullcontext():
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


def open_generator(options: RenderOptions, backend: Backend, kept: Kept) -> AnyGenerator | OnnxGenerator:
    """The generator, ready to speak; random draws begin at the seed."""
    if backend.name == "torch":
        seed_torch(options.seed)
    key = ("generator", options.weights, backend)
    return kept.once(key, lambda: load_any_generator(backend, options.weights))


def open_face_networks(backend: Backend, kept: Kept) -> FaceNetworks | None:
    """The face networks, as `talkface.face.networks.face_networks` chooses them."""
    return kept.once(("face networks", backend.device), lambda: face_networks(backend.device))


def speech_features(
    generator: AnyGenerator | OnnxGenerator, speech: Speech, count: int, rate: Fraction, backend: Backend, kept: Kept
) -> Iterator[np.ndarray]:
    """What the generator takes of the sound, for each of `count` frames at `rate` per second."""
    if takes_mfcc(generator):
        return iterate_windows(speech.mfcc, count, rate)
    blocks = stream_audio(speech.path, SOUND_RATE, speech.track, speech.downmix)
    times = (float((k + Fraction(1, 2)) / rate) for k in range(count))
    encoder = kept.once(("speech encoder", backend), lambda: load_any_speech_encoder(backend))
    return stream_features(stream_vectors(encoder, blocks), times)
