"""One face and one sound to frames, for any generator: what `render` and `eval` have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeGuard, cast

import numpy as np

from talkface.config import FPS
from talkface.model.inference import AlignedFace, OutputFrame, engine_of, generate_frames, predict_lips
from talkface.model.onnx_engine import OnnxGenerator

if TYPE_CHECKING:
    from talkface.model.checkpoint import AnyGenerator
    from talkface.model.generator import Generator
    from talkface.model.paper import PaperGenerator


def is_paper(generator: AnyGenerator | OnnxGenerator) -> TypeGuard[PaperGenerator]:
    """Whether it is the paper's generator, which draws whole faces and runs in PyTorch alone."""
    if isinstance(generator, OnnxGenerator):
        return False
    from talkface.model.paper import PaperGenerator

    return isinstance(generator, PaperGenerator)


def takes_mfcc(generator: AnyGenerator | OnnxGenerator) -> bool:
    """Whether the generator takes 20x13 MFCC windows; otherwise it takes features of the speech recogniser."""
    return is_paper(generator) or engine_of(generator).takes_mfcc  # type: ignore[arg-type]


def animate(
    generator: AnyGenerator | OnnxGenerator,
    face: AlignedFace,
    features: Iterable[np.ndarray],
    expression: float = 1.0,
    fps: float = FPS,
    picture: bool = True,
) -> Iterator[OutputFrame]:
    """Frames of the face saying what is in the features.

    Args:
        generator: in eval mode, or its graphs.
        face: who speaks.
        features: of each frame: float32 (20, 13) MFCC windows or float32 (768,) of the recogniser.
        expression: factor on the opening of the mouth; 1 is life's spread. The paper's generator has no such factor.
        fps: frames per second.
        picture: whether the frames' `face` is computed, which paste-back does not need.
    """
    if is_paper(generator):
        from talkface.model.torch_engine import generate_paper_frames

        return generate_paper_frames(generator, face, features)
    speaker = cast("Generator | OnnxGenerator", generator)
    return generate_frames(speaker, face, predict_lips(speaker, face, features, expression), fps, picture)
