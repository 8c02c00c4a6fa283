"""The autoregressive loop is what the networks' own functions give step by step."""

import numpy as np
import pytest
import torch
from test_model_generator import MINI, scrambled

from talkface.model import speaking
from talkface.model.generator import LIP_POINTS
from talkface.model.speaking import livelier, speak, to_network, to_picture, with_context


@pytest.fixture(scope="module")
def photo():
    """Smooth, so that rounding in a flow changes no colour by much."""
    x, y = np.meshgrid(np.arange(256), np.arange(256))
    return np.stack([x, y, 255 - (x + y) // 2], -1).astype(np.uint8)


def sound(frames):
    return np.random.default_rng(1).normal(size=(frames, 20, 13)).astype(np.float32)


@pytest.mark.parametrize("frames", [1, 2, 7])
@pytest.mark.parametrize("context", [0, 1, 3])
def test_each_window_gets_its_neighbours_and_the_ends_repeat(frames, context):
    windows = sound(frames)
    found = np.stack(list(with_context(iter(windows), context)))
    around = np.arange(frames)[:, None] + np.arange(-context, context + 1)
    assert np.array_equal(found, windows[around.clip(0, frames - 1)])


def test_no_sound_makes_no_frames(photo):
    assert list(with_context(iter([]), 2)) == []
    assert list(speak(scrambled(), photo, [])) == []


@torch.inference_mode()
def test_speaking_is_the_networks_step_by_step(photo, monkeypatch):
    monkeypatch.setattr(speaking, "BLOCK", 2)
    net, windows = scrambled(), sound(5)
    left, top, side = MINI.window
    still = to_network(photo)[:, :, top : top + side, left : left + side]
    identity, previous, mask = net.encode_identity(still), still, net.first_mask(1)
    for i, spoken in enumerate(speak(net, photo, windows)):
        near = windows[np.clip([i - 1, i, i + 1], 0, 4)]
        frame = net.step(identity, net.encode_audio(torch.from_numpy(near)[None]), previous, mask)
        previous, mask = net.compose(still, frame), frame.mask
        expected = previous[0].permute(1, 2, 0).numpy() * 255
        shown = spoken.face[top : top + side, left : left + side]
        assert np.abs(shown - expected.clip(0, 255)).max() < 0.6
        assert np.allclose(spoken.colour, frame.colour[0], atol=1e-5)
        assert np.allclose(spoken.mask, frame.mask[0, 0], atol=1e-5)
        assert np.allclose(spoken.flow, frame.flow[0], atol=1e-3)
    assert i == 4


def test_outside_the_window_the_face_is_the_photos_own(photo):
    left, top, side = MINI.window
    inside = np.zeros((256, 256), bool)
    inside[top : top + side, left : left + side] = True
    for spoken in speak(scrambled(), photo, sound(2)):
        assert np.array_equal(spoken.face[~inside], photo[~inside])
        assert not np.array_equal(spoken.face[inside], photo[inside])


def test_frames_come_while_the_sound_is_still_coming(photo):
    """Constant memory: no more than one block of sound is asked for before its first frame."""
    asked = []

    def endless():
        while True:
            asked.append(1)
            yield sound(1)[0]

    frames = speak(scrambled(), photo, endless())
    for _ in range(3):
        next(frames)
    assert len(asked) <= speaking.BLOCK + 2


def test_the_photo_is_left_as_it_was(photo):
    before = photo.copy()
    list(speak(scrambled(), photo, sound(1)))
    assert np.array_equal(photo, before)


def test_pictures_go_into_the_network_and_out_again_unchanged(photo):
    assert np.array_equal(to_picture(to_network(photo)[0]), photo)


def test_expression_moves_the_lips_so_many_times_as_far_and_leaves_the_detail_alone():
    audio = torch.randn(2, 2 * LIP_POINTS + 5)
    livelier_audio = livelier(audio, 1.5)
    assert torch.allclose(livelier_audio[:, : 2 * LIP_POINTS], 1.5 * audio[:, : 2 * LIP_POINTS])
    assert torch.equal(livelier_audio[:, 2 * LIP_POINTS :], audio[:, 2 * LIP_POINTS :])
