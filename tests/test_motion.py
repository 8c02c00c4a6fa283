"""A photo that lives: what moves, what stays, and when."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from talkface.config import MFCC_COEFFS
from talkface.face.find import FaceFinder
from talkface.face.paste import Paster
from talkface.media.image import load_photo
from talkface.media.windows import SILENCE
from talkface.model.inference import OutputFrame
from talkface.motion.accents import Accents
from talkface.motion.field import HeadPose, MotionField, head_outline
from talkface.motion.geometry import face_width
from talkface.motion.lids import find_eyes
from talkface.motion.limits import allowance
from talkface.motion.living import LivingPhoto
from talkface.motion.paste import LivingPaster
from talkface.motion.schedule import BLINK, Pose, Schedule, blink_times, closing

ASTRONAUT = Path(__file__).resolve().parent.parent / "examples" / "astronaut.jpg"
SILENT = np.tile(SILENCE, (6000, 1))
TURNED = HeadPose(2.0, -1.5, 1.0, 1.0)


@pytest.fixture(scope="module")
def photo():
    return load_photo(ASTRONAUT)


@pytest.fixture(scope="module")
def face(photo):
    return FaceFinder().find(photo)[0]


@pytest.fixture(scope="module")
def mesh(face):
    return face.mesh


@pytest.fixture(scope="module")
def field(photo, mesh):
    return MotionField(mesh, photo.shape[1], photo.shape[0])


@pytest.fixture
def still():
    """A frame of the generator that changes nothing."""
    crop = (88, 64)
    return OutputFrame(
        face=np.zeros((256, 256, 3), np.uint8),
        paint=np.zeros((3, *crop), np.float32),
        weights=np.zeros((3, *crop), np.float32),
        copy_flow=np.zeros((4, *crop), np.float32),
        mask=np.zeros(crop, np.float32),
        flow=np.zeros((2, 144, 160), np.float32),
        region=(48, 104, 160, 144),
        corner=(90, 150),
    )


@pytest.fixture
def paster(photo, mesh, field):
    return LivingPaster(photo, np.array([[1.7, 0, -220.0], [0, 1.7, -70.0]]), field, find_eyes(mesh, photo))


def stressed(at=30.0):
    """Speech of even loudness with one loud syllable, as MFCC."""
    mfcc = SILENT.copy()
    mfcc[:, 0] += 25 * 26**0.5 / 50
    middle = round(100 * at)
    mfcc[middle - 10 : middle + 10, 0] += 15 * 26**0.5 / 50
    return mfcc


def test_pixels_farther_than_half_a_face_from_the_head_do_not_move(photo, mesh, field):
    moves = np.zeros(photo.shape[:2])
    moves[field.rows, field.columns] = np.linalg.norm(field.displacement(TURNED), axis=2)
    head = np.zeros(photo.shape[:2], np.uint8)
    cv2.fillPoly(head, [np.round(head_outline(mesh)).astype(np.int32)], 1)
    distance = cv2.distanceTransform(1 - head, cv2.DIST_L2, 5)
    assert moves.max() > 3
    assert (moves[distance > face_width(mesh) / 2] == 0).all()


def test_pixels_at_the_edge_of_the_photo_do_not_move_even_if_the_head_touches_it(mesh):
    """The photo is cut off close to the face."""
    low, high = mesh[:, :2].min(0) - 4, mesh[:, :2].max(0) + 4
    width, height = np.ceil(high - low).astype(int)
    cut = MotionField(mesh - np.array([*low, 0], np.float32), int(width), int(height))
    moves = np.zeros((height, width, 2))
    moves[cut.rows, cut.columns] = cut.displacement(TURNED)
    assert np.abs(moves).max() > 1
    for edge in (moves[0], moves[-1], moves[:, 0], moves[:, -1]):
        assert not edge.any()


def test_the_nose_moves_to_the_side_by_its_depth_times_the_angle(mesh, field):
    moves = field.displacement(HeadPose(yaw=2.0))
    x, y = np.round(mesh[4, :2]).astype(int)
    depth = mesh[[234, 454], 2].mean() - mesh[4, 2]
    moved = moves[y - field.rows.start, x - field.columns.start]
    assert moved[0] == pytest.approx(np.radians(2) * depth, rel=0.2)
    assert abs(moved[1]) < 0.1 * moved[0]


def test_brows_rise_and_the_lids_stay_below_them(mesh, field):
    moves = field.displacement(HeadPose(brows=1.0))

    def rise(point):
        x, y = np.round(mesh[point, :2]).astype(int)
        return -moves[y - field.rows.start, x - field.columns.start, 1]

    assert min(rise(52), rise(282)) > 1
    assert max(rise(145), rise(374)) < 0.1


def test_a_pose_without_movement_gives_the_frame_of_the_paster_pixel_for_pixel(photo, paster, still):
    lips = still._replace(flow=still.flow + 1.5)
    expected = Paster(photo, paster.M).paste_frame(lips)
    assert (expected != photo).any()
    assert np.array_equal(paster.paste_pose(lips, Pose(HeadPose(), 0.0)), expected)


def test_the_photo_is_sampled_where_the_displacements_of_head_and_lips_lead(photo, paster, still, field):
    """A flow that is the same everywhere moves the picture of the turned head by as much."""
    shift = 2 * paster.M[0, 0]  # 2 px of the photo
    flow = still.flow.copy()
    flow[0] = shift
    turned = paster.paste_pose(still, Pose(TURNED, 0.0))
    both = paster.paste_pose(still._replace(flow=flow), Pose(TURNED, 0.0))
    x, y = np.round((np.array((128, 176)) - paster.M[:, 2]) / 1.7).astype(int)  # the middle of the flow's region
    part = slice(y - 15, y + 15)
    assert np.abs(both[part, x - 15 : x + 15].astype(int) - turned[part, x - 13 : x + 17]).mean() < 2
    assert np.abs(both[part, x - 15 : x + 15].astype(int) - turned[part, x - 15 : x + 15]).mean() > 4


def test_a_blink_changes_nothing_but_the_eyes(photo, paster, still):
    shut = paster.paste_pose(still, Pose(HeadPose(), 1.0))
    changed = (shut != photo).any(2)
    assert len(paster.eyes) == 2
    inside = np.zeros_like(changed)
    for eye in paster.eyes:
        left, top, right, bottom = eye.box
        inside[int(top) : int(bottom) + 2, int(left) : int(right) + 2] = True
    assert changed[inside].mean() > 0.2
    assert not changed[~inside].any()


def test_the_mesh_finds_closed_eyes_in_a_blink(photo, paster, still):
    from talkface.metrics.life import eye_opening

    shut = paster.paste_pose(still, Pose(HeadPose(), 1.0))
    finder = FaceFinder()
    before, after = (float(eye_opening(finder.find(picture)[0].mesh)) for picture in (photo, shut))
    assert after < 0.4 * before


def test_eyes_behind_dark_lenses_do_not_blink(photo, mesh):
    dark = photo.copy()
    for corners in ((33, 133), (362, 263)):
        x, y = mesh[list(corners), :2].mean(0)
        cv2.circle(dark, (round(float(x)), round(float(y))), round(0.16 * face_width(mesh)), (8, 8, 10), -1)
    assert find_eyes(mesh, dark) == []


def test_a_lid_comes_down_in_a_tenth_of_a_second_and_opens_in_a_fifth():
    assert [closing(t) for t in (0.0, 0.1, 0.14, 0.34)] == pytest.approx([0, 1, 1, 0])
    assert closing(0.05) == pytest.approx(0.5) == pytest.approx(closing(0.24))


@pytest.mark.parametrize("seed", range(5))
def test_blinks_are_2_to_6_seconds_apart_or_double_and_none_is_at_the_ends(seed):
    times = blink_times(600, seed)
    apart = np.diff(times)
    double = apart < 1
    assert times[0] >= 0.5
    assert times[-1] + BLINK <= 599.5
    assert 0 < double.mean() < 0.3
    assert (apart[double] > BLINK).all()
    assert ((apart[~double] >= 2) & (apart[~double] <= 6)).all()


def test_a_video_of_a_second_has_no_blink():
    assert len(blink_times(1.2, 0)) == 0


def test_movement_is_a_function_of_time_and_seed():
    accents = Accents(stressed())
    one, same, other = (Schedule(60, accents, seed, 0.5, True) for seed in (3, 3, 4))
    assert one.at(17.3) == same.at(17.3) != other.at(17.3)
    steps = np.array([one.at(t).head for t in np.arange(28, 32, 0.002)])
    assert np.abs(np.diff(steps[:, :3], axis=0)).max() < 0.16  # degrees in 2 ms: no jumps


def test_a_video_begins_with_the_pose_of_the_photo():
    assert Schedule(60, Accents(stressed()), 0, 1.0, True).at(0.0) == Pose(HeadPose(0, 0, 0, 0), 0.0)


def test_the_head_turns_by_a_few_degrees_by_default_and_without_speech():
    schedule = Schedule(60, Accents(SILENT), 0, 0.5, True)
    angles = np.abs([schedule.at(t).head[:3] for t in np.arange(0, 60, 0.05)])
    assert (angles.max(0) < 7).all()
    assert (angles.std(0) < 3).all()
    assert angles[:, 0].max() > 2


def test_brows_rise_with_a_loud_syllable_and_not_in_silence_or_even_speech():
    loud = Schedule(60, Accents(stressed(30.0)), 0, 1.0, True)
    assert loud.at(30.0).head.brows > 0.5
    assert loud.at(10.0).head.brows < 0.05
    assert Schedule(60, Accents(SILENT), 0, 1.0, True).at(30.0).head.brows == 0


def test_accents_read_only_the_steps_around_the_moment():
    mfcc = stressed(30.0)
    elsewhere = mfcc.copy()
    elsewhere[:2800] = 1.0
    elsewhere[3200:] = 1.0
    assert Accents(mfcc).at(30.0) == Accents(elsewhere).at(30.0) > 0.5
    assert Accents(np.zeros((0, MFCC_COEFFS), np.float32)).at(1.0) == 0


def test_the_head_moves_less_where_the_face_is_turned_or_close_to_the_edge(photo, mesh):
    free = allowance(photo, mesh, 0)
    assert free > 0.9
    assert allowance(photo, mesh, 30) < 0.6 * free
    assert allowance(photo, mesh, 45) == 0
    left = int(mesh[:, 0].min()) - 3
    assert allowance(photo[:, left:], mesh - np.array([left, 0, 0], np.float32), 0) < 0.2


def test_the_head_moves_less_where_the_face_is_covered(photo, mesh):
    covered = photo.copy()
    low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
    covered[int(low[1]) : int(high[1]), int(low[0]) : int((low[0] + high[0]) / 2)] = (10, 20, 160)
    assert allowance(covered, mesh, 0) < 0.6


def test_with_motion_0_and_no_blinking_every_frame_is_that_of_the_photo(photo, mesh, paster, still):
    living = LivingPhoto(photo, paster.M, mesh, 0.0, stressed(1.0), 5.0, motion=0, blink=False)
    assert all(np.array_equal(living.frame(still, t), photo) for t in (0.0, 1.0, 2.5))
