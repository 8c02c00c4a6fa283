"""From the points of every frame to the alignment, the lips and the lips at rest of every frame, without jitter.

Points of a detector tremble by a fraction of a pixel. All filters here are local polynomials centred on their frame
(Savitzky and Golay 1964): they remove what trembles, follow what moves, and do not lag. They never reach across a cut
or a gap.

The eyes and the nose, which place the face, are filtered over more frames than the lips: a head is slow, and lips are
not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import savgol_filter

from talkface.config import EYE_DISTANCE
from talkface.dubbing.track import FaceTrack, mesh
from talkface.face.align import apply, fit_transform
from talkface.face.landmarks import lips as lip_points
from talkface.face.landmarks import mouth_opening, nose_base
from talkface.face.outline import OVAL

HEAD_SECONDS = 0.36  # width of the filter of the alignment
LIP_SECONDS = 0.2  # width of the filter of the lips
GAP_SECONDS = 0.13  # shorter gaps are filled by interpolation
BLEND_SECONDS = 0.24  # over which lips come in after a gap and go out before one
TURNED_YAW = 50.0  # degrees from which the face keeps its own lips
TURNING = 10.0  # degrees below it over which the lips are blended out
POSE_RIDGE = 4.0  # px^2 of movement under which the regression of the lips on the pose trusts the prior
NOSE_TIP = 4


@dataclass(frozen=True)
class Geometry:
    """The face in the T frames of a video, in aligned coordinates."""

    transforms: np.ndarray
    """float64 (T, 2, 3): px of the video to px of the aligned face. Without a face, that of the nearest frame."""
    lips: np.ndarray
    """float32 (T, 40, 2) px of the aligned face."""
    nose: np.ndarray
    """float32 (T, 2) px of the aligned face: base of the nose."""
    outline: np.ndarray
    """float32 (T, 36, 2) px of the aligned face, as `talkface.face.outline.OVAL` orders it."""
    rest: np.ndarray
    """float32 (T, 40, 2) px of the aligned face: where the closed lips at rest would be in this pose of the head."""
    neutral: np.ndarray
    """float32 (40, 2) px of the aligned face: the closed lips at rest, the mean over the video."""
    share: np.ndarray
    """float32 (T,) in [0, 1]: of the new lips that is shown; 0 where the frame keeps its picture."""

    def __len__(self) -> int:
        return len(self.share)


def face_geometry(track: FaceTrack, rate: float, direction: np.ndarray) -> Geometry:
    """The geometry of a tracked face.

    Args:
        track: of the first pass.
        rate: frames per second.
        direction: float32 (40, 2) px by which the lips move for an opening of 1; see `talkface.model.lips`.
    """
    runs = seen_runs(track, round(GAP_SECONDS * rate))
    count = len(track)
    transforms = np.full((count, 2, 3), np.nan)
    lips, rest = (np.zeros((count, 40, 2), np.float32) for _ in range(2))
    nose, outline = np.zeros((count, 2), np.float32), np.zeros((count, len(OVAL), 2), np.float32)
    tips = np.zeros((count, 2), np.float32)
    for run in runs:
        points = _filled(track.points[run])
        own = np.empty((len(points), 40, 2), np.float32)
        # Frame by frame, because a whole mesh for every frame of an hour would take a gigabyte.
        for index, (frame, still, raw) in enumerate(
            zip(range(run.start, run.stop), smooth(points, HEAD_SECONDS * rate), points, strict=True)
        ):
            placed = mesh(still)
            transforms[frame] = fit_transform(placed)
            aligned = apply(transforms[frame], placed)
            nose[frame], outline[frame], tips[frame] = nose_base(aligned), aligned[OVAL, :], aligned[NOSE_TIP]
            own[index] = apply(transforms[frame], lip_points(mesh(raw)))
        lips[run] = smooth(own, LIP_SECONDS * rate)
    share = shown_share(track, runs, rate)
    neutral = np.zeros((40, 2), np.float32)
    total = 0.0
    for shot in np.unique(track.shots):
        inside = (track.shots == shot) & np.isfinite(transforms[:, 0, 0])
        if not inside.any():
            continue
        closed = lips[inside] - (mouth_opening(lips[inside], EYE_DISTANCE)[:, None, None] * direction)
        rest[inside] = resting_lips(closed, np.concatenate([nose[inside], tips[inside]], 1))
        weight = float(share[inside].sum()) + 1e-6
        neutral, total = neutral + weight * np.median(closed, 0), total + weight
    return Geometry(fill_nearest(transforms), lips, nose, outline, rest, (neutral / total).astype(np.float32), share)


def seen_runs(track: FaceTrack, longest_gap: int) -> list[slice]:
    """The runs of frames of one shot in which the face is seen, with gaps of at most `longest_gap` frames."""
    runs: list[slice] = []
    for frame in np.flatnonzero(track.seen):
        last = runs[-1].stop - 1 if runs else -1
        if runs and track.shots[frame] == track.shots[last] and frame - last - 1 <= longest_gap:
            runs[-1] = slice(runs[-1].start, int(frame) + 1)
        else:
            runs.append(slice(int(frame), int(frame) + 1))
    return runs


def smooth(values: np.ndarray, width: float) -> np.ndarray:
    """Values of consecutive frames (T, ...) filtered by local parabolas over about `width` frames, without lag."""
    window = min(round(width) // 2 * 2 + 1, (len(values) - 1) // 2 * 2 + 1)
    if window < 5:
        return values
    return savgol_filter(values, window, 2, axis=0, mode="interp").astype(values.dtype)


def shown_share(track: FaceTrack, runs: list[slice], rate: float) -> np.ndarray:
    """How much of the new lips each frame shows, float32 (T,): less near gaps and where the face turns away.

    At a cut, and at the beginning and the end of the video, nothing is blended.
    """
    share = np.zeros(len(track), np.float32)
    steps = max(1, round(BLEND_SECONDS * rate))
    last = len(track) - 1
    for run in runs:
        yaw = smooth(np.abs(_filled(track.yaw[run])), HEAD_SECONDS * rate)
        share[run] = np.clip((TURNED_YAW - yaw) / TURNING, 0, 1)
        ramp = np.arange(1, run.stop - run.start + 1) / (steps + 1)
        if run.start > 0 and track.shots[run.start - 1] == track.shots[run.start]:
            share[run] = np.minimum(share[run], ramp)
        if run.stop - 1 < last and track.shots[run.stop] == track.shots[run.stop - 1]:
            share[run] = np.minimum(share[run], ramp[::-1])
    return share


def resting_lips(closed: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Where the closed lips at rest would be in each frame.

    Lips move in the aligned face when the head turns or nods. They move with the nose, and what this does not explain
    is learned from the frames: a ridge regression of the lips on the pose, which does nothing where the head is still.

    Args:
        closed: float32 (T, 40, 2) px, the lips with the gap closed.
        pose: float32 (T, P) px, positions of points of the nose; the first two are those of its base.

    Returns:
        float32 (T, 40, 2) px.
    """
    moves = pose - pose.mean(0)
    carried = closed - moves[:, None, :2]
    middle = np.median(carried, 0)
    residual = (carried - middle).reshape(len(closed), -1)
    residual = residual - residual.mean(0)
    gram = moves.T @ moves + POSE_RIDGE * np.eye(moves.shape[1])
    learned = moves @ np.linalg.solve(gram, moves.T @ residual)
    return (middle + moves[:, None, :2] + learned.reshape(closed.shape)).astype(np.float32)


def fill_nearest(transforms: np.ndarray) -> np.ndarray:
    """The transforms (T, 2, 3) with each missing one (NaN) replaced by the nearest in time."""
    present = np.flatnonzero(np.isfinite(transforms[:, 0, 0]))
    nearest = np.round(np.interp(np.arange(len(transforms)), present, np.arange(len(present)))).astype(int)
    return transforms[present[nearest]]


def _filled(values: np.ndarray) -> np.ndarray:
    """Values (T, ...) with missing frames (NaN) interpolated over time."""
    flat = values.reshape(len(values), -1)
    seen = np.flatnonzero(np.isfinite(flat[:, 0]))
    if len(seen) == len(flat):
        return values
    columns = [np.interp(np.arange(len(flat)), seen, flat[seen, column]) for column in range(flat.shape[1])]
    return np.stack(columns, 1).reshape(values.shape).astype(values.dtype)
