"""The drawn faces that the training tests use have their lip points where the networks expect them."""

import math

import numpy as np
import pytest
import torch

from talkface.config import ALIGNED_LIPS, ALIGNED_NOSE, FPS, SOUND_RATE
from talkface.data.faces import aligned_face
from talkface.model.lipwarp import LipWarp


def test_both_rings_run_from_the_left_corner_along_the_lower_lip_and_back_along_the_upper_lip(synthetic_clips):
    for lips in (synthetic_clips.lip_points(8.0), torch.tensor(ALIGNED_LIPS).numpy()):
        for ring in lips.reshape(2, 20, 2):
            left, right = ring[0], ring[10]
            assert (ring[1:10, 1] > max(left[1], right[1])).all()
            assert (ring[11:, 1] < max(left[1], right[1])).all()
            assert ring[:, 0].argmin() == 0
            assert ring[:, 0].argmax() == 10


def test_the_lip_warp_sees_the_widest_drawn_mouth_open(synthetic_clips):
    lips = torch.tensor(synthetic_clips.lip_points(synthetic_clips.widest))[None]
    mouth = LipWarp(256, 256).shape(lips).mouth
    polygon = 10 * math.sin(math.tau / 20) * synthetic_clips.half_width * synthetic_clips.widest  # px of the inner ring
    assert mouth.sum().item() == pytest.approx(polygon, rel=0.05)
    upside_down = lips[:, [*-np.arange(20) % 20, *(20 + -np.arange(20) % 20)]]
    assert LipWarp(256, 256).shape(upside_down).mouth.sum() < 0.05 * polygon


def test_a_drawn_mouth_is_dark_between_its_inner_lip_points(synthetic_clips):
    clip = synthetic_clips.one()
    number = int(np.argmax(clip.lips[:, 25, 1]))
    mouth = LipWarp(256, 256).shape(torch.tensor(clip.lips[number])[None]).mouth[0, 0].numpy() == 1
    assert clip.frame(number)[mouth].mean() < 40


def test_a_drawn_clip_keeps_sound_for_all_of_its_frames_unless_it_is_to_be_silent(synthetic_clips):
    clip = synthetic_clips.one(frames=10)
    assert len(clip.waveform) == 10 * SOUND_RATE // FPS
    assert len(synthetic_clips.one(sound=False).waveform) == 0


def test_the_sound_of_a_drawn_clip_is_louder_where_the_mouth_is_wider(synthetic_clips):
    clip = synthetic_clips.one(frames=60)
    level = np.abs(clip.waveform).reshape(60, -1).mean(1)
    gaps = clip.lips[:, 25, 1] - clip.lips[:, 35, 1]
    assert np.corrcoef(level, gaps)[0, 1] > 0.9


def test_a_drawn_face_can_be_animated(synthetic_clips):
    face = aligned_face(synthetic_clips.one(), 0)
    assert np.abs(face.nose - ALIGNED_NOSE).max() < 2
    lips = face.lips.round().astype(int)
    assert (face.reach[lips[:, 1], lips[:, 0]] == 1).all()
    assert face.reach[:60].max() == 0
