"""One face and one sound to frames, for any generator: what `render` and `eval` have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from talkface.config import FPS
from talkface.model.checkpoint import AnyGenerator
from talkface.model.inference import (
    AlignedFace,
    OutputFrame,
    generate_frames,
    generate_paper_frames,
    predict_lips,
)
from talkface.model.paper import PaperGenerator


def takes_mfcc(generator: AnyGenerator) -> bool:
    """Whether the generator takes 20x13 MFCC windows; otherwise it takes features of the speech recogniser."""
    return isinstance(generator, PaperGenerator) or generator.audio_encoder.windows is not None


def animate(
    generator: AnyGenerator,
    face: AlignedFace,
    features: Iterable[np.ndarray],
    expression: float = 1.0,
    fps: float = FPS,
) -> Iterator[OutputFrame]:
    """Frames of the face saying what is in the features.

    Args:
        generator: in eval mode.
        face: who speaks.
        features: of each frame: float32 (20, 13) MFCC windows or float32 (768,) of the recogniser.
        expression: factor on the opening of the mouth; 1 is life's spread. The paper's generator has no such factor.
        fps: frames per second.
    """
    if isinstance(generator, PaperGenerator):
        return generate_paper_frames(generator, face, features)
    return generate_frames(generator, face, predict_lips(generator, face, features, expression), fps)
