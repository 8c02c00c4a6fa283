"""The speech encoder: its weights file, and its attention against a formula written out."""

import math

import pytest
import torch
from safetensors.torch import save_file

from talkface.errors import TalkfaceError
from talkface.model.recogniser import BANDS, POSITIONS, WIDTH, Attention, SpeechEncoder, load_speech_encoder

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def encoder():
    return load_speech_encoder()


def test_the_bundled_encoder_gives_a_vector_every_20_ms(encoder):
    with torch.no_grad():
        vectors = encoder(torch.zeros(2, BANDS, 100))
    assert vectors.shape == (2, 50, WIDTH)
    assert torch.isfinite(vectors).all()


def test_the_bundled_encoder_is_frozen_and_has_two_blocks_of_the_published_size(encoder):
    assert not encoder.training
    assert not any(p.requires_grad for p in encoder.parameters())
    assert len(encoder.blocks) == 2
    assert encoder.positional_embedding.shape == (POSITIONS, WIDTH)


def test_positions_are_the_sinusoids_of_whisper(encoder):
    """Sines and cosines of frequencies from 1 down to 1 / 10,000 of a radian per vector."""
    steps = torch.exp(-math.log(10_000) / (WIDTH // 2 - 1) * torch.arange(WIDTH // 2))
    angles = torch.arange(POSITIONS)[:, None] * steps[None]
    expected = torch.cat([angles.sin(), angles.cos()], 1)
    assert (encoder.positional_embedding - expected).abs().max() < 5e-3  # some files hold half precision


def test_attention_is_the_softmax_of_scaled_products_in_each_head():
    torch.manual_seed(0)
    layer, x = Attention(), torch.randn(1, 5, WIDTH)
    with torch.no_grad():
        query, key, value = (one(x)[0] for one in (layer.query, layer.key, layer.value))
        heads = []
        for head in range(6):
            part = slice(64 * head, 64 * head + 64)
            weights = torch.softmax(query[:, part] @ key[:, part].T / 8, 1)
            heads.append(weights @ value[:, part])
        assert torch.allclose(layer(x)[0], layer.out(torch.cat(heads, 1)), atol=1e-5)


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_a_file_says_by_its_names_how_many_blocks_it_has(tmp_path, blocks):
    torch.manual_seed(0)
    net = SpeechEncoder(blocks).eval()
    save_file({name: tensor.half().contiguous() for name, tensor in net.state_dict().items()}, tmp_path / "e")
    read = load_speech_encoder(tmp_path / "e")
    assert len(read.blocks) == blocks
    mel = torch.randn(1, BANDS, 20)
    with torch.no_grad():
        assert torch.allclose(read(mel), net(mel), atol=0.05)


def test_a_missing_file_and_another_networks_file_are_refused(tmp_path):
    with pytest.raises(TalkfaceError, match=r"nothing\.safetensors is missing"):
        load_speech_encoder(tmp_path / "nothing.safetensors")
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(TalkfaceError, match="does not hold a speech encoder"):
        load_speech_encoder(tmp_path / "other.safetensors")
