"""The perceptual features are a VGG-16 body (paper Eq. 10)."""

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from talkface.config import weights_dir
from talkface.errors import TalkfaceError
from talkface.metrics.perceptual import PerceptualFeatures


def test_features_are_those_of_the_layers_written_out():
    """Against convolutions by hand: BGR, ImageNet's means off, three blocks of 2, 2 and 3 layers, pooled between."""
    stored = {name: tensor.float() for name, tensor in load_file(weights_dir() / "vgg16_hed.safetensors").items()}
    picture = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    x = picture[:, [2, 1, 0]] * 255 - torch.tensor([103.939, 116.779, 123.68])[:, None, None]
    found = PerceptualFeatures()(picture)
    assert [f.shape[1] for f in found] == [64, 128, 256]
    kernels = [value for name, value in sorted(stored.items()) if value.dim() == 4]
    biases = [value for name, value in sorted(stored.items()) if value.dim() == 1]
    ends, depth = {1: 0, 3: 1, 6: 2}, 0
    for number, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        x = F.conv2d(x, kernel, bias, padding=1).clamp(min=0)
        if number in ends:
            assert torch.allclose(found[ends[number]], x / 100, rtol=1e-4, atol=1e-5)
            x, depth = F.max_pool2d(x, 2), depth + 1
    assert depth == 3


def test_the_features_are_frozen():
    assert not any(p.requires_grad for p in PerceptualFeatures().parameters())


def test_missing_weights_are_told_with_what_to_do(tmp_path):
    with pytest.raises(TalkfaceError, match=r"nothing\.safetensors") as told:
        PerceptualFeatures(tmp_path / "nothing.safetensors")
    assert "Reinstall talkface" in told.value.fix
