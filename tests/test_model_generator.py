"""The generator: its size, its geometry, and what its inputs change."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from talkface.config import ALIGNED_LIPS, ALIGNED_NOSE
from talkface.errors import TalkfaceError
from talkface.model.decoder import COPY_REACH
from talkface.model.encoders import PLANES
from talkface.model.generator import HEIGHT, MOUTH_BELOW_NOSE, WIDTH, Frame, Generator, GeneratorConfig
from talkface.model.lipwarp import warp

pytestmark = pytest.mark.usefixtures("one_thread")
CORNER = torch.tensor([84.0, 158.0])  # of the crop in the aligned face
LIPS = torch.tensor(ALIGNED_LIPS)[None] - CORNER
NOSE = torch.tensor(ALIGNED_NOSE)[None] - CORNER


@pytest.fixture(scope="module")
def photo():
    return torch.rand(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def opened(lip_direction):
    """Lips that are open, (2, 40, 2)."""
    return (LIPS + 0.15 * lip_direction).expand(2, -1, -1)


def encoded(net, photo, rate=1.0):
    return net.encode_identity(photo, LIPS.expand(len(photo), -1, -1), NOSE.expand(len(photo), -1), rate)


def one_step(net, photo, lips, previous=None, mask=None, rate=1.0, shift=None):
    identity = encoded(net, photo, rate)
    previous = photo if previous is None else previous
    mask = net.first_mask(identity) if mask is None else mask
    return net.step(identity, net.conditions(identity, lips, shift), previous, mask)


def a_frame(colour, mask, flow):
    """A frame with these parts; paint, weights and copies do not matter to `compose`."""
    return Frame(colour, mask, flow, colour, colour, torch.cat([flow, flow], 1))


def test_the_bundled_shape_is_small_enough_for_a_cpu():
    net = Generator(GeneratorConfig()).eval()
    assert sum(p.numel() for p in net.parameters()) <= 1.5e6
    photo = torch.rand(1, 3, HEIGHT, WIDTH)
    identity = encoded(net, photo)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        conditions = net.conditions(identity, LIPS)
        net.compose(identity, net.step(identity, conditions, photo, net.first_mask(identity)))
    assert counted.get_total_flops() <= 0.5e9


def test_a_frame_has_all_its_parts_on_the_crop(photo, opened, make_generator):
    frame = one_step(make_generator(), photo, opened)
    channels = {"colour": 3, "mask": 1, "flow": 2, "paint": 3, "weights": 3, "copy_flow": 4}
    for name, part in frame._asdict().items():
        assert part.shape == (2, channels[name], HEIGHT, WIDTH), name
    for part in (frame.colour, frame.mask, frame.paint, frame.weights):
        assert part.min() >= 0
        assert part.max() <= 1
    assert torch.allclose(frame.weights.sum(1), torch.ones(2, HEIGHT, WIDTH), atol=1e-5)
    assert frame.mask.max() == 1
    assert frame.flow.abs().max() > 1


def test_an_untrained_generator_shows_the_photo_where_the_lips_stay(photo, mini_config):
    """Outside the mouth: between the photo's own lips it paints grey."""
    net = Generator(mini_config).eval().requires_grad_(False)
    frame = one_step(net, photo, LIPS.expand(2, -1, -1))
    assert frame.flow.abs().max() == 0
    change = (net.compose(encoded(net, photo), frame) - photo).abs()
    assert (change * (frame.mask == 0)).max() < 1e-5


def test_lips_are_carried_to_where_they_are_wanted(make_generator, opened):
    """A photo with a bright dot on a point of the outer lip: the frame has its dot at the wanted point."""
    net, dot = make_generator(), 5  # the middle of the lower lip
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    photo = torch.exp(-((x - LIPS[0, dot, 0]) ** 2 + (y - LIPS[0, dot, 1]) ** 2) / 8).expand(1, 3, -1, -1)
    frame = one_step(net, photo, opened[:1])
    carried = warp(photo, frame.flow)[0, 0]
    row, column = divmod(int(carried.argmax()), WIDTH)
    assert abs(opened[0, dot, 1] - LIPS[0, dot, 1]) > 5
    assert (column, row) == pytest.approx(opened[0, dot].tolist(), abs=1.5)


def test_the_decoder_sees_as_many_planes_as_it_is_built_for(photo, opened, make_generator):
    net = make_generator()
    identity = encoded(net, photo)
    assert net.conditions(identity, opened).planes.shape == (2, PLANES - 4, HEIGHT, WIDTH)
    assert all(torch.isfinite(part).all() for part in net.conditions(identity, opened).planes)


def test_copies_move_with_the_skull_and_with_the_jaw(photo, opened, make_generator):
    """A backward flow: content that moves by s is found at -s."""
    net = make_generator()
    identity, shift = encoded(net, photo), torch.tensor([[2.0, -1.0], [0.0, 3.0]])
    conditions = net.conditions(identity, opened, shift)
    assert torch.equal(conditions.skull_shift[:, :, 0, 0], -shift)
    jaw = (opened - LIPS)[:, [3, 4, 5, 6, 7]].mean(1)
    assert torch.allclose(conditions.jaw_shift[:, :, 0, 0], -jaw)
    frame = one_step(net, photo, opened, shift=shift)
    further = frame.copy_flow - torch.cat([conditions.skull_shift, conditions.jaw_shift], 1)
    assert 0 < further.abs().max() <= COPY_REACH


def test_the_planes_of_positions_move_with_the_nose(photo, opened, make_generator):
    net = make_generator()
    identity = encoded(net, photo)
    still, moved = (net.conditions(identity, opened, s).planes[:, -2:] for s in (None, torch.full((2, 2), 2.0)))
    x, y = round(NOSE[0, 0].item()) + 2, round(NOSE[0, 1].item() + MOUTH_BELOW_NOSE) + 2
    assert torch.allclose(moved[..., 2:, 2:], still[..., :-2, :-2], atol=1e-5)
    assert moved[:, :, y, x].abs().max() < 0.05


def test_a_frame_is_colour_where_the_mask_is_one_and_the_carried_photo_where_it_is_zero(photo, make_generator):
    net = make_generator()
    identity, flow = encoded(net, photo), torch.randn(2, 2, HEIGHT, WIDTH)
    colour, mask = torch.rand(2, 3, HEIGHT, WIDTH), torch.zeros(2, 1, HEIGHT, WIDTH)
    mask[..., 20:40, 30:60] = 1
    frame = net.compose(identity, a_frame(colour, mask, flow))
    assert torch.equal(frame[..., 20:40, 30:60], colour[..., 20:40, 30:60])
    outside = (mask == 0).expand_as(frame)
    assert torch.equal(frame[outside], warp(photo, flow)[outside])


def test_colour_is_the_mixture_of_paint_and_copies(photo, opened, make_generator):
    net = make_generator()
    frame = one_step(net, photo, opened)
    skull, jaw = (warp(photo, flow) for flow in frame.copy_flow.chunk(2, 1))
    mixed = sum(w * part for w, part in zip(frame.weights.split(1, 1), (frame.paint, skull, jaw), strict=True))
    assert torch.allclose(frame.colour, mixed, atol=1e-6)


def test_lips_photo_previous_frame_and_mask_all_matter(photo, opened, make_generator):
    net = make_generator()
    base = one_step(net, photo, opened)
    for changed in (
        one_step(net, photo, opened + 1),
        one_step(net, 1 - photo, opened, previous=photo),
        one_step(net, photo, opened, previous=1 - photo),
        one_step(net, photo, opened, mask=torch.zeros(2, 1, HEIGHT, WIDTH)),
    ):
        assert not torch.allclose(changed.colour, base.colour, atol=1e-4)


def test_without_feedback_the_previous_frame_and_its_mask_change_nothing(photo, opened, mini_config, make_generator):
    net = make_generator(replace(mini_config, feedback=False))
    base = one_step(net, photo, opened)
    assert torch.equal(one_step(net, photo, opened, previous=1 - photo).colour, base.colour)
    assert torch.equal(one_step(net, photo, opened, mask=torch.zeros(2, 1, HEIGHT, WIDTH)).colour, base.colour)


def test_without_attention_the_photos_lips_are_seen_whole(photo, mini_config, make_generator):
    net = make_generator(replace(mini_config, attention=False))
    assert torch.equal(encoded(net, photo, 0.1).attended, photo)
    assert torch.equal(encoded(net, photo, 0.1).style, encoded(net, photo).style)


def test_a_rate_of_zero_hides_the_photos_lips_from_all_that_is_painted(photo, opened, make_generator):
    """The carried photo keeps its lips; the rest of the frame cannot know them."""
    net, other = make_generator(), photo.clone()
    hidden = net.first_mask(encoded(net, photo)).expand_as(photo) == 1
    other[hidden] = 1 - other[hidden]
    seen, unseen = (one_step(net, p, opened, previous=photo, rate=0.0) for p in (photo, other))
    assert torch.equal(seen.colour, unseen.colour)
    assert not torch.equal(encoded(net, photo).style, encoded(net, other).style)
    assert torch.equal(encoded(net, photo).attended, photo)


@pytest.mark.parametrize("hearing,features", [("mfcc", 0), ("recogniser", 768)])
def test_a_generator_takes_what_it_is_configured_to_hear(mini_config, hearing, features):
    config = replace(mini_config, hearing=hearing)
    assert config.audio_features == features
    shape = (1, 3, 768) if features else (1, 3, 20, 13)
    audio = Generator(config).eval().audio_encoder(torch.randn(shape), LIPS)
    assert audio.lips.shape == (1, 3, 40, 2)
    assert audio.closed_logit.shape == (1, 3)


def test_the_picture_parts_and_the_audio_encoder_are_the_whole_generator(mini_config):
    net = Generator(mini_config)
    parts = [*net.picture_parts(), net.audio_encoder]
    assert sum(p.numel() for part in parts for p in part.parameters()) == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("change", [{"hearing": "ears"}, {"widths": (8, 0, 8)}, {"style": 0}, {"audio_width": 0}])
def test_a_shape_that_cannot_be_built_is_refused(change, mini_config):
    with pytest.raises(TalkfaceError, match=r"[Gg]enerator"):
        replace(mini_config, **change)
