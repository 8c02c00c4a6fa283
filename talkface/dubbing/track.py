"""The first pass over a video: where the person's face is in each frame.

Only points are kept: about a kilobyte a frame.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from talkface.errors import TalkfaceError
from talkface.face.landmarks import FROM_468_TO_68, LIPS, STABLE
from talkface.face.outline import OVAL
from talkface.face.tracking import PersonTracker

MESH_POINTS = 468
KEPT = tuple(sorted({*STABLE, *LIPS, *OVAL, *FROM_468_TO_68}))
"""The points of the mesh that are kept."""


@dataclass(frozen=True)
class FaceTrack:
    """One person's face in the T frames of a video."""

    points: np.ndarray
    """float32 (T, len(KEPT), 2) px of the video; NaN where the face is not seen."""
    yaw: np.ndarray
    """float32 (T,) degrees, as `talkface.face.find.Face.yaw`; NaN where the face is not seen."""
    shots: np.ndarray
    """int32 (T,): the shot that each frame belongs to, from 0."""
    checksums: np.ndarray
    """uint32 (T,), of `checksum`: they tell whether a frame that is read again is the same."""
    faces_seen: int
    """The largest number of faces among which the person was chosen."""

    def __len__(self) -> int:
        return len(self.shots)

    @property
    def seen(self) -> np.ndarray:
        """bool (T,): where the face is seen."""
        return np.isfinite(self.yaw)


def mesh(kept: np.ndarray) -> np.ndarray:
    """The mesh (..., 468, 2) with the kept points (..., len(KEPT), 2) in their places; the others are 0."""
    points = np.zeros((*kept.shape[:-2], MESH_POINTS, 2), kept.dtype)
    points[..., KEPT, :] = kept
    return points


def checksum(frame: np.ndarray) -> int:
    """CRC-32 of every eighth pixel of every eighth row."""
    return zlib.crc32(frame[::8, ::8].tobytes())


def track_face(
    frames: Iterable[np.ndarray], tracker: PersonTracker, name: str, on_frame: Callable[[int], None] | None = None
) -> FaceTrack:
    """Follow a person through all frames of a video.

    Args:
        frames: uint8 RGB (H, W, 3).
        tracker: tells which person.
        name: the video's name for messages.
        on_frame: called with the number of frames that are done.

    Raises:
        TalkfaceError: there is no face in the video, or no face with the wanted number.
    """
    checksums: list[int] = []

    def read() -> Iterator[np.ndarray]:
        for frame in frames:
            checksums.append(checksum(frame))
            yield frame

    points, yaws, shots = [], [], []
    missing = np.full((len(KEPT), 2), np.nan, np.float32)
    for tracked in tracker.follow(read()):
        points.append(missing if tracked.face is None else tracked.face.points[KEPT, :])
        yaws.append(np.nan if tracked.face is None else tracked.face.yaw)
        shots.append(tracked.shot)
        if on_frame:
            on_frame(len(shots))
    if np.isnan(yaws).all():
        raise _no_face(tracker, name, len(shots))
    return FaceTrack(
        np.stack(points),
        np.array(yaws, np.float32),
        np.array(shots, np.int32),
        np.array(checksums, np.uint32),
        tracker.faces_seen,
    )


def _no_face(tracker: PersonTracker, name: str, frames: int) -> TalkfaceError:
    if tracker.number is not None and 0 < tracker.faces_seen < tracker.number:
        faces = "1 face" if tracker.faces_seen == 1 else f"{tracker.faces_seen} faces"
        return TalkfaceError(
            f"--face {tracker.number}: a shot of {name} has at most {faces}.",
            "Count from 1 from left to right at the beginning of the shot.",
        )
    return TalkfaceError(
        f"No face found in any of the {frames} frames of {name}.",
        "Give a video of a face that looks at the camera, or point at the face in the first frame with --box x,y,w,h.",
    )
