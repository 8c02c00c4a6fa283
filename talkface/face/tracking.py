"""One person's face through a video: followed by position and size, found again after a loss and after each cut.

    for tracked in PersonTracker(FaceFinder()).follow(frames):
        ...                                     # tracked.face, or None where the person is not seen; tracked.shot

Frames are uint8 RGB (H, W, 3). A batch of 16 is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import cv2
import numpy as np

from talkface.face.find import MIN_FACE_FLAG, Face, FaceFinder, face_of_mesh
from talkface.face.roi import window_from_points

BATCH = 16  # frames that go through the mesh together
THUMBNAIL = (32, 18)  # px, width and height of the pictures that cuts are seen in
CUT_CHANGE = 18.0  # mean change of a thumbnail's pixels, in gray levels, from which there may be a cut
CUT_RATIO = 4.0  # how much larger than the changes before it the change at a cut is; a fast pan changes all frames
CHANGE_MEMORY = 0.7  # share of the mean of earlier changes that remains after a frame
SEARCH_EVERY = 10  # frames between two searches for small and turned faces while there is none
LOST_FRAMES = 50  # after so many frames without the person, whoever is there is followed
MAX_MOVE = 0.4  # face widths by which a face moves between two frames at most
MOVE_WHILE_LOST = 0.1  # face widths that are added for each frame in which the face was not seen
MAX_GROWTH = 1.5  # factor on the size between two sightings of the same face
LOCAL_WINDOW = 3.0  # side of the square that is searched around the last position, in face heights


class Tracked(NamedTuple):
    """One frame of a video."""

    face: Face | None
    """The person's face; None where it is not found."""
    shot: int
    """Number of the shot, from 0; it changes at each cut."""


class CutDetector:
    """Tells where a video cuts to another picture, frame by frame."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._usual = 0.0

    def is_cut(self, frame: np.ndarray) -> bool:
        """Whether there is a cut between the frame of the last call and this one; False for the first frame."""
        thumbnail = cv2.resize(frame, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._before is None:
            self._before = thumbnail
            return False
        change = float(np.abs(thumbnail - self._before).mean())
        self._before = thumbnail
        is_cut = change > max(CUT_CHANGE, CUT_RATIO * self._usual)
        self._usual = CHANGE_MEMORY * self._usual + (1 - CHANGE_MEMORY) * change
        return is_cut


class PersonTracker:
    """Follows one person.

    Args:
        finder: the face networks.
        number: which face of each shot, counted from 1 from left to right. Default: the largest.
        box: x, y, width, height in px: where the face is in the first frame; the shots after it show the largest face.
    """

    def __init__(
        self, finder: FaceFinder, number: int | None = None, box: tuple[float, float, float, float] | None = None
    ) -> None:
        self.finder, self.number, self.box = finder, number, box
        self.faces_seen = 0
        """The largest number of faces in a frame in which the person was chosen."""
        self._last: Face | None = None
        self._lost = 0  # frames since the person was seen, or since the shot began

    def follow(self, frames: Iterable[np.ndarray]) -> Iterator[Tracked]:
        """The face of each frame, and the shot that the frame belongs to."""
        frames, cuts = iter(frames), CutDetector()
        shot = 0
        while chunk := list(islice(frames, BATCH)):
            begins = [index for index, frame in enumerate(chunk) if cuts.is_cut(frame)]
            for start, stop in zip([0, *begins], [*begins, len(chunk)], strict=True):
                if start in begins:
                    shot, self._last, self._lost, self.box = shot + 1, None, 0, None
                for face in self._track(chunk[start:stop]):
                    yield Tracked(face, shot)

    def _track(self, frames: list[np.ndarray]) -> list[Face | None]:
        """The faces of consecutive frames of one shot."""
        faces: list[Face | None] = []
        while len(faces) < len(frames):
            if self._last is None or self._lost:
                faces.append(self._note(self._acquire(frames[len(faces)])))
                continue
            rest = frames[len(faces) :]
            points, flags = self.finder.mesh_centred(rest, [window_from_points(self._last.points)] * len(rest))
            for mesh, flag in zip(points, flags, strict=True):
                face = face_of_mesh(mesh, flag)
                if flag < MIN_FACE_FLAG or not self._is_same(face):
                    self._lost = 1
                    break
                faces.append(self._note(face))
        return faces

    def _note(self, face: Face | None) -> Face | None:
        """Remember where the face was last seen."""
        if face is None:
            self._lost += 1
        else:
            self._last, self._lost = face, 0
        return face

    def _acquire(self, frame: np.ndarray) -> Face | None:
        """Find the person in one frame: near the last position, or anywhere at the beginning of a shot."""
        if self._last is not None and self._lost <= LOST_FRAMES:
            x, y, width, height = self._last.box
            around = np.array((x + width / 2, y + height / 2, LOCAL_WINDOW * height, 0.0))
            faces = self.finder.verify(frame, self.finder.detect(frame, [around, *_whole(frame)]))
            same = [face for face in faces if self._is_same(face)]
            return min(same, key=self._distance, default=None)
        self._last = None
        if self.box is not None:
            return self.finder.find_in(frame, self.box)
        if self._lost % SEARCH_EVERY == 0:
            faces = self.finder.find(frame)
        else:
            faces = self.finder.verify(frame, self.finder.detect(frame))
        self.faces_seen = max(self.faces_seen, len(faces))
        if self.number is None:
            return max(faces, key=lambda face: float(face.box[2] * face.box[3]), default=None)
        return faces[self.number - 1] if self.number <= len(faces) else None

    def _is_same(self, face: Face) -> bool:
        """Whether a face can be the person's: near the last position, and about as large."""
        if self._last is None:
            return True
        growth = float(face.box[3] / self._last.box[3])
        reach = MAX_MOVE + MOVE_WHILE_LOST * self._lost
        return 1 / MAX_GROWTH < growth < MAX_GROWTH and self._distance(face) < reach

    def _distance(self, face: Face) -> float:
        """How far a face is from the last position, in face widths."""
        assert self._last is not None
        last = self._last.box
        shift = face.box[:2] + face.box[2:] / 2 - last[:2] - last[2:] / 2
        return float(np.hypot(*shift) / last[2])


def _whole(frame: np.ndarray) -> list[np.ndarray]:
    height, width = frame.shape[:2]
    return [np.array((width / 2, height / 2, max(width, height), 0.0))]
