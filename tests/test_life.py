"""Signs of life in a video: blinks and the speed of the head, against movements that are known."""

import numpy as np
import pytest

from talkface.metrics.life import (
    CORNERS,
    LOWER_LIDS,
    UPPER_LIDS,
    blink_frames,
    eye_opening,
    head_angles,
    head_rotations,
    head_speed_sums,
    life_sums,
)


def rotation(yaw, pitch, roll):
    """A small turn in degrees as the viewer sees it: about y, x and z; z grows away from the viewer."""
    a, b, c = np.radians((yaw, pitch, roll))
    about_y = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def turning(angles, scale=80.0, shift=(300, 200, 0)):
    """The 24 rigid points of a head with these angles (T, 3) in degrees."""
    shape = np.random.default_rng(0).normal(size=(24, 3)) * (1, 1.2, 0.6)
    return np.array([scale * shape @ rotation(*one).T + shift for one in angles])


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("fps", [25, 50])
def test_a_head_that_turns_at_a_steady_speed_has_that_speed(axis, fps):
    angles = np.zeros((4 * fps, 3))
    angles[:, axis] = np.linspace(-6, 6, 4 * fps, endpoint=False)  # 12 degrees in 4 s
    degrees, seconds = head_speed_sums(head_rotations(turning(angles)), fps)
    assert degrees / seconds == pytest.approx(3.0, rel=0.02)


def test_a_head_that_swings_has_four_amplitudes_per_period():
    t = np.arange(250) / 25
    angles = np.stack([2 * np.sin(2 * np.pi * 0.4 * t), 0 * t, 0 * t], 1)
    degrees, seconds = head_speed_sums(head_rotations(turning(angles)), 25)
    smoothed = np.exp(-0.5 * (2 * np.pi * 0.4 * 0.12) ** 2)
    assert degrees / seconds == pytest.approx(4 * 2 * 0.4 * smoothed, rel=0.05)


def test_the_angles_are_those_of_the_head():
    angles = np.array([(0, 0, 0), (4, 0, 0), (0, -3, 0), (0, 0, 5), (-4, 3, -5)])
    found = head_angles(head_rotations(turning(angles)))
    assert np.abs(np.abs(found - found[0]) - np.abs(angles)).max() < 0.4
    assert found[3, 2] - found[0, 2] == pytest.approx(5, abs=0.1)


def test_moving_and_growing_is_no_rotation():
    points = turning(np.zeros((50, 3)))
    moved = points * np.linspace(1, 1.5, 50)[:, None, None] + np.linspace(0, 90, 50)[:, None, None]
    degrees, _ = head_speed_sums(head_rotations(moved), 25)
    assert degrees < 1e-3


def opening(blinks, seconds=20, fps=25, usual=0.3, depth=0.05):
    """Eyes that are open but for blinks of 0.34 s that begin at these times."""
    t = np.arange(seconds * fps) / fps
    curve = np.full(len(t), usual)
    for begin in blinks:
        curve = np.minimum(curve, np.interp(t - begin, (0, 0.1, 0.14, 0.34), (usual, depth, depth, usual)))
    return curve + np.random.default_rng(0).normal(0, 0.01, len(t))


@pytest.mark.parametrize("fps", [25, 50])
def test_each_blink_is_found_at_the_time_of_its_narrowest_opening(fps):
    times = (2.0, 5.5, 6.0, 11.2)  # two of them follow each other
    found = np.array(blink_frames(opening(times, fps=fps), fps)) / fps
    assert found == pytest.approx(np.array(times) + 0.12, abs=0.06)


def test_eyes_that_look_down_for_a_second_do_not_blink():
    curve = opening(())
    curve[100:130] = 0.1
    assert blink_frames(curve, 25) == []


def test_a_blink_that_the_video_cuts_off_does_not_count():
    assert blink_frames(opening((-0.1, 19.9)), 25) == []


def test_frames_without_a_face_are_no_blink_and_their_gap_no_turn():
    angles = np.zeros((100, 3))
    angles[50:, 0] = 20
    curve, points = np.full(100, 0.3), turning(angles)
    curve[45:55], points[45:55] = np.nan, np.nan
    sums = life_sums(curve, points, 25)
    assert sums["blinks"] == pytest.approx([0, 90 / 25 / 60])
    assert sums["head_speed"] == pytest.approx([0, 88 / 25], abs=1e-3)


def test_the_opening_is_the_gap_of_the_lids_over_the_width_of_the_eye():
    points = np.zeros((468, 3))
    for upper, lower, (left, right) in zip(UPPER_LIDS, LOWER_LIDS, CORNERS, strict=True):
        points[list(upper), 1], points[list(lower), 1] = -4, 5
        points[left, 0], points[right, 0] = -15, 15
    assert eye_opening(points) == pytest.approx(9 / 30)
