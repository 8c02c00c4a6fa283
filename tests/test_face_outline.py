"""The outline of a face: where lips may carry the skin, and that collar and background stay as they are."""

import cv2
import numpy as np
import pytest
import skimage.data

from talkface.face import align
from talkface.face.landmarks import FROM_468_TO_68
from talkface.face.outline import OVAL, RAMP, reach_map
from talkface.face.paste import Paster
from talkface.model.inference import AlignedFace, generate_frames


def circle(points=468, radius=70.0, centre=(128.0, 140.0)):
    """Landmarks whose outline is a circle; all others are in its middle."""
    mesh = np.tile(np.float32(centre), (468, 1))
    turn = 2 * np.pi * np.arange(len(OVAL)) / len(OVAL)
    mesh[list(OVAL)] = np.float32(centre) + radius * np.stack([np.sin(turn), -np.cos(turn)], 1)
    return mesh if points == 468 else mesh[list(FROM_468_TO_68)]


def distance_inside(radius=70.0, centre=(128.0, 140.0)):
    y, x = np.mgrid[:256, :256]
    return radius - np.hypot(x - centre[0], y - centre[1])


def test_the_outline_is_closed_and_uses_each_point_once():
    assert len(set(OVAL)) == len(OVAL) == 36
    assert OVAL[0] == 10  # the middle of the forehead
    assert OVAL[18] == 152  # the chin


def test_the_reach_is_nothing_outside_and_one_from_ten_pixels_inside_on():
    reach, inside = reach_map(circle()), distance_inside()
    assert reach.dtype == np.float32
    assert reach.shape == (256, 256)
    assert reach[inside <= 0].max() == 0
    assert reach[inside > RAMP + 2.5].min() == 1
    assert reach.min() == 0
    assert reach.max() == 1


def test_the_reach_rises_smoothly_from_the_chin_upwards():
    column = reach_map(circle())[150:212, 128][::-1]
    assert (np.diff(column) >= 0).all()
    assert np.diff(column).max() < 0.2
    assert column[-1] == 1


def test_68_points_are_closed_over_the_forehead_by_the_brows(synthetic_clips):
    points = synthetic_clips.points68()
    reach = reach_map(points)
    assert reach[:79].max() == 0  # the brows are at y = 80
    assert reach[100:200, 128].min() == 1
    assert reach[248:].max() == 0  # the chin is at y = 246
    assert reach[:, :50].max() == reach[:, 206:].max() == 0


def test_a_face_beyond_the_picture_gives_a_map_all_the_same():
    reach = reach_map(circle(radius=400.0))
    assert reach[128, 128] == 1
    assert np.isfinite(reach).all()


@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_the_warp_of_a_talking_face_ends_at_the_jaw_line(scale, synthetic_clips, lip_direction, make_generator):
    """Of a face with its chin at y = 214, pasted into a photo of other resolution: nothing below the chin changes."""
    lips = synthetic_clips.lip_points(2.0)
    side = round(256 / scale)
    photo = cv2.resize(np.ascontiguousarray(skimage.data.astronaut()[:256, 96:352]), (side, side))
    M = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])
    points = circle(radius=74.0)
    wanted = [lips + 0.3 * lip_direction.numpy()] * 12
    changed = {}
    for name, reach in (("free", None), ("ended", reach_map(points))):
        face = AlignedFace(align.warp(photo, M), lips, np.float32([128, 158]), reach)
        frames = generate_frames(make_generator(), face, wanted)
        result = Paster(photo, M).paste_frame(list(frames)[-1])
        changed[name] = np.abs(result.astype(int) - photo).max(2)
    y, x = np.mgrid[:side, :side]
    at = align.apply(M, np.stack([x, y], 2).astype(float))
    outside = np.hypot(at[..., 0] - 128, at[..., 1] - 140) > 74
    assert changed["free"][outside].max() > 10
    assert changed["ended"][outside].max() == 0
    assert changed["ended"].max() > 10
