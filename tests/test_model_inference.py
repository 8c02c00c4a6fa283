"""The autoregressive loop is what the networks' own functions give step by step."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from talkface.config import ALIGNED_LIPS, ALIGNED_NOSE
from talkface.model import inference
from talkface.model.audio import REACH, expressive_lips
from talkface.model.generator import HEIGHT, WIDTH
from talkface.model.inference import (
    REGION,
    AlignedFace,
    FaceRenderer,
    crop_corner,
    generate_frames,
    predict_lips,
    to_network,
    to_picture,
)

pytestmark = pytest.mark.usefixtures("one_thread")
LIPS = np.array(ALIGNED_LIPS, np.float32)


@pytest.fixture(scope="module")
def portrait():
    """Smooth, so that rounding in a flow changes no colour by much."""
    x, y = np.meshgrid(np.arange(256), np.arange(256))
    face = np.stack([x, y, 255 - (x + y) // 2], -1).astype(np.uint8)
    return AlignedFace(face, LIPS, np.array(ALIGNED_NOSE, np.float32))


@pytest.fixture(scope="module")
def lips(lip_direction):
    """The lips of 12 frames, which open and close and move aside."""
    gaps = 0.1 + 0.1 * np.sin(np.arange(12))
    moved = LIPS + gaps[:, None, None] * lip_direction.numpy()
    return (moved + np.arange(12)[:, None, None] * [0.2, 0.0]).astype(np.float32)


def sound(frames, hearing="mfcc"):
    shape = (20, 13) if hearing == "mfcc" else (768,)
    return np.random.default_rng(1).normal(size=(frames, *shape)).astype(np.float32)


@torch.inference_mode()
@pytest.mark.parametrize("frames", [1, 9, 10, 11, 18, 19, 37])
@pytest.mark.parametrize("hearing", ["mfcc", "recogniser"])
def test_lips_predicted_in_blocks_are_those_of_one_pass(
    portrait, monkeypatch, frames, hearing, mini_config, make_generator
):
    monkeypatch.setattr(inference, "BLOCK", 10)
    net, features = make_generator(replace(mini_config, hearing=hearing)), sound(frames, hearing)
    found = np.stack(list(predict_lips(net, portrait, iter(features), 1.3)))
    audio = net.audio_encoder(torch.from_numpy(features)[None], torch.from_numpy(LIPS)[None])
    expected = expressive_lips(audio, net.audio_encoder.direction, 1.3)[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_no_sound_makes_no_lips_and_no_lips_make_no_frames(portrait, make_generator):
    assert list(predict_lips(make_generator(), portrait, [])) == []
    assert list(generate_frames(make_generator(), portrait, [])) == []


def test_frames_come_while_the_sound_is_still_coming(portrait, make_generator):
    """Constant memory: one block of sound and its context are asked for before the first frame."""
    asked, net = [], make_generator()

    def endless():
        while True:
            asked.append(1)
            yield sound(1)[0]

    frames = generate_frames(net, portrait, predict_lips(net, portrait, endless()))
    for _ in range(3):
        next(frames)
    assert len(asked) == inference.BLOCK + REACH


@torch.inference_mode()
def test_frames_are_the_networks_step_by_step(portrait, lips, make_generator):
    net, (x, y) = make_generator(), crop_corner(LIPS)
    photo, corner = to_network(portrait.face)[:, :, y : y + HEIGHT, x : x + WIDTH], torch.tensor([x, y])
    identity = net.encode_identity(photo, torch.from_numpy(LIPS)[None] - corner, torch.tensor([ALIGNED_NOSE]) - corner)
    previous, mask = photo, net.first_mask(identity)
    for number, shown in enumerate(generate_frames(net, portrait, lips, fps=25)):
        share = math.exp(-number / 25 / 0.12)  # of the photo's own lips
        wanted = torch.from_numpy(lips[number] - share * (lips[0] - LIPS))[None] - corner
        frame = net.step(identity, net.conditions(identity, wanted), previous, mask)
        mask, visible = frame.mask, 1 - share**3
        frame = frame._replace(mask=visible * frame.mask, flow=visible * frame.flow)
        previous = net.compose(identity, frame)
        assert shown.corner == (x, y)
        for name in ("paint", "weights", "copy_flow"):
            assert np.allclose(getattr(shown, name), getattr(frame, name)[0], atol=1e-4), name
        assert np.allclose(shown.mask, frame.mask[0, 0], atol=1e-5)
        left, top, width, height = shown.region
        assert shown.flow.shape == (2, height, width)
        flow = shown.flow[:, y - top + 8 : y - top + HEIGHT - 8, x - left + 8 : x - left + WIDTH - 8]
        assert np.abs(flow - frame.flow[0, :, 8:-8, 8:-8].numpy()).max() < 0.15
        crop = shown.face[y : y + HEIGHT, x : x + WIDTH].transpose(2, 0, 1)
        assert np.abs(crop - 255 * previous[0].clamp(0, 1).numpy())[:, 8:-8, 8:-8].max() < 1.0
    assert number == len(lips) - 1


def test_a_video_begins_with_the_photo_and_leaves_it(portrait, lip_direction, make_generator):
    wanted = [LIPS + 0.2 * lip_direction.numpy()] * 12
    frames = [shown.face for shown in generate_frames(make_generator(), portrait, wanted)]
    assert np.array_equal(frames[0], portrait.face)
    changes = [np.abs(frame.astype(int) - portrait.face).mean() for frame in frames]
    assert changes[11] > changes[1] > 0


@pytest.mark.parametrize("fps", [25.0, 50.0])
def test_the_photos_lips_are_left_at_one_pace_in_seconds(portrait, monkeypatch, fps, lip_direction, make_generator):
    asked, wanted = [], LIPS + 0.2 * lip_direction.numpy()  # the same throughout
    monkeypatch.setattr(FaceRenderer, "frame", lambda self, lips, share: asked.append((lips, share)))
    list(generate_frames(make_generator(), portrait, [wanted] * 30, fps))
    assert np.allclose(asked[0][0], LIPS, atol=1e-4)
    assert asked[0][1] == 0
    after = round(inference.ONSET * fps)
    np.testing.assert_allclose(asked[after][0], wanted + (LIPS - wanted) / np.e, atol=1e-4)
    assert asked[after][1] == pytest.approx(1 - np.e**-3)


def test_outside_the_region_the_face_is_the_photos_own(portrait, lips, make_generator):
    left, top, width, height = REGION
    inside = np.zeros((256, 256), bool)
    inside[top : top + height, left : left + width] = True
    for shown in list(generate_frames(make_generator(), portrait, lips))[1:]:
        assert np.array_equal(shown.face[~inside], portrait.face[~inside])
        assert not np.array_equal(shown.face[inside], portrait.face[inside])


def test_nothing_moves_at_the_regions_border(portrait, lips, make_generator):
    flow = list(generate_frames(make_generator(), portrait, lips))[-1].flow
    for edge in (flow[:, 0], flow[:, -1], flow[:, :, 0], flow[:, :, -1]):
        assert np.abs(edge).max() < 0.005 * np.abs(flow).max()


def test_where_lips_may_not_reach_the_face_is_the_photos_own(portrait, lips, make_generator):
    """A chin at y = 206: below it the field ends; above it the lips move as without a limit."""
    reach = np.ones((256, 256), np.float32)
    reach[206:] = 0
    limited = list(generate_frames(make_generator(), portrait._replace(reach=reach), lips))[-1]
    free = list(generate_frames(make_generator(), portrait, lips))[-1]
    assert not np.array_equal(free.face[206:], portrait.face[206:])
    assert np.array_equal(limited.face[206:], portrait.face[206:])
    assert np.array_equal(limited.face[:206], free.face[:206])


@pytest.mark.parametrize("shift", [(60.0, 0.0), (-60.0, 0.0), (0.0, 60.0), (0.0, -90.0)])
def test_a_mouth_far_from_the_usual_place_is_rendered(portrait, shift, lip_direction, make_generator):
    face = portrait._replace(lips=LIPS + np.float32(shift))
    frames = list(generate_frames(make_generator(), face, [face.lips + 0.1 * lip_direction.numpy()] * 3))
    assert np.array_equal(frames[0].face, portrait.face)
    assert frames[2].face.shape == (256, 256, 3)


def test_the_photo_is_left_as_it_was(portrait, lips, make_generator):
    before = portrait.face.copy()
    list(generate_frames(make_generator(), portrait, lips[:2]))
    assert np.array_equal(portrait.face, before)


def test_pictures_go_into_the_network_and_out_again_unchanged(portrait):
    assert np.array_equal(to_picture(to_network(portrait.face)[0]), portrait.face)


def test_the_crop_holds_the_mouth_and_stays_inside_the_region():
    assert crop_corner(LIPS) == (84, 158)
    for shift in (-200, 200):
        x, y = crop_corner(LIPS + np.float32(shift))
        left, top, width, height = REGION
        assert left <= x <= left + width - WIDTH
        assert top <= y <= top + height - HEIGHT
