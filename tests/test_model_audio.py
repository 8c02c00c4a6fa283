"""The Audio Encoder: absolute lips from the photo's lips and the sound of +-8 frames; lips that move as in life."""

from dataclasses import replace

import pytest
import torch

from talkface.config import ALIGNED_LIPS
from talkface.model.audio import (
    FEATURE_LIMIT,
    LIFE,
    REACH,
    AudioEncoder,
    AudioFeatures,
    Expression,
    TemporalNet,
    WindowEncoder,
    expressive_lips,
)
from talkface.model.generator import Generator
from talkface.model.lips import TOUCHING, opening

pytestmark = pytest.mark.usefixtures("one_thread")
PHOTO = torch.tensor(ALIGNED_LIPS)[None]
PLAIN = Expression(gain=1.0, offset=0.0)


@pytest.fixture(params=[0, 12], ids=["mfcc", "features"])
def encoder(request, lip_direction):
    torch.manual_seed(0)
    net = AudioEncoder(request.param, width=8).eval().requires_grad_(False)
    net.direction.copy_(lip_direction)
    return net


def sound_for(net, frames, batch=1):
    """Random input of the encoder."""
    shape = (20, 13) if net.windows is not None else (len(net.feature_mean),)
    return torch.randn(batch, frames, *shape, generator=torch.Generator().manual_seed(1))


def test_each_frame_gets_lips_and_a_closure(encoder):
    audio = encoder(sound_for(encoder, 5, 2), PHOTO.expand(2, -1, -1))
    assert audio.lips.shape == (2, 5, 40, 2)
    assert audio.closed_logit.shape == (2, 5)


def test_before_anything_is_learned_the_lips_are_the_photos_with_the_gap_closed(encoder, lip_direction):
    for layer in (encoder.from_sound, encoder.from_points, encoder.from_both):
        layer.weight.zero_()
    open_photo = PHOTO + 0.2 * lip_direction
    lips = encoder(sound_for(encoder, 3), open_photo).lips
    assert opening(lips).abs().max() < 1e-5
    assert torch.allclose(lips.mean(2), open_photo.mean(1)[:, None].expand(-1, 3, -1), atol=1e-3)
    closed = open_photo - opening(open_photo) * lip_direction
    assert torch.allclose(lips - lips.mean(2, keepdim=True), (closed - closed.mean(1, True))[:, None], atol=1e-3)


def test_the_lips_are_where_the_photos_are(encoder):
    sound, shift = sound_for(encoder, 4), torch.tensor([7.0, -3.0])
    assert torch.allclose(encoder(sound, PHOTO + shift).lips, encoder(sound, PHOTO).lips + shift, atol=1e-3)


def test_sound_and_the_shape_of_the_photos_lips_change_the_lips_and_sound_alone_the_closure(encoder):
    sound = sound_for(encoder, 4)
    base, louder = encoder(sound, PHOTO), encoder(sound + 1, PHOTO)
    wider = encoder(sound, PHOTO * torch.tensor([1.2, 1.0]))
    assert not torch.allclose(louder.lips, base.lips, atol=1e-3)
    assert not torch.allclose(wider.lips - wider.lips.mean(2, True), base.lips - base.lips.mean(2, True), atol=1e-3)
    assert not torch.equal(louder.closed_logit, base.closed_logit)
    assert torch.equal(wider.closed_logit, base.closed_logit)


def test_the_photos_lips_are_corrected_by_a_linear_map_of_their_shape(encoder):
    sound, wider = sound_for(encoder, 4), PHOTO * torch.tensor([1.2, 1.0])
    before = [encoder(sound, photo).lips for photo in (PHOTO, wider)]
    encoder.place.weight.copy_(0.5 * torch.eye(80))
    after = [encoder(sound, photo).lips for photo in (PHOTO, wider)]
    moved = [b - a for a, b in zip(before, after, strict=True)]
    shapes = [photo - photo.mean(1) - encoder.template for photo in (PHOTO, wider)]
    for move, shape in zip(moved, shapes, strict=True):
        assert torch.allclose(move, 0.5 * shape[:, None].expand_as(move), atol=1e-4)


def test_a_frame_depends_on_the_sound_of_eight_frames_before_and_after_it(encoder):
    sound, middle = sound_for(encoder, 40), 20
    changed = sound.clone()
    changed[:, middle] += 8
    base, other = encoder(sound, PHOTO), encoder(changed, PHOTO)
    assert REACH == 8
    for before, after in zip(base, other, strict=True):
        differs = (before != after).flatten(2).any(2)[0] if before.dim() > 2 else (before != after)[0]
        assert differs.nonzero().flatten().tolist() == list(range(middle - REACH, middle + REACH + 1))


def test_features_are_standardised_and_outliers_cut():
    net = AudioEncoder(2, width=8)
    net.feature_mean.copy_(torch.tensor([1.0, 2.0]))
    net.feature_scale.copy_(torch.tensor([0.5, 4.0]))
    found = net.standardised(torch.tensor([[[2.0, 0.0], [1e6, -1e6]]]))
    assert found.tolist() == [[[2.0, -0.5], [FEATURE_LIMIT, -FEATURE_LIMIT]]]


def test_each_window_is_encoded_by_itself_and_whole():
    net, windows = WindowEncoder(8, dropout=0.2).eval(), torch.randn(2, 3, 20, 13)
    vectors = net(windows)
    assert vectors.shape == (2, 3, 8)
    assert torch.allclose(net(windows[1, 2]), vectors[1, 2], atol=1e-6)
    for step in (0, 19):
        changed = windows.clone()
        changed[0, 0, step] += 1
        assert not torch.allclose(net(changed)[0, 0], vectors[0, 0])


@pytest.mark.parametrize("net", [lambda p: WindowEncoder(8, p), lambda p: TemporalNet(13, 8, p)])
def test_dropout_is_of_training_alone_and_can_be_left_out(net):
    for dropout, same in ((0.2, False), (0.0, True)):
        encoder, x = net(dropout).train(), torch.randn(2, 20, 13)
        assert torch.equal(encoder(x), encoder(x)) is same
        encoder.eval()
        assert torch.equal(encoder(x), encoder(x))


def spoken(openings, direction, closed_logit=-20.0):
    """An encoder's answer of lips with these openings, (1, T)."""
    lips = PHOTO - opening(PHOTO) * direction + torch.tensor(openings)[:, None, None] * direction
    return AudioFeatures(lips[None], torch.full((1, len(openings)), closed_logit))


def test_openings_are_stretched_less_a_small_offset(lip_direction):
    shown = expressive_lips(spoken([0.05, 0.1, 0.2], lip_direction), lip_direction)
    expected = [LIFE.gain * (o - LIFE.offset) for o in (0.05, 0.1, 0.2)]
    assert opening(shown)[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_the_gain_is_the_generators(lip_direction, mini_config):
    assert Generator(mini_config).audio_encoder.expression == LIFE
    timid = Generator(replace(mini_config, opening_gain=0.5)).audio_encoder.expression
    shown = expressive_lips(spoken([0.2], lip_direction), lip_direction, 1.0, timid)
    assert opening(shown)[0].tolist() == pytest.approx([0.1], abs=1e-5)


@pytest.mark.parametrize("amount", [0.0, 0.5, 2.0])
def test_the_amount_multiplies_the_opening(lip_direction, amount):
    audio = spoken([0.1, 0.2], lip_direction)
    shown = expressive_lips(audio, lip_direction, amount, PLAIN)
    assert opening(shown)[0].tolist() == pytest.approx([max(amount * o, TOUCHING) for o in (0.1, 0.2)], abs=1e-5)


def test_lips_never_cross(lip_direction):
    for closed_logit in (-20.0, 0.0, 20.0):
        shown = expressive_lips(spoken([-0.2, -0.01, 0.0, 0.003], lip_direction, closed_logit), lip_direction)
        assert opening(shown).min() >= TOUCHING - 1e-5
        assert opening(shown).max() < 2 * TOUCHING


@pytest.mark.parametrize("probability,open_share", [(0.0, 1), (0.39, 1), (0.55, 0.5), (0.71, 0), (1.0, 0)])
def test_lips_shut_as_the_probability_of_a_shut_mouth_rises(lip_direction, probability, open_share):
    """Open up to 0.4, shut from 0.7 on, linear between the two."""
    logit = torch.tensor(probability).logit().clamp(-50, 50).item()
    shown = expressive_lips(spoken([0.2], lip_direction, logit), lip_direction, how=PLAIN)
    assert opening(shown).item() == pytest.approx(open_share * 0.2 + (1 - open_share) * TOUCHING, abs=1e-4)


def test_only_the_opening_of_the_lips_is_changed(lip_direction):
    audio = spoken([0.05, 0.2], lip_direction)
    shown = expressive_lips(audio, lip_direction)
    assert torch.equal(shown[..., 0], audio.lips[..., 0])  # the direction has no part across
    assert torch.allclose(shown[..., [0, 10, 20, 30], :], audio.lips[..., [0, 10, 20, 30], :])
