"""Faces in pictures and videos: where they are and their 468 mesh points.

    finder = FaceFinder()
    faces = finder.find(photo)                  # all faces of a photo, left to right
    for face in finder.track(frames): ...       # one face through a video, None where there is none

Pictures are uint8 RGB (H, W, 3); points float32 (468, 2) in pixels of the picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import cv2
import numpy as np
import torch

from talkface.config import EYE_CENTRE, EYE_DISTANCE
from talkface.face.detector import (
    DETECTOR_SIZE,
    OVERLAP_OF_ONE_FACE,
    SCORE_WANTED,
    Detection,
    best_of_each_face,
    load_face_detector,
    overlap,
    read_detections,
)
from talkface.face.mesh import MESH_SIZE, load_face_mesh
from talkface.face.roi import cut, drifted, to_picture, window_of_box, window_of_detection, window_of_points

SCORE_WANTED_CLOSER = 0.7  # of the detector in tiles and turned pictures, where it has many chances to err
SMALLEST_TILE = 64  # px; a face of a tenth of it would be too small to animate
FIRST_LOOK_BONUS = 0.1  # on the detector's score in the whole, upright picture, where several looks see one face
QUARTER_TURNS = (0.0, np.pi / 2, np.pi, -np.pi / 2)
FLAG_WANTED = 0.5  # the mesh's own judgement that it looks at a face
PROFILE_YAW = 40.0  # degrees from which a face is too much of a profile to be animated
COUNT_EVERY = 25  # frames between two counts of the faces in a video
# Of the widest face's width: from here on another face might be the one who speaks. In a studio, smaller ones are those
# on the screens behind, or what the networks take for a face there.
RIVAL_WIDTH = 0.6
PASSES = 3  # times the mesh looks again where the face has left the middle of its window

# The window for the mesh on an aligned face: centre, side, angle; the mean over the frames that made align.TEMPLATE.
ALIGNED_WINDOW = np.array((EYE_CENTRE[0], EYE_CENTRE[1] + 0.5 * EYE_DISTANCE, 4.2 * EYE_DISTANCE, 0.0))


@dataclass(frozen=True)
class Face:
    """One face in one picture."""

    box: np.ndarray
    """float32 (4,): x, y, width, height of the mesh, pixels."""
    points: np.ndarray
    """float32 (468, 2): the mesh, pixels; 68 points of iBUG with `--landmarks fan`."""
    score: float
    """The mesh's face flag in [0, 1]."""
    yaw: float
    """How far the face is turned, degrees, rough: 0 to the camera, positive to the picture's right."""
    faces_seen: int = 1
    """Faces in this picture; in a video, those that might be its subject, at the last count, made every 25 frames."""


class FaceFinder:
    """Detector and mesh, loaded once.

    Args:
        device: where the networks run.

    Raises:
        TalkfaceError: the networks' weights are missing or broken.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.detector = load_face_detector(device=self.device)
        self.mesh_network = load_face_mesh(device=self.device)

    def find(self, picture: np.ndarray) -> list[Face]:
        """All faces of a photo, from left to right; an empty list where there is none.

        Looks at the whole, at the whole turned by quarters, and at large tiles; if it finds nothing, at small tiles.
        """
        for windows in filter(None, _ever_closer(*picture.shape[:2])):
            faces = self._faces(picture, self.detect(picture, windows))
            if faces:
                return faces
        return []

    def find_in(self, picture: np.ndarray, box: tuple[float, float, float, float]) -> Face | None:
        """The face in `box` (x, y, width, height in pixels), which the user points at; None if the mesh sees none."""
        x, y, width, height = box
        around = [np.array((x + width / 2, y + height / 2, 2 * max(width, height), turn)) for turn in QUARTER_TURNS]
        inside = [face for face in self._faces(picture, self.detect(picture, around)) if _in_box(face, box)]
        if inside:
            return max(inside, key=_area)
        points, flags = self._settle([picture], [window_of_box(np.array(box, float))])
        return _face(points[0], flags[0]) if flags[0] >= FLAG_WANTED else None

    def track(self, frames: Iterable[np.ndarray], batch: int = 16) -> Iterator[Face | None]:
        """One face through a video: for every frame the face, or None where there is none.

        The largest face of the first frame that has one, then the one where it was. Frames go through the mesh in
        batches, all cut where the face was before the batch; frames in which it has moved away are looked at again.
        """
        frames = iter(frames)
        window, count, number = None, 1, 0
        while chunk := list(islice(frames, batch)):
            faces = self._track_batch(chunk, window)
            for index, face in enumerate(faces):
                if (number + index) % COUNT_EVERY == 0:
                    count = _rivals(self._faces(chunk[index], self.detect(chunk[index])))
                yield face and replace(face, faces_seen=max(count, 1))
            window = window_of_points(faces[-1].points) if faces[-1] else None
            number += len(chunk)

    def landmarks_aligned(self, frames: np.ndarray, batch: int = 32) -> tuple[np.ndarray, np.ndarray]:
        """The mesh of faces that are aligned already, without detection.

        Args:
            frames: uint8 (N, 256, 256, 3), aligned as by `talkface.face.align`.

        Returns:
            points float32 (N, 468, 2) in pixels of the 256; flags float32 (N,) in [0, 1]. Where the mesh sees no face
            in the usual place, the detector looks for it; where there is none, the flag stays under 0.5.
        """
        points = np.empty((len(frames), 468, 2), np.float32)
        flags = np.empty(len(frames), np.float32)
        for start in range(0, len(frames), batch):
            part = slice(start, start + batch)
            found, flags[part] = self.mesh(frames[part], [ALIGNED_WINDOW] * len(frames[part]))
            points[part] = found[:, :, :2]
        for index in np.flatnonzero(flags < FLAG_WANTED):
            faces = self._faces(frames[index], self.detect(frames[index]))
            if faces:
                best = max(faces, key=_area)
                points[index], flags[index] = best.points, best.score
        return points, flags

    def detect(self, picture: np.ndarray, windows: list[np.ndarray] | None = None) -> list[Detection]:
        """What the detector takes for faces, best first, in the whole picture or in each of `windows` on it.

        After the first window the detector must be surer, since many looks at a picture find more that is none; and
        what it found in the first is kept unless another look is surer by far, as it is of a face upside down.
        """
        windows = windows or [_whole(*picture.shape[:2])]
        found: list[tuple[float, Detection]] = []
        for start in range(0, len(windows), 32):
            part = windows[start : start + 32]
            cuts = np.stack([cut(picture, window, DETECTOR_SIZE, cv2.BORDER_CONSTANT) for window in part])
            with torch.inference_mode():
                scores, places = (one.cpu().numpy() for one in self.detector(self._to_tensor(cuts) * 2 - 1))
            for index, window in enumerate(part):
                first = start + index == 0
                wanted = SCORE_WANTED if first else SCORE_WANTED_CLOSER
                ones = read_detections(scores[index], _place_in_picture(places[index], window), wanted)
                found += [(one.score + FIRST_LOOK_BONUS * first, one) for one in ones]
        return best_of_each_face([one for _, one in sorted(found, key=lambda ranked: -ranked[0])])

    def mesh(self, pictures: Iterable[np.ndarray], windows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The mesh in one window of each picture, all in one batch.

        Args:
            pictures: N pictures, of any sizes.
            windows: N windows (see `talkface.face.roi`).

        Returns:
            points float32 (N, 468, 3): x, y in pixels of the picture, depth in the same unit; flags float32 (N,).
        """
        cuts = np.stack([cut(picture, window, MESH_SIZE) for picture, window in zip(pictures, windows, strict=True)])
        with torch.inference_mode():
            points, flags = self.mesh_network(self._to_tensor(cuts))
        points = points.cpu().numpy()
        for found, window in zip(points, windows, strict=True):
            matrix = to_picture(window, MESH_SIZE)
            found[:, :2] = found[:, :2] @ matrix[:, :2].T + matrix[:, 2]
            found[:, 2] *= window[2] / MESH_SIZE
        return points, flags.cpu().numpy()

    def _to_tensor(self, cuts: np.ndarray) -> torch.Tensor:
        """uint8 (N, H, W, 3) to float (N, 3, H, W) in [0, 1], channels last in memory."""
        return torch.from_numpy(cuts).to(self.device).permute(0, 3, 1, 2).float() / 255

    def _faces(self, picture: np.ndarray, found: list[Detection]) -> list[Face]:
        """The detections that the mesh, too, takes for faces, from left to right."""
        if not found:
            return []
        points, flags = self._settle([picture] * len(found), [window_of_detection(one) for one in found])
        faces: list[Face] = []
        for mesh, flag in zip(points, flags, strict=True):
            face = _face(mesh, flag)
            if flag >= FLAG_WANTED and not any(overlap(face.box, other.box) > OVERLAP_OF_ONE_FACE for other in faces):
                faces.append(face)
        faces = [replace(face, faces_seen=len(faces)) for face in faces]
        return sorted(faces, key=lambda face: face.box[0] + face.box[2] / 2)

    def _settle(self, pictures: list[np.ndarray], windows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The mesh in windows that follow the face: looks again where a face is not in the middle of its window."""
        windows = list(windows)
        points, flags = self.mesh(pictures, windows)
        for _ in range(PASSES - 1):
            wanted = [window_of_points(one[:, :2]) for one in points]
            again = [i for i in range(len(windows)) if flags[i] >= FLAG_WANTED and drifted(windows[i], wanted[i])]
            if not again:
                break
            for i in again:
                windows[i] = wanted[i]
            points[again], flags[again] = self.mesh([pictures[i] for i in again], [windows[i] for i in again])
        return points, flags

    def _track_batch(self, frames: list[np.ndarray], window: np.ndarray | None) -> list[Face | None]:
        """The faces of consecutive frames, the first of them near `window` if one is given."""
        faces: list[Face | None] = [None] * len(frames)
        start = 0
        while window is None and start < len(frames):
            found = self._faces(frames[start], self.detect(frames[start]))
            if found:
                window = window_of_points(max(found, key=_area).points)
            else:
                start += 1
        if window is None:
            return faces
        points, flags = self._settle(frames[start:], [window] * (len(frames) - start))
        for index, (one, flag) in enumerate(zip(points, flags, strict=True), start):
            if flag >= FLAG_WANTED:
                faces[index] = _face(one, flag)
            else:
                faces[index] = max(self._faces(frames[index], self.detect(frames[index])), key=_area, default=None)
        return faces


def _face(mesh: np.ndarray, flag: float) -> Face:
    """A face from its mesh (468, 3)."""
    points = np.ascontiguousarray(mesh[:, :2], np.float32)
    low, high = points.min(0), points.max(0)
    across = mesh[454] - mesh[234]  # from the left cheek to the right
    yaw = np.degrees(np.arctan2(across[2], np.hypot(across[0], across[1])))
    return Face(np.concatenate((low, high - low)), points, float(flag), float(yaw))


def _rivals(faces: list[Face]) -> int:
    """How many of the faces are wide enough to be the one that a video is about."""
    widths = [face.box[2] for face in faces]
    return sum(bool(width >= RIVAL_WIDTH * max(widths)) for width in widths)


def _area(face: Face) -> float:
    return float(face.box[2] * face.box[3])


def _in_box(face: Face, box: tuple[float, float, float, float]) -> bool:
    """Whether the middle of the face lies in the box."""
    middle = face.box[:2] + face.box[2:] / 2 - box[:2]
    return bool((middle >= 0).all() and (middle <= box[2:]).all())


def _whole(height: int, width: int, angle: float = 0.0) -> np.ndarray:
    return np.array((width / 2, height / 2, max(width, height), angle))


def _ever_closer(height: int, width: int) -> Iterator[list[np.ndarray]]:
    """Windows to look for faces in: the whole, upright and turned, with large tiles; then small tiles.

    The detector sees only faces larger than a tenth of its window.
    """
    yield [_whole(height, width, turn) for turn in QUARTER_TURNS] + _tiles(height, width, 1) + _tiles(height, width, 2)
    yield _tiles(height, width, 3)
    yield _tiles(height, width, 4)


def _tiles(height: int, width: int, parts: int) -> list[np.ndarray]:
    """Squares of the picture's short side over `parts`, half overlapping; none where they would show no face."""
    side = min(height, width) / parts
    if side < SMALLEST_TILE:
        return []
    columns = np.linspace(side / 2, width - side / 2, int(np.ceil(2 * width / side - 1)))
    rows = np.linspace(side / 2, height - side / 2, int(np.ceil(2 * height / side - 1)))
    return [np.array((x, y, side, 0.0)) for y in rows for x in columns]


def _place_in_picture(places: np.ndarray, window: np.ndarray) -> np.ndarray:
    """The detector's places (896, 8, 2) from pixels of its cut to pixels of the picture; sizes only scaled."""
    matrix = to_picture(window, DETECTOR_SIZE)
    moved = places @ matrix[:, :2].T + matrix[:, 2]
    moved[:, 1] = places[:, 1] * (window[2] / DETECTOR_SIZE)
    return moved
