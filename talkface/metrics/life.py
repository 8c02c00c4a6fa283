"""Signs of life in a video of a face: blinks and turns of the head, from the points of the face mesh.

Shapes: T frames at a constant rate; meshes are MediaPipe's, (468, 3) px with depth that grows away from the viewer.
"""

from __future__ import annotations

import numpy as np

UPPER_LIDS = ((160, 159, 158), (385, 386, 387))
LOWER_LIDS = ((144, 145, 153), (380, 374, 373))
CORNERS = ((33, 133), (362, 263))

# Points of skull and nose that neither speech nor blinks move.
RIGID = (10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 33, 133, 362, 263, 127, 356, 234, 454, 21, 251, 54, 284, 109, 338)

SMOOTHING = 0.12  # s, standard deviation of the Gaussian that removes the landmarks' jitter from the angles

USUAL = 1.5  # s before and after a frame in which its usual opening is measured
USUAL_PERCENTILE = 70
CLOSED_SHARE = 0.6  # of the usual opening; below it an eye counts as closing
OPEN_SHARE = 0.75  # of the usual opening; a blink ends above it
LONGEST_BLINK = 0.6  # s; closed for longer, the eyes are shut or look down


def eye_opening(points: np.ndarray) -> np.ndarray:
    """Mean gap between the lids of both eyes over the width of the eye, (...): about 0.3 for open eyes.

    Args:
        points: (..., 468, 2) or (..., 468, 3) px; depth is ignored.
    """
    flat = points[..., :2]
    openings = []
    for upper, lower, (left, right) in zip(UPPER_LIDS, LOWER_LIDS, CORNERS, strict=True):
        gap = np.linalg.norm(flat[..., upper, :] - flat[..., lower, :], axis=-1).mean(-1)
        openings.append(gap / np.maximum(np.linalg.norm(flat[..., left, :] - flat[..., right, :], axis=-1), 1e-6))
    return np.mean(openings, axis=0)


def blink_frames(opening: np.ndarray, fps: float) -> list[int]:
    """The frame of the narrowest opening of each blink.

    A blink begins when the opening falls below 0.6 of its usual value (the 70th percentile within 1.5 s) and ends when
    it is above 0.75 of it again, within 0.6 s. What is cut off by the beginning or the end of the video does not count.

    Args:
        opening: (T,) as of `eye_opening`; NaN in frames without a face.
        fps: frames per second.
    """
    reach, found, begun = round(USUAL * fps), [], None
    before_closed = False
    for frame, value in enumerate(opening):
        around = opening[max(frame - reach, 0) : frame + reach + 1]
        usual = np.nanpercentile(around, USUAL_PERCENTILE) if np.isfinite(around).any() else np.nan
        if not np.isfinite(value):
            begun, before_closed = None, True
        elif value < CLOSED_SHARE * usual:
            if begun is None and frame > 0 and not before_closed:
                begun = frame
            before_closed = True
        elif value > OPEN_SHARE * usual:
            if begun is not None and (frame - begun) / fps <= LONGEST_BLINK:
                found.append(begun + int(np.argmin(opening[begun:frame])))
            begun, before_closed = None, False
    return found


def rigid_points(mesh: np.ndarray) -> np.ndarray:
    """The points that `head_rotations` takes, (..., 24, 3), of meshes (..., 468, 3)."""
    return mesh[..., RIGID, :]


def life_sums(opening: np.ndarray, rigid: np.ndarray, fps: float) -> dict[str, np.ndarray]:
    """What one video adds to blinks per minute and to the speed of the head.

    Args:
        opening: (T,) as of `eye_opening`; NaN in frames without a face.
        rigid: (T, 24, 3) as of `rigid_points`.
        fps: frames per second.

    Returns:
        "blinks": number and minutes; "head_speed": degrees and seconds. Frames without a face count for neither.
    """
    found = np.isfinite(opening)
    speed = np.zeros(2)
    if found.any():
        rotations = np.empty((len(opening), 3, 3))
        rotations[found] = head_rotations(rigid[found])
        edges = np.flatnonzero(np.diff(np.concatenate(([0], found.astype(int), [0]))))
        for begin, end in edges.reshape(-1, 2):
            speed += head_speed_sums(rotations[begin:end], fps)
    blinks = np.array((len(blink_frames(opening, fps)), found.sum() / fps / 60), np.float64)
    return {"blinks": blinks, "head_speed": speed}


def head_rotations(rigid: np.ndarray) -> np.ndarray:
    """Rotation of the head in each frame against its mean shape, float64 (T, 3, 3).

    The mean shape is that of the rigid points in three dimensions, after each frame is turned to it (generalised
    Procrustes in two passes, Kabsch 1976). A frame's rotation is the one with which the shape's projection fits the
    frame's points in the picture best (scaled orthography): the depth that the mesh gives changes with the mouth.

    Args:
        rigid: (T, 24, 3) px, as of `rigid_points`.
    """
    rigid = rigid.astype(np.float64) - rigid.mean(1, keepdims=True)
    rigid = rigid / np.sqrt((rigid**2).sum((1, 2), keepdims=True))
    shape = rigid[0]
    for _ in range(2):
        shape = (rigid @ _fit(shape, rigid)).mean(0)  # each frame turned back, then averaged
        shape /= np.sqrt((shape**2).sum())
    u, _, vt = np.linalg.svd(np.swapaxes(rigid[:, :, :2], 1, 2) @ np.linalg.pinv(shape.T), full_matrices=False)
    rows = u @ vt  # (T, 2, 3): the nearest matrices with two orthonormal rows
    return np.concatenate((rows, np.cross(rows[:, 0], rows[:, 1])[:, None]), 1)


def _fit(shape: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """The rotations (T, 3, 3) that turn the points (N, 3) of a shape to those of each frame, (T, N, 3)."""
    u, _, vt = np.linalg.svd(np.swapaxes(frames, 1, 2) @ shape)
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    return u @ vt


def head_angles(rotations: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll in degrees, float64 (T, 3), of rotations (T, 3, 3): those of small turns about y, x and z."""
    yaw = np.arctan2(-rotations[:, 2, 0], np.hypot(rotations[:, 2, 1], rotations[:, 2, 2]))
    pitch = np.arctan2(rotations[:, 2, 1], rotations[:, 2, 2])
    roll = np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0])
    return np.degrees(np.stack((yaw, pitch, roll), 1))


def head_speed_sums(rotations: np.ndarray, fps: float) -> np.ndarray:
    """Degrees by which the head turns in all, and the seconds in which it does: float64 (2,).

    The rotations are smoothed over time with a Gaussian of 120 ms, because the jitter of landmarks would add up.

    Args:
        rotations: (T, 3, 3) of consecutive frames.
        fps: frames per second.
    """
    if len(rotations) < 2:
        return np.zeros(2)
    smooth = _smoothed(rotations, SMOOTHING * fps)
    steps = np.swapaxes(smooth[:-1], 1, 2) @ smooth[1:]
    # From the skew-symmetric part, because the cosine of a small angle is all rounding.
    skew = np.stack([steps[:, 2, 1] - steps[:, 1, 2], steps[:, 0, 2] - steps[:, 2, 0], steps[:, 1, 0] - steps[:, 0, 1]])
    angle = np.arctan2(np.linalg.norm(skew, axis=0), np.trace(steps, axis1=1, axis2=2) - 1)
    return np.array((np.degrees(angle).sum(), len(steps) / fps))


def _smoothed(rotations: np.ndarray, sigma: float) -> np.ndarray:
    """The mean rotation around each frame, with Gaussian weights; at the ends the window is cut off evenly."""
    count = len(rotations)
    reach = max(1, round(3 * sigma))
    mean = np.zeros_like(rotations)
    room = np.minimum(np.arange(count), np.arange(count)[::-1])
    for shift in range(-reach, reach + 1):
        at = np.arange(count) + shift
        inside = abs(shift) <= room
        weight = np.exp(-0.5 * (shift / sigma) ** 2)
        mean[inside] += weight * rotations[at[inside]]
    u, _, vt = np.linalg.svd(mean)
    return u @ vt
