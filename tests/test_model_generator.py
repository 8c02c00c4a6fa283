"""The generator: its size, its window, its warp, and what its inputs change."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from talkface.config import ALIGNED_LIPS
from talkface.errors import TalkfaceError
from talkface.model.generator import Frame, Generator, GeneratorConfig, warp
from talkface.train.losses import flow_at_lips_loss

LIPS = torch.tensor(ALIGNED_LIPS)


def one_step(net, photo, windows, previous=None, mask=None, lips=LIPS):
    identity = net.encode_identity(photo, lips.expand(len(photo), -1, -1))
    previous = photo if previous is None else previous
    mask = net.first_mask(len(photo)) if mask is None else mask
    return net.step(identity, net.encode_audio(windows), previous, mask)


def maps(net, photo, rate):
    """Identity features at an attention rate."""
    return net.encode_identity(photo, LIPS.expand(len(photo), -1, -1), rate).maps


@pytest.fixture(scope="module")
def photo():
    return torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def windows():
    return torch.randn(2, 3, 20, 13, generator=torch.Generator().manual_seed(2))


def test_the_bundled_shape_is_small_enough_for_a_cpu():
    net = Generator(GeneratorConfig()).eval()
    assert sum(p.numel() for p in net.parameters()) <= 16e6
    photo = torch.rand(1, 3, 144, 144)
    identity = net.encode_identity(photo, LIPS[None])
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        frame = net.step(identity, net.encode_audio(torch.randn(1, 9, 20, 13)), photo, net.first_mask(1))
        net.compose(photo, frame)
    assert counted.get_total_flops() <= 4e9


@pytest.mark.parametrize("head", ["warp", "colour"])
def test_a_frame_has_colour_mask_and_flow_on_the_window(photo, windows, head, mini_config, make_generator):
    frame = one_step(make_generator(replace(mini_config, head=head)), photo, windows)
    assert frame.colour.shape == (2, 3, 96, 96)
    assert frame.mask.shape == (2, 1, 96, 96)
    assert frame.flow.shape == (2, 2, 96, 96)
    for part in (frame.colour, frame.mask):
        assert part.min() >= 0
        assert part.max() <= 1
    assert frame.mask.std() > 0.01  # predicted, in both heads
    assert (frame.flow.abs().max() > 0) == (head == "warp")


@pytest.mark.parametrize("head", ["warp", "colour"])
def test_mask_and_flow_are_nothing_at_the_windows_rim(photo, windows, head, mini_config, make_generator):
    frame = one_step(make_generator(replace(mini_config, head=head)), photo, windows)
    for part, middle in ((frame.mask, 1.0), (frame.flow, frame.flow.abs().max() or 1.0)):
        for edge in (part[..., 0, :], part[..., -1, :], part[..., :, 0], part[..., :, -1]):
            assert edge.abs().max() < 0.005 * middle


def test_an_untrained_generator_shows_nearly_the_photo_where_no_lips_are_heard(photo, mini_config):
    """It paints grey where the mouth is open, and hardly anywhere else."""
    net = Generator(mini_config).eval().requires_grad_(False)
    identity = net.encode_identity(photo, LIPS.expand(2, -1, -1))
    frame = net.step(identity, net.encode_lips(torch.zeros(2, 40, 2)), photo, net.first_mask(2))
    assert frame.flow.abs().max() == 0
    mouth = net.lip_warp(identity.points, torch.zeros(2, 40, 2))[1]
    change = (net.compose(photo, frame) - photo).abs()
    assert (change * (1 - mouth) ** 2).max() < 0.06


def test_the_lips_go_where_the_sound_wants_them_before_anything_is_learned(photo, windows, mini_config):
    """An untrained decoder adds nothing: the flow at each wanted lip point leads back to the photo's."""
    net = Generator(replace(mini_config, window=(64, 120, 128))).eval().requires_grad_(False)
    photo = torch.rand(1, 3, 128, 128)
    lips = torch.zeros(1, 40, 2)
    lips[:, [21, 22, 23, 24, 25, 26, 27, 28, 29, *range(1, 10)], 1] = 0.5  # the lower lip, 4 px down
    identity = net.encode_identity(photo, LIPS[None])
    flow = net.step(identity, net.encode_lips(lips), photo, net.first_mask(1)).flow
    wanted = LIPS[None] + 8 * lips
    error = flow_at_lips_loss(flow, LIPS[None], wanted, net.config.window)
    assert error < 0.15 * flow_at_lips_loss(torch.zeros_like(flow), LIPS[None], wanted, net.config.window)


def test_a_constant_flow_shifts_the_photo(mini_config):
    """Backward flow: the frame at p shows the photo at p + flow(p)."""
    photo, net = torch.rand(1, 3, 32, 32), Generator(mini_config)
    line = (torch.arange(32) + 0.5) / 16 - 1
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)[None]
    for dx, dy in ((3, 0), (0, 5), (-2, 4)):
        flow = torch.tensor([dx, dy]).float().reshape(1, 2, 1, 1).expand(1, 2, 32, 32)
        shifted = warp(photo, flow, grid)
        expected = torch.roll(photo, (-dy, -dx), (2, 3))
        assert torch.allclose(shifted[..., 6:-6, 6:-6], expected[..., 6:-6, 6:-6], atol=1e-5)
    still = torch.zeros(1, 2, 96, 96)
    big = torch.rand(1, 3, 96, 96)
    assert torch.allclose(warp(big, still, net.grid), big, atol=1e-5)


def test_a_flow_of_half_a_pixel_mixes_two_neighbours(mini_config):
    photo = torch.rand(1, 3, 96, 96)
    half = torch.zeros(1, 2, 96, 96)
    half[:, 0] = 0.5
    shifted = warp(photo, half, Generator(mini_config).grid)
    expected = (photo[..., :-1] + photo[..., 1:]) / 2
    assert torch.allclose(shifted[..., :-1], expected, atol=1e-5)


def test_a_frame_is_colour_where_the_mask_is_one_and_warped_photo_where_it_is_zero(photo, mini_config):
    net, colour, flow = Generator(mini_config), torch.rand(2, 3, 96, 96), torch.randn(2, 2, 96, 96)
    ones = torch.ones(2, 1, 96, 96)
    assert torch.equal(net.compose(photo, Frame(colour, ones, flow)), colour)
    bare = net.compose(photo, Frame(colour, 0 * ones, flow))
    assert torch.allclose(bare, warp(photo, flow, net.grid))


def test_sound_photo_previous_frame_and_mask_all_matter(photo, windows, make_generator):
    net = make_generator()
    base = one_step(net, photo, windows)
    for changed in (
        one_step(net, photo, windows + 1),
        one_step(net, 1 - photo, windows, previous=photo),
        one_step(net, photo, windows, previous=1 - photo),
        one_step(net, photo, windows, mask=torch.zeros(2, 1, 96, 96)),
    ):
        assert not torch.allclose(changed.colour, base.colour, atol=1e-4)


def test_without_attention_photo_lips_are_seen_whole_and_the_last_mask_is_not(
    photo, windows, mini_config, make_generator
):
    net = make_generator(replace(mini_config, attention=False))
    for dimmed, whole in zip(maps(net, photo, 0.1), maps(net, photo, 1.0), strict=True):
        assert torch.equal(dimmed, whole)
    a, b = (one_step(net, photo, windows, mask=mask) for mask in (torch.zeros(2, 1, 96, 96), torch.ones(2, 1, 96, 96)))
    assert torch.equal(a.colour, b.colour)


def test_with_attention_a_low_rate_hides_the_photos_lips_from_the_identity(photo, make_generator):
    net, other = make_generator(), photo.clone()
    hidden = net.coarse.expand_as(photo) == 1
    other[hidden] = 1 - other[hidden]
    same = zip(maps(net, photo, 0.0), maps(net, other, 0.0), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    assert not torch.equal(maps(net, photo, 1.0)[0], maps(net, other, 1.0)[0])


def test_the_window_is_cut_from_the_aligned_face(mini_config):
    face = torch.rand(1, 3, 256, 256)
    assert torch.equal(Generator(mini_config).crop(face), face[:, :, 128:224, 80:176])


def test_a_generator_hears_the_lip_shape_that_it_is_told_in_its_place(windows, mini_config, make_generator):
    """Where the sound adds nothing of its own, audio feature = lip code of the lips heard."""
    net = make_generator()
    net.audio_detail.weight.zero_()
    net.audio_detail.bias.zero_()
    audio, lips = net.audio_and_lips(windows)
    assert lips.shape == (2, 40, 2)
    assert mini_config.lip_gain > 1
    assert torch.equal(net.encode_lips(mini_config.lip_gain * lips), audio)


@pytest.mark.parametrize("change", [{"window": (80, 128, 100)}, {"window": (200, 128, 96)}, {"head": "paint"}])
def test_a_shape_that_cannot_be_is_refused(change, mini_config):
    with pytest.raises(TalkfaceError, match=r"[Gg]enerator"):
        replace(mini_config, **change)
