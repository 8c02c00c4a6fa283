"""Weights files: whole or not at all, and clear about what they are not."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from talkface.errors import TalkfaceError
from talkface.model.amie import StatisticsNetwork
from talkface.model.checkpoint import (
    FORMAT,
    load_estimator,
    load_generator,
    save_network,
    weights_hash,
)
from talkface.model.generator import Generator
from talkface.model.paper import PaperConfig, PaperGenerator


@pytest.mark.parametrize("half", [False, True])
def test_a_generator_is_read_as_it_was_written(tmp_path, half, mini_config, make_generator):
    net = make_generator()
    save_network(net, tmp_path / "new" / "g.safetensors", half=half, about={"steps": 5})
    read = load_generator(tmp_path / "new" / "g.safetensors")
    assert read.config == mini_config
    assert not read.training
    assert not any(p.requires_grad for p in read.parameters())
    for name, tensor in net.state_dict().items():
        expected = tensor.half().float() if half else tensor
        assert torch.equal(read.state_dict()[name], expected), name
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["g.safetensors"]


def test_a_generator_of_the_paper_is_read_as_it_was_written(tmp_path):
    config = PaperConfig(widths=(2, 2, 2, 2, 2), audio_features=4, attention=False)
    net = PaperGenerator(config)
    save_network(net, tmp_path / "g.safetensors")
    read = load_generator(tmp_path / "g.safetensors")
    assert isinstance(read, PaperGenerator)
    assert read.config == config
    assert all(torch.equal(read.state_dict()[name], tensor) for name, tensor in net.state_dict().items())


def test_an_estimator_is_read_as_it_was_written(tmp_path, mini_estimator):
    net = StatisticsNetwork(mini_estimator).eval()
    save_network(net, tmp_path / "t.safetensors")
    read = load_estimator(tmp_path / "t.safetensors")
    assert read.config == mini_estimator
    frame, windows = torch.rand(1, 3, 64, 88), torch.randn(1, 20, 13)
    assert read(frame, windows).item() == pytest.approx(net(frame, windows).item(), abs=1e-5)


def test_a_file_from_before_a_setting_existed_gets_its_default(tmp_path, mini_config):
    path = tmp_path / "g.safetensors"
    stored = {k: v for k, v in asdict(mini_config).items() if k != "audio_dropout"}
    facts = {"talkface_format": str(FORMAT), "kind": "generator", "config": json.dumps(stored), "about": "{}"}
    save_file({k: v.contiguous() for k, v in Generator(mini_config).state_dict().items()}, path, facts)
    assert load_generator(path).config == mini_config


def test_the_same_weights_have_the_same_hash_and_others_another(tmp_path, make_generator):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        save_network(make_generator(seed=seed), tmp_path / name)
    a, b, c = (weights_hash(tmp_path / name) for name in "abc")
    assert a == b != c
    assert len(a) == 64


def broken_files(folder, mini_config, mini_estimator, make_generator):
    """Files that are no generator, and what the message must name."""
    save_network(StatisticsNetwork(mini_estimator), folder / "other.safetensors")
    save_network(make_generator(), folder / "whole.safetensors")
    whole = (folder / "whole.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (folder / "text.safetensors").write_text("no weights")
    (folder / "empty.safetensors").write_bytes(b"")
    tensors = load_file(folder / "whole.safetensors")
    save_file(tensors, folder / "foreign.safetensors")
    facts = {"kind": "generator", "config": json.dumps(asdict(mini_config))}
    save_file(tensors, folder / "earlier.safetensors", facts | {"talkface_format": "1"})
    save_file(tensors, folder / "later.safetensors", facts | {"talkface_format": "99"})
    other = facts | {"talkface_format": str(FORMAT), "config": json.dumps(asdict(replace(mini_config, audio_width=16)))}
    save_file(tensors, folder / "misfit.safetensors", other)
    unknown = other | {"config": json.dumps(asdict(mini_config) | {"colours": 4})}
    save_file(tensors, folder / "unknown.safetensors", unknown)
    return {
        "missing": "does not exist",
        "other": "kind estimator",
        "cut": "cut or not a safetensors file",
        "text": "cut or not a safetensors file",
        "empty": "cut or not a safetensors file",
        "foreign": "kind none",
        "earlier": "is not a talkface generator of format 2 (it says: kind generator, format 1)",
        "later": "format 99",
        "misfit": "does not fit its own configuration",
        "unknown": "does not fit its own configuration",
    }


def test_the_error_of_a_file_that_is_no_generator_says_what_it_is(
    tmp_path, mini_config, mini_estimator, make_generator
):
    for name, told in broken_files(tmp_path, mini_config, mini_estimator, make_generator).items():
        with pytest.raises(TalkfaceError) as error:
            load_generator(tmp_path / f"{name}.safetensors")
        assert told in str(error.value), name
        assert f"{name}.safetensors" in str(error.value)
        assert error.value.fix


def test_a_generator_is_not_taken_for_an_estimator(tmp_path, make_generator):
    save_network(make_generator(), tmp_path / "g.safetensors")
    with pytest.raises(TalkfaceError, match="not a talkface estimator"):
        load_estimator(tmp_path / "g.safetensors")


def test_a_full_disk_leaves_the_old_weights(tmp_path, make_generator, disk_limits):
    path = tmp_path / "g.safetensors"
    save_network(make_generator(), path)
    before = path.read_bytes()
    with disk_limits(1 << 12), pytest.raises(TalkfaceError, match=r"g\.safetensors cannot be written"):
        save_network(make_generator(seed=1), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["g.safetensors"]
