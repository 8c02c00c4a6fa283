"""The autoregressive loop is what the networks' own functions give step by step."""

import numpy as np
import pytest
import torch

from talkface.config import ALIGNED_LIPS
from talkface.model import inference
from talkface.model.generator import LIP_POINTS
from talkface.model.inference import AlignedFace, speak, to_network, to_picture, with_audio_context


@pytest.fixture(scope="module")
def portrait():
    """Smooth, so that rounding in a flow changes no colour by much."""
    x, y = np.meshgrid(np.arange(256), np.arange(256))
    return AlignedFace(np.stack([x, y, 255 - (x + y) // 2], -1).astype(np.uint8), np.array(ALIGNED_LIPS, np.float32))


def sound(frames):
    return np.random.default_rng(1).normal(size=(frames, 20, 13)).astype(np.float32)


@pytest.mark.parametrize("frames", [1, 2, 7])
@pytest.mark.parametrize("context", [0, 1, 3])
def test_each_window_gets_its_neighbours_and_the_ends_repeat(frames, context):
    windows = sound(frames)
    found = np.stack(list(with_audio_context(iter(windows), range(-context, context + 1))))
    around = np.arange(frames)[:, None] + np.arange(-context, context + 1)
    assert np.array_equal(found, windows[around.clip(0, frames - 1)])


def test_no_sound_makes_no_frames(portrait, make_generator):
    assert list(with_audio_context(iter([]), (-2, 0, 2))) == []
    assert list(speak(make_generator(), portrait, [])) == []


@torch.inference_mode()
def test_speaking_is_the_networks_step_by_step(portrait, monkeypatch, mini_config, make_generator):
    monkeypatch.setattr(inference, "BLOCK", 2)
    net, windows = make_generator(), sound(5)
    left, top, side = mini_config.window
    begun, still = None, still_of(portrait, mini_config.window)
    identity, previous, mask = (
        net.encode_identity(still, torch.from_numpy(portrait.lips)[None]),
        still,
        net.first_mask(1),
    )
    for i, spoken in enumerate(speak(net, portrait, windows)):
        near = windows[np.clip([i - 1, i, i + 1], 0, 4)]
        audio = net.encode_audio(torch.from_numpy(near)[None])
        lips = audio[:, : 2 * LIP_POINTS]
        begun = lips - identity.lips.flatten(1) if i == 0 else begun
        share = np.exp(-i / 3)  # of the photo's own lips: a third of them after three frames
        audio = torch.cat([lips - share * begun, audio[:, 2 * LIP_POINTS :]], 1)
        frame = net.step(identity, audio, previous, mask)
        mask = frame.mask
        frame = frame._replace(mask=mask * (1 - share**3), flow=frame.flow * (1 - share**3))
        previous = net.compose(still, frame)
        expected = previous[0].permute(1, 2, 0).numpy() * 255
        shown = spoken.face[top : top + side, left : left + side]
        assert np.abs(shown - expected.clip(0, 255)).max() < 0.6
        assert np.allclose(spoken.colour, frame.colour[0], atol=1e-5)
        assert np.allclose(spoken.mask, frame.mask[0, 0], atol=1e-5)
        assert np.allclose(spoken.flow, frame.flow[0], atol=5e-3)
    assert i == 4


def test_outside_the_window_the_face_is_the_photos_own(portrait, mini_config, make_generator):
    left, top, side = mini_config.window
    inside = np.zeros((256, 256), bool)
    inside[top : top + side, left : left + side] = True
    for spoken in speak(make_generator(), portrait, sound(2)):
        assert np.array_equal(spoken.face[~inside], portrait.face[~inside])
    assert not np.array_equal(spoken.face[inside], portrait.face[inside])


def test_frames_come_while_the_sound_is_still_coming(portrait, make_generator):
    """Constant memory: no more than one block of sound is asked for before its first frame."""
    asked = []

    def endless():
        while True:
            asked.append(1)
            yield sound(1)[0]

    frames = speak(make_generator(), portrait, endless())
    for _ in range(3):
        next(frames)
    assert len(asked) <= inference.BLOCK + 2


def test_the_photo_is_left_as_it_was(portrait, make_generator):
    before = portrait.face.copy()
    list(speak(make_generator(), portrait, sound(1)))
    assert np.array_equal(portrait.face, before)


def test_pictures_go_into_the_network_and_out_again_unchanged(portrait):
    assert np.array_equal(to_picture(to_network(portrait.face)[0]), portrait.face)


def still_of(portrait, window):
    left, top, side = window
    return to_network(portrait.face)[:, :, top : top + side, left : left + side]


def lips_wanted(net, portrait, windows, monkeypatch, **options):
    """The lip shapes, (frames, 80), that the network is asked for."""
    asked, step = [], net.step
    monkeypatch.setattr(net, "step", lambda i, audio, *last: (asked.append(audio), step(i, audio, *last))[1])
    list(speak(net, portrait, windows, **options))
    return torch.cat(asked)


def test_a_video_begins_with_the_photo_and_leaves_it(portrait, make_generator):
    frames = [spoken.face for spoken in speak(make_generator(), portrait, sound(12))]
    assert np.array_equal(frames[0], portrait.face)
    changes = [np.abs(frame.astype(int) - portrait.face).mean() for frame in frames]
    assert changes[11] > changes[1] > 0


@torch.inference_mode()
def test_expression_moves_the_lips_so_many_times_as_far_and_leaves_the_detail_alone(
    portrait, monkeypatch, make_generator
):
    net, windows = make_generator(), sound(40)
    plain, kaiming_init = (lips_wanted(net, portrait, windows, monkeypatch, expression=e) for e in (1.0, 1.5))
    lips = 2 * LIP_POINTS
    assert torch.allclose(kaiming_init[30:, :lips], 1.5 * plain[30:, :lips], atol=1e-3)  # the photo is long left
    assert torch.equal(kaiming_init[:, lips:], plain[:, lips:])


@torch.inference_mode()
@pytest.mark.parametrize("fps", [25.0, 50.0])
def test_the_photo_is_left_at_one_pace_in_seconds(portrait, monkeypatch, fps, mini_config, make_generator):
    net, asked = make_generator(), []
    step = net.step
    monkeypatch.setattr(net, "step", lambda i, audio, *last: (asked.append(audio), step(i, audio, *last))[1])
    stacks = np.repeat(sound(1)[None], 3, 1).repeat(30, 0)  # the same sound throughout
    list(inference.generate_frames_in_context(net, portrait, stacks, fps=fps))
    wanted = torch.cat(asked)[:, : 2 * LIP_POINTS]
    photo = net.encode_identity(
        still_of(portrait, mini_config.window), torch.from_numpy(portrait.lips)[None]
    ).lips.flatten()
    assert torch.allclose(wanted[0], photo, atol=1e-5)
    heard = net.encode_audio(torch.from_numpy(stacks[:1]))[0, : 2 * LIP_POINTS]
    after = round(inference.ONSET * fps)
    assert torch.allclose(wanted[after], heard + (photo - heard) / np.e, atol=1e-4)
