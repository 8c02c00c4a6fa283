"""Weights files and checkpoints: whole or not at all, and clear about what they are not."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from full_disk import files_no_larger_than
from safetensors.torch import load_file, save_file
from test_model_generator import MINI, scrambled

from talkface.errors import TalkfaceError
from talkface.model.amie import StatisticsNetwork
from talkface.model.checkpoint import (
    FORMAT,
    load_estimator,
    load_generator,
    newest_checkpoint,
    save_checkpoint,
    save_network,
    weights_hash,
)
from talkface.model.generator import Generator
from talkface.model.presets import TINY, TrainConfig

CONFIG = replace(TINY, generator=MINI)


def state(value=1.0):
    return {"networks": {"weight": torch.full((100_000,), value)}, "updates": 3}


@pytest.mark.parametrize("half", [False, True])
def test_a_generator_is_read_as_it_was_written(tmp_path, half):
    net = scrambled()
    save_network(net, "generator", tmp_path / "new" / "g.safetensors", half=half, about={"steps": 5})
    read = load_generator(tmp_path / "new" / "g.safetensors")
    assert read.config == MINI
    assert not read.training
    assert not any(p.requires_grad for p in read.parameters())
    for name, tensor in net.state_dict().items():
        expected = tensor.half().float() if half else tensor
        assert torch.equal(read.state_dict()[name], expected), name
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["g.safetensors"]


def test_an_estimator_is_read_as_it_was_written(tmp_path):
    net = StatisticsNetwork(MINI).eval()
    save_network(net, "estimator", tmp_path / "t.safetensors")
    read = load_estimator(tmp_path / "t.safetensors")
    frame, windows = torch.rand(1, 3, 96, 96), torch.randn(1, 3, 20, 13)
    assert read(frame, windows).item() == pytest.approx(net(frame, windows).item(), abs=1e-5)


def test_a_file_of_an_older_shape_gets_the_defaults_of_newer_settings(tmp_path):
    path = tmp_path / "g.safetensors"
    stored = {k: v for k, v in asdict(MINI).items() if k != "audio_dropout"}
    facts = {"talkface_format": str(FORMAT), "kind": "generator", "config": json.dumps(stored), "about": "{}"}
    save_file({k: v.contiguous() for k, v in Generator(MINI).state_dict().items()}, path, facts)
    assert load_generator(path).config == MINI


def test_the_same_weights_have_the_same_hash_and_others_another(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        save_network(scrambled(seed=seed), "generator", tmp_path / name)
    a, b, c = (weights_hash(tmp_path / name) for name in "abc")
    assert a == b != c
    assert len(a) == 64


def broken_files(folder):
    """Files that are no generator, and what the message must name."""
    save_network(StatisticsNetwork(MINI), "estimator", folder / "other.safetensors")
    save_network(scrambled(), "generator", folder / "whole.safetensors")
    whole = (folder / "whole.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (folder / "text.safetensors").write_text("no weights")
    (folder / "empty.safetensors").write_bytes(b"")
    tensors = load_file(folder / "whole.safetensors")
    save_file(tensors, folder / "foreign.safetensors")
    facts = {"kind": "generator", "config": json.dumps(asdict(MINI))}
    save_file(tensors, folder / "later.safetensors", facts | {"talkface_format": "99"})
    other = facts | {"talkface_format": str(FORMAT), "config": json.dumps(asdict(replace(MINI, audio_width=16)))}
    save_file(tensors, folder / "misfit.safetensors", other)
    unknown = other | {"config": json.dumps(asdict(MINI) | {"colours": 4})}
    save_file(tensors, folder / "unknown.safetensors", unknown)
    return {
        "missing": "does not exist",
        "other": "kind estimator",
        "cut": "cut or not a safetensors file",
        "text": "cut or not a safetensors file",
        "empty": "cut or not a safetensors file",
        "foreign": "kind none",
        "later": "format 99",
        "misfit": "does not fit its own configuration",
        "unknown": "does not fit its own configuration",
    }


def test_what_is_no_generator_is_told_by_name(tmp_path):
    for name, told in broken_files(tmp_path).items():
        with pytest.raises(TalkfaceError) as error:
            load_generator(tmp_path / f"{name}.safetensors")
        assert told in str(error.value), name
        assert f"{name}.safetensors" in str(error.value)
        assert error.value.fix


def test_the_newest_checkpoint_is_found_and_the_newest_n_are_kept(tmp_path):
    for step in (5, 10, 100, 1000):
        save_checkpoint(tmp_path, step, state(step), CONFIG, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-0000100.pt", "checkpoint-0001000.pt"]
    step, found = newest_checkpoint(tmp_path, CONFIG)
    assert step == 1000
    assert found["updates"] == 3
    assert torch.equal(found["networks"]["weight"], state(1000)["networks"]["weight"])


@pytest.mark.parametrize("kept_bytes", [0, 1, 3000, 200_000])
def test_a_cut_checkpoint_is_skipped(tmp_path, kept_bytes):
    save_checkpoint(tmp_path, 1, state(), CONFIG, keep=3)
    path = save_checkpoint(tmp_path, 2, state(), CONFIG, keep=3)
    path.write_bytes(path.read_bytes()[:kept_bytes])
    assert newest_checkpoint(tmp_path, CONFIG)[0] == 1


def test_where_there_is_no_checkpoint_there_is_none(tmp_path):
    assert newest_checkpoint(tmp_path, CONFIG) is None
    assert newest_checkpoint(tmp_path / "nowhere", CONFIG) is None


@pytest.mark.parametrize(
    "change,name",
    [
        ({"lip_weight": 3.0}, "lip_weight: 10.0; now it is 3.0"),
        ({"generator": replace(MINI, head="colour")}, "generator.head: warp; now it is colour"),
        ({"stages": TINY.stages[:2]}, "stages.2"),
        ({"stages": (replace(TINY.stages[0], steps=7), *TINY.stages[1:])}, "stages.0.steps"),
        ({"seed": 4}, "seed: 0; now it is 4"),
    ],
)
def test_a_run_of_another_configuration_is_not_taken_up(tmp_path, change, name):
    save_checkpoint(tmp_path, 1, state(), CONFIG, keep=3)
    with pytest.raises(TalkfaceError) as told:
        newest_checkpoint(tmp_path, replace(CONFIG, **change))
    assert name in str(told.value)
    assert "--out" in told.value.fix


def test_a_checkpoint_from_before_a_setting_existed_is_taken_up(tmp_path):
    path = save_checkpoint(tmp_path, 1, state(), CONFIG, keep=3)
    stored = torch.load(path, weights_only=True)
    config = json.loads(stored["config"])
    del config["perceptual_area"], config["generator"]["audio_dropout"]
    torch.save(stored | {"config": json.dumps(config)}, path)
    assert newest_checkpoint(tmp_path, CONFIG)[0] == 1
    with pytest.raises(TalkfaceError, match="audio_dropout"):
        newest_checkpoint(tmp_path, replace(CONFIG, generator=replace(MINI, audio_dropout=0.0)))


def test_a_checkpoint_of_another_format_is_named(tmp_path):
    torch.save({"format": 99}, tmp_path / "checkpoint-0000001.pt")
    with pytest.raises(TalkfaceError, match=r"checkpoint-0000001\.pt is not a talkface checkpoint of format"):
        newest_checkpoint(tmp_path, TrainConfig())


def test_a_full_disk_leaves_the_last_good_checkpoint_and_nothing_half_written(tmp_path):
    save_checkpoint(tmp_path, 1, state(), CONFIG, keep=1)
    with files_no_larger_than(1 << 16), pytest.raises(TalkfaceError, match=r"checkpoint-0000002\.pt cannot be written"):
        save_checkpoint(tmp_path, 2, state(), CONFIG, keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-0000001.pt"]
    assert newest_checkpoint(tmp_path, CONFIG)[0] == 1


def test_a_full_disk_leaves_the_old_weights(tmp_path):
    path = tmp_path / "g.safetensors"
    save_network(scrambled(), "generator", path)
    before = path.read_bytes()
    with files_no_larger_than(1 << 12), pytest.raises(TalkfaceError, match=r"g\.safetensors cannot be written"):
        save_network(scrambled(seed=1), "generator", path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["g.safetensors"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TalkfaceError, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / "run", 1, state(), CONFIG, keep=1)
