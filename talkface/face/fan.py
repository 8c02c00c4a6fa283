"""`--landmarks fan`: 68 points by face-alignment's FAN-4, as the paper's lineage uses them, with our own detection.

Slow (about a second per face on a CPU), and its weights are not shipped: face-alignment downloads them (96 MB) on first
use. `FanFinder` can stand wherever a `FaceFinder` can; its faces have 68 points of iBUG's scheme instead of 468.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from urllib.error import URLError

import numpy as np
import torch

from talkface.errors import TalkfaceError
from talkface.face.find import ALIGNED_WINDOW, FLAG_WANTED, Face, FaceFinder
from talkface.face.roi import MARGIN, cut, to_picture, window_of_points

WEIGHTS_FILE = "2DFAN4-11f355bf06.pth.tar"
CUT_SIZE = 384  # px, side of the levelled cut that FAN gets
BOX_WIDTH = 0.8  # of its height: the shape of the boxes that FAN was trained with (S3FD's)


class Fan:
    """FAN-4 with its weights; arguments and errors as for `FanFinder`."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.network = _load_fan(str(device))

    def refine(self, picture: np.ndarray, face: Face) -> Face:
        """A face that `FaceFinder` found in the picture, with 68 points instead of 468."""
        return replace(face, points=self.points(picture, window_of_points(face.points)))

    def points(self, picture: np.ndarray, window: np.ndarray) -> np.ndarray:
        """FAN's points float32 (68, 2) in pixels of the picture, from a levelled cut with the face in its middle."""
        middle, reach = CUT_SIZE / 2, CUT_SIZE / MARGIN / 2
        box = [middle - BOX_WIDTH * reach, middle - reach, middle + BOX_WIDTH * reach, middle + reach, 1.0]
        found = self.network.get_landmarks_from_image(cut(picture, window, CUT_SIZE), detected_faces=[box])
        matrix = to_picture(window, CUT_SIZE)
        return (found[0] @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


class FanFinder:
    """Faces found by `FaceFinder`, their points by FAN-4. The methods are those of `FaceFinder`.

    Args:
        device: where the networks run.

    Raises:
        TalkfaceError: face-alignment is not installed, or its weights cannot be downloaded or read.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.finder = FaceFinder(device)
        self.fan = Fan(device)

    def find(self, picture: np.ndarray) -> list[Face]:
        """As `FaceFinder.find`."""
        return [self.fan.refine(picture, face) for face in self.finder.find(picture)]

    def find_in(self, picture: np.ndarray, box: tuple[float, float, float, float]) -> Face | None:
        """As `FaceFinder.find_in`."""
        face = self.finder.find_in(picture, box)
        return face and self.fan.refine(picture, face)

    def track(self, frames: Iterable[np.ndarray], batch: int = 16) -> Iterator[Face | None]:
        """As `FaceFinder.track`; keeps one batch of frames."""
        waiting: list[np.ndarray] = []

        def remembered() -> Iterator[np.ndarray]:
            for frame in frames:
                waiting.append(frame)
                yield frame

        for face in self.finder.track(remembered(), batch):
            frame = waiting.pop(0)
            yield face and self.fan.refine(frame, face)

    def landmarks_aligned(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `FaceFinder.landmarks_aligned`, with 68 points: float32 (N, 68, 2), and the mesh's flags."""
        mesh, flags = self.finder.landmarks_aligned(frames)
        points = np.empty((len(frames), 68, 2), np.float32)
        for index, frame in enumerate(frames):
            seen = flags[index] >= FLAG_WANTED
            points[index] = self.fan.points(frame, window_of_points(mesh[index]) if seen else ALIGNED_WINDOW)
        return points, flags


def _load_fan(device: str) -> object:
    """FAN-4 without a detector of its own, and not compiled: that needs a C++ compiler and is slow on first use."""
    package = _import_face_alignment()
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        return package.FaceAlignment(
            package.LandmarksType.TWO_D, device=device, flip_input=False, face_detector="folder", compile=False
        )
    except URLError as error:
        raise TalkfaceError(
            f"--landmarks fan: its weights cannot be downloaded ({error.reason}), and {folder} has no {WEIGHTS_FILE}.",
            f"Put {WEIGHTS_FILE} into {folder}, or leave out --landmarks fan.",
        ) from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        if not (folder / WEIGHTS_FILE).is_file():
            raise
        raise TalkfaceError(
            f"--landmarks fan: {folder / WEIGHTS_FILE} cannot be read; it may be cut.",
            "Delete it, so that it is downloaded anew, or leave out --landmarks fan.",
        ) from error


def _import_face_alignment() -> ModuleType:
    try:
        import face_alignment  # here, since it loads numba and scipy
    except ImportError as error:
        raise TalkfaceError(
            f"--landmarks fan: the package face-alignment cannot be loaded ({error}).",
            "Install it with: pip install face-alignment==1.5.0",
        ) from error
    return face_alignment
