"""The parts of the generator that see pictures: what they take and what comes out."""

import pytest
import torch
from torch.nn import functional as F

from talkface.model.blocks import ResBlock, conv_weights_channels_last, kaiming_init
from talkface.model.decoder import COPY_REACH, FrameDecoder
from talkface.model.encoders import PLANES, IdentityEncoder, ImageEncoder

pytestmark = pytest.mark.usefixtures("one_thread")
WIDTHS = (8, 12, 16)


def test_a_photo_becomes_style_numbers_that_depend_on_its_colours_and_its_mouth():
    encoder, photo, mouth = IdentityEncoder(10).eval(), torch.rand(2, 3, 64, 88), torch.zeros(2, 1, 64, 88)
    style = encoder(photo, mouth)
    assert style.shape == (2, 10)
    assert not torch.allclose(encoder(1 - photo, mouth), style, atol=1e-4)
    assert not torch.allclose(encoder(photo, mouth + 1), style, atol=1e-4)


def test_a_picture_becomes_maps_at_a_half_a_quarter_and_an_eighth():
    maps = ImageEncoder(WIDTHS)(torch.rand(2, PLANES, 64, 88))
    assert [m.shape[1:] for m in maps] == [(8, 32, 44), (12, 16, 22), (16, 8, 11)]


def test_the_decoder_returns_the_crops_size_and_bounded_flows():
    decoder = FrameDecoder(WIDTHS, 10)
    torch.nn.init.normal_(decoder.flow_head.weight, std=10.0)
    maps = [torch.randn(2, width, 64 // scale, 88 // scale) for width, scale in zip(WIDTHS, (2, 4, 8), strict=True)]
    out, flow = decoder(tuple(maps), torch.randn(2, 10))
    assert out.shape == (2, 6, 64, 88)
    assert flow.shape == (2, 4, 64, 88)
    assert 0.9 * COPY_REACH < flow.abs().max() <= COPY_REACH


def test_an_untrained_decoder_displaces_no_copy_and_paints_grey():
    maps = [torch.randn(1, width, 64 // scale, 88 // scale) for width, scale in zip(WIDTHS, (2, 4, 8), strict=True)]
    out, flow = FrameDecoder(WIDTHS, 10)(tuple(maps), torch.randn(1, 10))
    assert flow.abs().max() == 0
    assert out.abs().mean() < 0.3


def test_a_new_block_with_style_is_the_identity_and_a_trained_one_follows_the_style():
    block, x = ResBlock(8, 4), torch.randn(2, 8, 6, 6)
    assert torch.equal(block(x, torch.randn(2, 4)), x)
    torch.nn.init.normal_(block.second.weight)
    torch.nn.init.normal_(block.film.weight)
    assert not torch.allclose(block(x, torch.zeros(2, 4)), block(x, torch.ones(2, 4)))


def test_kaiming_initial_weights_keep_the_scale_of_the_signal():
    torch.manual_seed(0)
    x = torch.randn(4, 32, 32, 32)
    for _ in range(7):
        x = F.leaky_relu(kaiming_init(torch.nn.Conv2d(32, 32, 3, padding=1, padding_mode="circular"))(x), 0.2)
    assert x.pow(2).mean().sqrt().item() == pytest.approx(1, rel=0.4)


def test_channels_last_changes_the_order_in_memory_and_no_value():
    encoder, picture = ImageEncoder(WIDTHS), torch.rand(1, PLANES, 64, 88)
    before = encoder(picture)[-1]
    kernel = conv_weights_channels_last(encoder).to_middle.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert F.mse_loss(encoder(picture)[-1], before) < 1e-10
