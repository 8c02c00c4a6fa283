"""`--landmarks fan`: 68 landmarks by FAN-4 of the package face-alignment, on faces that `FaceFinder` has detected.

FAN is slow (about a second per face on a CPU). Its weights are not bundled: face-alignment downloads 96 MB on first
use. `FanFinder` has the methods that `talkface.face.select` needs; its faces have 68 points in the iBUG scheme instead
of 468.
"""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import URLError

import numpy as np
import torch

from talkface.errors import TalkfaceError
from talkface.face.find import Face, FaceFinder
from talkface.face.roi import MARGIN, crop, crop_to_image, window_from_points

WEIGHTS_FILE = "2DFAN4-11f355bf06.pth.tar"
CROP_SIZE = 384  # px, side of the crop that is given to FAN
BOX_ASPECT = 0.8  # width over height of the face boxes that FAN was trained with (S3FD's)


class FanFinder:
    """Finds faces with `FaceFinder` and their landmarks with FAN-4.

    Args:
        device: where the networks run.

    Raises:
        TalkfaceError: face-alignment is not installed, or its weights cannot be downloaded or read.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.finder = FaceFinder(device)
        self.network = _load_fan(str(device))

    def find(self, image: np.ndarray) -> list[Face]:
        """Find all faces of a photo, as `FaceFinder.find` does."""
        return [self._with_68_points(image, face) for face in self.finder.find(image)]

    def find_in(self, image: np.ndarray, box: tuple[float, float, float, float]) -> Face | None:
        """Find the face in a box, as `FaceFinder.find_in` does."""
        face = self.finder.find_in(image, box)
        return face and self._with_68_points(image, face)

    def _with_68_points(self, image: np.ndarray, face: Face) -> Face:
        """Replace a face's mesh by FAN's points, float32 (68, 2), computed in a level crop centred on the face."""
        window = window_from_points(face.points)
        centre, reach = CROP_SIZE / 2, CROP_SIZE / MARGIN / 2
        box = [centre - BOX_ASPECT * reach, centre - reach, centre + BOX_ASPECT * reach, centre + reach, 1.0]
        points = self.network.get_landmarks_from_image(crop(image, window, CROP_SIZE), detected_faces=[box])
        matrix = crop_to_image(window, CROP_SIZE)
        return replace(face, points=(points[0] @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32))


def _load_fan(device: str) -> Any:
    """Load FAN-4 without its own face detector and uncompiled: compiling needs a C++ compiler and is slow at first."""
    package = _import_face_alignment()
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        return package.FaceAlignment(
            package.LandmarksType.TWO_D, device=device, flip_input=False, face_detector="folder", compile=False
        )
    except URLError as error:
        raise TalkfaceError(
            f"--landmarks fan: its weights cannot be downloaded ({error.reason}), and {WEIGHTS_FILE} is not in "
            f"{folder}.",
            f"Copy {WEIGHTS_FILE} into {folder}, or leave out --landmarks fan.",
        ) from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        if not (folder / WEIGHTS_FILE).is_file():
            raise
        raise TalkfaceError(
            f"--landmarks fan: {folder / WEIGHTS_FILE} cannot be read; it may be truncated.",
            "Delete it, so that it is downloaded again, or leave out --landmarks fan.",
        ) from error


def _import_face_alignment() -> ModuleType:
    try:
        import face_alignment  # not at the top, because it imports numba and scipy
    except ImportError as error:
        raise TalkfaceError(
            f"--landmarks fan: the package face-alignment cannot be loaded ({error}).",
            "Install it with: pip install face-alignment==1.5.0",
        ) from error
    return face_alignment
