"""The autoregressive loop (paper 3.1, 3.3): one photo and the speech features of each frame make a stream of frames.

The identity is encoded once. Each frame gets the one before it and its mask. Memory does not grow with the length of
the speech. The networks run in PyTorch or in ONNX Runtime, whichever the generator was loaded for.

A video begins with the photo as it is and leaves it within a fraction of a second: at first its lips are where the
photo has them, whatever is heard.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from talkface.config import FPS
from talkface.model.frames import REACH, REGION, AlignedFace, GeneratorEngine, OutputFrame, crop_corner
from talkface.model.onnx_engine import OnnxGenerator

if TYPE_CHECKING:
    from talkface.model.generator import Generator

__all__ = [
    "REGION",
    "AlignedFace",
    "FaceRenderer",
    "OutputFrame",
    "crop_corner",
    "generate_frames",
    "predict_lips",
]

BLOCK = 250  # frames whose lips are predicted together
ONSET = 0.12  # s in which the photo's own lips fade to a third
TORCH_NAMES = ("generate_paper_frames", "to_network", "to_picture")  # of torch_engine, which is loaded on first use


def __getattr__(name: str) -> Any:
    if name not in TORCH_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from talkface.model import torch_engine

    return getattr(torch_engine, name)


def engine_of(generator: Generator | OnnxGenerator) -> GeneratorEngine:
    """The engine that runs a generator: ONNX Runtime for its graphs, PyTorch for its module."""
    if isinstance(generator, OnnxGenerator):
        return generator
    from talkface.model.torch_engine import TorchGenerator

    return TorchGenerator(generator)


def predict_lips(
    generator: Generator | OnnxGenerator, face: AlignedFace, features: Iterable[np.ndarray], expression: float = 1.0
) -> Iterator[np.ndarray]:
    """The lips of each frame, float32 (40, 2) px of the aligned face.

    Args:
        generator: in eval mode.
        face: who speaks.
        features: of each frame, as the generator takes them: float32 (768,), or (20, 13) for MFCC.
        expression: factor on the opening of the mouth; 1 is life's spread.
    """
    engine = engine_of(generator)
    source, before, ended = iter(features), 0, False
    held: list[np.ndarray] = []
    while not ended:
        wanted = before + BLOCK + REACH
        while len(held) < wanted and not ended:
            block = next(source, None)
            ended = block is None
            if block is not None:
                held.append(block)
        count = len(held) - before if ended else BLOCK
        if count:
            yield from engine.lips(np.stack(held), face.lips, expression)[before : before + count]
        drop = max(before + count - REACH, 0)
        held, before = held[drop:], before + count - drop


def generate_frames(
    generator: Generator | OnnxGenerator,
    face: AlignedFace,
    lips: Iterable[np.ndarray],
    fps: float = FPS,
    picture: bool = True,
) -> Iterator[OutputFrame]:
    """Frames of the face with these lips.

    Args:
        generator: in eval mode.
        face: who speaks.
        lips: of each frame, float32 (40, 2) px of the aligned face.
        fps: frames per second, for the speed at which the photo's own lips are left.
        picture: whether the frames' `face` is computed, which paste-back does not need.
    """
    renderer = FaceRenderer(generator, face, picture)
    begun = None
    for number, wanted in enumerate(lips):
        begun = wanted - face.lips if begun is None else begun
        photo_share = math.exp(-number / fps / ONSET)
        yield renderer.frame(wanted - np.float32(photo_share) * begun, 1 - photo_share**3)


class FaceRenderer:
    """One face, frame by frame: the state that is fed back, and the fields that carry the lips.

    Args:
        generator: in eval mode.
        face: who speaks.
        picture: whether the frames' `face` is computed; without it `face` is the photo itself.
    """

    def __init__(self, generator: Generator | OnnxGenerator, face: AlignedFace, picture: bool = True) -> None:
        self.generator, self.face = generator, face
        self._state = engine_of(generator).open_face(face, picture)

    @property
    def corner(self) -> tuple[int, int]:
        """x, y of the crop's first pixel in the aligned face."""
        return crop_corner(self.face.lips)

    def see(self, face: AlignedFace) -> None:
        """Take the identity from another picture of the face, such as the next frame of a video that is dubbed.

        The frame that was made last, and its mask, are still fed back.
        """
        self.face = face
        self._state.see(face)

    def frame(self, lips: np.ndarray, share: float = 1.0) -> OutputFrame:
        """The next frame.

        Args:
            lips: float32 (40, 2) px of the aligned face.
            share: of the paint and the movement that is shown; 0 gives the photo.
        """
        return self._state.frame(lips, share)
