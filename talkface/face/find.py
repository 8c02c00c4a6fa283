"""Face detection and mesh landmarks in photos and videos.

    finder = FaceFinder()
    faces = finder.find(photo)                  # all faces of a photo, from left to right
    for face in finder.track(frames): ...       # one face through a video; None in frames without a face

Images are uint8 RGB (H, W, 3); points are float32 (468, 2) in pixels of the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import cv2
import numpy as np

from talkface.config import EYE_CENTRE, EYE_DISTANCE
from talkface.face.detector import (
    DETECTOR_SIZE,
    MIN_SCORE,
    SAME_FACE_IOU,
    Detection,
    decode_detections,
    iou,
    suppress_duplicates,
)
from talkface.face.networks import FaceNetworks
from talkface.face.roi import (
    MESH_SIZE,
    crop,
    crop_to_image,
    has_drifted,
    window_from_box,
    window_from_detection,
    window_from_points,
)

if TYPE_CHECKING:
    import torch

MIN_TILE_SCORE = 0.7  # for tiles and rotated images: many windows give the detector many chances of a false positive
FULL_WINDOW_BONUS = 0.1  # added to the score in the whole, upright image when several windows show the same face
MIN_TILE_SIZE = 64  # px; a face of a tenth of this size would be too small to animate
DETECTOR_BATCH = 32  # windows
# A face counts as certain if the detector finds it again in an upright crop of its own, and the mesh is sure of it. Of
# 40 photos pasted at 24 to 90 px into other pictures, all faces had at least 0.74 and 0.96; what was found in patterns,
# text, coins and a cat had less than 0.7.
CERTAIN_SCORE = 0.7
CERTAIN_FLAG = 0.9
CERTAIN_CROP = 2.0  # side of that crop over the side of the mesh's window
QUARTER_TURNS = (0.0, np.pi / 2, np.pi, -np.pi / 2)
MIN_FACE_FLAG = 0.5  # of the mesh's confidence that its window shows a face
PROFILE_YAW = 40.0  # degrees; a face that is turned further cannot be animated
COUNT_INTERVAL = 25  # frames between two counts of the faces in a video
# Faces narrower than this share of the widest one are not counted in a video. In a studio they are usually faces on
# screens in the background, or false positives there.
MIN_SUBJECT_WIDTH = 0.6
MESH_PASSES = 3  # at most; the mesh is computed again when the face is not in the middle of its window

# The mesh's window on an aligned face (centre x, centre y, side, angle): the mean over the frames of
# config.ALIGNED_STABLE.
ALIGNED_WINDOW = np.array((EYE_CENTRE[0], EYE_CENTRE[1] + 0.5 * EYE_DISTANCE, 4.2 * EYE_DISTANCE, 0.0))


@dataclass(frozen=True)
class Face:
    """One face in one image."""

    box: np.ndarray
    """float32 (4,): x, y, width, height of the mesh, px."""
    points: np.ndarray
    """float32 (468, 2): the mesh, px; (68, 2) in the iBUG scheme with `--landmarks fan`."""
    score: float
    """The mesh's face flag in [0, 1]."""
    yaw: float
    """Approximate rotation about the vertical axis, degrees: 0 is frontal, positive is turned to the image's right."""
    mesh: np.ndarray | None = None
    """float32 (468, 3): the mesh with its depth, px of the image; z grows away from the viewer."""
    faces_seen: int = 1
    """Number of faces in the image. In a video: faces wide enough to be its subject, counted every 25 frames."""
    certain: bool = True
    """False for what may be something else than a face; only `find` checks this."""


class FaceFinder:
    """Finds faces with the detector and the mesh, which are loaded once.

    Args:
        device: where PyTorch runs the networks.
        networks: run by another engine, in place of PyTorch.

    Raises:
        TalkfaceError: the networks' weights are missing or broken.
    """

    def __init__(self, device: torch.device | str = "cpu", networks: FaceNetworks | None = None) -> None:
        if networks is None:
            from talkface.face.torch_networks import TorchFaceNetworks

            networks = TorchFaceNetworks(device)
        self.networks: FaceNetworks = networks

    def find(self, image: np.ndarray) -> list[Face]:
        """Find all faces of a photo, from left to right; an empty list if there is none.

        Searches the whole image, its four quarter turns and large tiles; if no face is found, smaller tiles. What is
        found only there counts only if it is certain; of the others, those that are not certain count if no face is.
        """
        for windows in filter(None, _search_windows(*image.shape[:2])):
            faces = self._sorted_out(image, self.verify(image, self.detect(image, windows)))
            if faces:
                return [replace(face, faces_seen=len(faces)) for face in faces]
        return []

    def find_in(self, image: np.ndarray, box: tuple[float, float, float, float]) -> Face | None:
        """Find the face in `box` (x, y, width, height in px), which the user has given; None if there is none."""
        x, y, width, height = box
        windows = [np.array((x + width / 2, y + height / 2, 2 * max(width, height), turn)) for turn in QUARTER_TURNS]
        inside = [face for face in self.verify(image, self.detect(image, windows)) if _is_in_box(face, box)]
        if inside:
            return max(inside, key=_area)
        points, flags = self.mesh_centred([image], [window_from_box(np.array(box, float))])
        return face_of_mesh(points[0], flags[0]) if flags[0] >= MIN_FACE_FLAG else None

    def track(self, frames: Iterable[np.ndarray], batch: int = 16) -> Iterator[Face | None]:
        """Track one face through a video; yields one face, or None, per frame.

        Starts with the largest face of the first frame that has one. A batch of frames goes through the mesh at once,
        cropped at the face's last position before the batch; frames in which the face has left its window are cropped
        and processed again.
        """
        frames = iter(frames)
        window, count, first = None, 1, 0
        while chunk := list(islice(frames, batch)):
            faces = self._track_batch(chunk, window)
            for index, face in enumerate(faces):
                if (first + index) % COUNT_INTERVAL == 0:
                    count = _count_possible_subjects(self.verify(chunk[index], self.detect(chunk[index])))
                yield face and replace(face, faces_seen=max(count, 1))
            window = window_from_points(faces[-1].points) if faces[-1] else None
            first += len(chunk)

    def landmarks_aligned(self, frames: np.ndarray, batch: int = 32) -> tuple[np.ndarray, np.ndarray]:
        """Compute the mesh of faces that are already aligned, without running the detector first.

        Args:
            frames: uint8 (N, 256, 256, 3), aligned as by `talkface.face.align`.
            batch: frames per forward pass.

        Returns:
            points float32 (N, 468, 2) in pixels of the aligned face; flags float32 (N,) in [0, 1]. If the mesh sees
            no face at the usual position, the detector searches the frame; without a face the flag stays below 0.5.
        """
        points = np.empty((len(frames), 468, 2), np.float32)
        flags = np.empty(len(frames), np.float32)
        for start in range(0, len(frames), batch):
            part = slice(start, start + batch)
            mesh, flags[part] = self.mesh(frames[part], [ALIGNED_WINDOW] * len(frames[part]))
            points[part] = mesh[:, :, :2]
        for index in np.flatnonzero(flags < MIN_FACE_FLAG):
            faces = self.verify(frames[index], self.detect(frames[index]))
            if faces:
                largest = max(faces, key=_area)
                points[index], flags[index] = largest.points, largest.score
        return points, flags

    def detect(self, image: np.ndarray, windows: list[np.ndarray] | None = None) -> list[Detection]:
        """Run the detector on the whole image or on each of `windows`; detections are returned best first.

        Every window after the first needs a higher score, because many windows produce more false positives. A
        detection of the first window is kept unless another window scores the same face higher by a margin, as it
        does for a face that is upside down.
        """
        windows = windows or [_full_window(*image.shape[:2])]
        ranked: list[tuple[float, Detection]] = []
        for start in range(0, len(windows), DETECTOR_BATCH):
            part = windows[start : start + DETECTOR_BATCH]
            crops = np.stack([crop(image, window, DETECTOR_SIZE, cv2.BORDER_CONSTANT) for window in part])
            scores, coordinates = self.networks.detect(crops)
            for index, window in enumerate(part):
                is_first = start + index == 0
                min_score = MIN_SCORE if is_first else MIN_TILE_SCORE
                detections = decode_detections(scores[index], _to_image(coordinates[index], window), min_score)
                ranked += [(one.score + FULL_WINDOW_BONUS * is_first, one) for one in detections]
        return suppress_duplicates([one for _, one in sorted(ranked, key=lambda pair: -pair[0])])

    def mesh(self, images: Iterable[np.ndarray], windows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Compute the mesh in one window of each image, in one batch.

        Args:
            images: N images of any sizes.
            windows: N windows (see `talkface.face.roi`).

        Returns:
            points float32 (N, 468, 3): x and y in pixels of the image, depth in the same unit; flags float32 (N,).
        """
        crops = np.stack([crop(image, window, MESH_SIZE) for image, window in zip(images, windows, strict=True)])
        points, flags = self.networks.mesh(crops)
        for mesh, window in zip(points, windows, strict=True):
            matrix = crop_to_image(window, MESH_SIZE)
            mesh[:, :2] = mesh[:, :2] @ matrix[:, :2].T + matrix[:, 2]
            mesh[:, 2] *= window[2] / MESH_SIZE
        return points, flags

    def verify(self, image: np.ndarray, detections: list[Detection]) -> list[Face]:
        """Return the detections that the mesh confirms as faces, from left to right."""
        if not detections:
            return []
        windows = [window_from_detection(detection) for detection in detections]
        points, flags = self.mesh_centred([image] * len(detections), windows)
        faces: list[Face] = []
        for mesh, flag in zip(points, flags, strict=True):
            face = face_of_mesh(mesh, flag)
            if flag >= MIN_FACE_FLAG and not any(iou(face.box, other.box) > SAME_FACE_IOU for other in faces):
                faces.append(face)
        faces = [replace(face, faces_seen=len(faces)) for face in faces]
        return sorted(faces, key=lambda face: face.box[0] + face.box[2] / 2)

    def _sorted_out(self, image: np.ndarray, faces: list[Face]) -> list[Face]:
        """Return the faces that are certain; if there are none, those that the detector finds in the whole image."""
        certain = [face for face in faces if self._is_certain(image, face)]
        if certain or not faces:
            return certain
        whole = self.detect(image)
        seen = [face for face in faces if any(iou(face.box, one.box) > SAME_FACE_IOU for one in whole)]
        return [replace(face, certain=False) for face in seen]

    def _is_certain(self, image: np.ndarray, face: Face) -> bool:
        if face.score <= CERTAIN_FLAG:
            return False
        window = window_from_points(face.points)
        window[2] *= CERTAIN_CROP
        detections = self.detect(image, [window])
        return any(one.score >= CERTAIN_SCORE and iou(face.box, one.box) > SAME_FACE_IOU for one in detections)

    def mesh_centred(self, images: list[np.ndarray], windows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Compute the mesh, again in a corrected window where the face is not in the middle of its window."""
        windows = list(windows)
        points, flags = self.mesh(images, windows)
        for _ in range(MESH_PASSES - 1):
            centred = [window_from_points(mesh[:, :2]) for mesh in points]
            again = [
                i for i in range(len(windows)) if flags[i] >= MIN_FACE_FLAG and has_drifted(windows[i], centred[i])
            ]
            if not again:
                break
            for i in again:
                windows[i] = centred[i]
            points[again], flags[again] = self.mesh([images[i] for i in again], [windows[i] for i in again])
        return points, flags

    def _track_batch(self, frames: list[np.ndarray], window: np.ndarray | None) -> list[Face | None]:
        """Return the faces of consecutive frames; the first one is near `window`, if that is given."""
        faces: list[Face | None] = [None] * len(frames)
        start = 0
        while window is None and start < len(frames):
            found = self.verify(frames[start], self.detect(frames[start]))
            if found:
                window = window_from_points(max(found, key=_area).points)
            else:
                start += 1
        if window is None:
            return faces
        points, flags = self.mesh_centred(frames[start:], [window] * (len(frames) - start))
        for index, (mesh, flag) in enumerate(zip(points, flags, strict=True), start):
            if flag >= MIN_FACE_FLAG:
                faces[index] = face_of_mesh(mesh, flag)
            else:
                faces[index] = max(self.verify(frames[index], self.detect(frames[index])), key=_area, default=None)
        return faces


def face_of_mesh(mesh: np.ndarray, flag: float) -> Face:
    """Make a face of its mesh (468, 3)."""
    points = np.ascontiguousarray(mesh[:, :2], np.float32)
    low, high = points.min(0), points.max(0)
    across = mesh[454] - mesh[234]  # from the left cheek to the right
    yaw = np.degrees(np.arctan2(across[2], np.hypot(across[0], across[1])))
    return Face(np.concatenate((low, high - low)), points, float(flag), float(yaw), np.array(mesh, np.float32))


def _count_possible_subjects(faces: list[Face]) -> int:
    """Count the faces that are wide enough to be the subject of the video."""
    widths = [face.box[2] for face in faces]
    return sum(bool(width >= MIN_SUBJECT_WIDTH * max(widths)) for width in widths)


def _area(face: Face) -> float:
    return float(face.box[2] * face.box[3])


def _is_in_box(face: Face, box: tuple[float, float, float, float]) -> bool:
    """Tell whether the centre of the face lies in the box."""
    centre = face.box[:2] + face.box[2:] / 2 - box[:2]
    return bool((centre >= 0).all() and (centre <= box[2:]).all())


def _full_window(height: int, width: int, angle: float = 0.0) -> np.ndarray:
    return np.array((width / 2, height / 2, max(width, height), angle))


def _search_windows(height: int, width: int) -> Iterator[list[np.ndarray]]:
    """Yield lists of windows to search, from coarse to fine.

    The detector only sees faces larger than a tenth of its window. The first list has the whole image at four quarter
    turns and large tiles; the other lists have smaller tiles.
    """
    full = [_full_window(height, width, turn) for turn in QUARTER_TURNS]
    yield full + _tiles(height, width, 1) + _tiles(height, width, 2)
    yield _tiles(height, width, 3)
    yield _tiles(height, width, 4)


def _tiles(height: int, width: int, parts: int) -> list[np.ndarray]:
    """Return half-overlapping squares with 1/`parts` of the image's short side; none if that is too small."""
    side = min(height, width) / parts
    if side < MIN_TILE_SIZE:
        return []
    columns = np.linspace(side / 2, width - side / 2, int(np.ceil(2 * width / side - 1)))
    rows = np.linspace(side / 2, height - side / 2, int(np.ceil(2 * height / side - 1)))
    return [np.array((x, y, side, 0.0)) for y in rows for x in columns]


def _to_image(coordinates: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Map the detector's coordinates (896, 8, 2) from pixels of its crop to pixels of the image; sizes are scaled."""
    matrix = crop_to_image(window, DETECTOR_SIZE)
    moved = coordinates @ matrix[:, :2].T + matrix[:, 2]
    moved[:, 1] = coordinates[:, 1] * (window[2] / DETECTOR_SIZE)
    return moved
