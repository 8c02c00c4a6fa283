"""The picture of an ablation (paper Fig. 6): the same moments of a clip as each row shows them.

Strips show the faces of the data set: think of its terms before you publish them.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from talkface.data.clip import Clip
from talkface.data.reader import ClipDataset, evenly_spaced
from talkface.media.image import save_png
from talkface.model.checkpoint import load_generator
from talkface.model.generator import Generator
from talkface.model.inference import AlignedFace, speak

CLIPS = 3
COLUMNS = 8
LONGEST = 75  # frames of a clip
SIDE = 128  # px of a frame in the picture
MARGIN = 130  # px for the names at the left


def draw_strips(out: Path, clips: ClipDataset, weights: dict[str, Path]) -> None:
    """strip-1.png ...: for the first, the middle and the last clip the real frames, and those of each row."""
    generators = {row: load_generator(path) for row, path in weights.items()}
    for number, index in enumerate(evenly_spaced(len(clips), CLIPS), 1):
        save_png(out / f"strip-{number}.png", strip(clips[index], generators))


def strip(clip: Clip, generators: dict[str, Generator]) -> np.ndarray:
    """Rows "real" and then one for each generator, COLUMNS moments of the clip, uint8 RGB."""
    length = min(len(clip), LONGEST)
    moments = evenly_spaced(length, COLUMNS)
    rows = [_row("real", [clip.frame(moment) for moment in moments])]
    for name, generator in generators.items():
        spoken = enumerate(speak(generator, AlignedFace(clip.frame(0), clip.lips[0]), clip.mfcc[:length]))
        rows.append(_row(name, [frame.face for moment, frame in spoken if moment in moments]))
    return np.vstack(rows)


def _row(name: str, faces: list[np.ndarray]) -> np.ndarray:
    label = np.full((SIDE, MARGIN, 3), 255, np.uint8)
    cv2.putText(label, name, (6, SIDE // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.hstack([label, *(cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for face in faces)])
