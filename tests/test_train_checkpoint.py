"""Checkpoints: whole or not at all, and clear about what they are not."""

import json
from dataclasses import replace

import pytest
import torch

from talkface.errors import TalkfaceError
from talkface.train.checkpoint import newest_checkpoint, save_checkpoint
from talkface.train.presets import TINY, TrainConfig


def state(value=1.0):
    return {"networks": {"weight": torch.full((100_000,), value)}, "updates": 3}


@pytest.fixture(scope="module")
def base_config(mini_config):
    return replace(TINY, generator=mini_config)


def test_the_newest_checkpoint_is_found_and_the_newest_n_are_kept(tmp_path, base_config):
    for step in (5, 10, 100, 1000):
        save_checkpoint(tmp_path, step, state(step), base_config, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-0000100.pt", "checkpoint-0001000.pt"]
    step, found = newest_checkpoint(tmp_path, base_config)
    assert step == 1000
    assert found["updates"] == 3
    assert torch.equal(found["networks"]["weight"], state(1000)["networks"]["weight"])


def cut(path, kept_bytes):
    path.write_bytes(path.read_bytes()[:kept_bytes])


@pytest.mark.parametrize("kept_bytes", [0, 1, 3000, 200_000])
def test_a_truncated_checkpoint_is_passed_over_with_a_note(tmp_path, kept_bytes, base_config):
    save_checkpoint(tmp_path, 1, state(), base_config, keep=3)
    cut(save_checkpoint(tmp_path, 2, state(), base_config, keep=3), kept_bytes)
    notes = []
    assert newest_checkpoint(tmp_path, base_config, on_note=notes.append)[0] == 1
    (note,) = notes
    assert note == (
        f"{tmp_path / 'checkpoint-0000002.pt'} is truncated or damaged; it is passed over for checkpoint-0000001.pt."
    )


def test_a_checkpoint_with_changed_bytes_is_passed_over(tmp_path, base_config):
    save_checkpoint(tmp_path, 1, state(), base_config, keep=3)
    path = save_checkpoint(tmp_path, 2, state(), base_config, keep=3)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF  # among the values of the tensor
    path.write_bytes(damaged)
    assert newest_checkpoint(tmp_path, base_config)[0] == 1


def test_without_a_whole_checkpoint_the_run_does_not_start_again_at_step_0(tmp_path, base_config):
    for step in (1, 2):
        cut(save_checkpoint(tmp_path, step, state(), base_config, keep=3), 3000)
    with pytest.raises(TalkfaceError, match=r"no whole checkpoint: checkpoint-0000002\.pt, checkpoint-0000001\.pt are"):
        newest_checkpoint(tmp_path, base_config)


def test_a_checkpoint_that_the_system_cannot_read_is_an_error(tmp_path, base_config):
    (tmp_path / "checkpoint-0000001.pt").mkdir()
    with pytest.raises(TalkfaceError, match=r"checkpoint-0000001\.pt cannot be read: Is a directory"):
        newest_checkpoint(tmp_path, base_config)


def test_where_there_is_no_checkpoint_there_is_none(tmp_path, base_config):
    assert newest_checkpoint(tmp_path, base_config) is None
    assert newest_checkpoint(tmp_path / "nowhere", base_config) is None


@pytest.mark.parametrize(
    "change,name",
    [
        (lambda c: {"full": replace(c.full, lip_weight=3.0)}, "full.lip_weight: 10.0; now it is 3.0"),
        (lambda c: {"generator": replace(c.generator, style=5)}, "generator.style"),
        (lambda c: {"stages": c.stages[:2]}, "with the stages lips, mouth, full; now they are lips, mouth."),
        (lambda c: {"stages": (replace(c.stages[0], steps=7), *c.stages[1:])}, "another lips.steps: "),
        (lambda c: {"seed": 4}, "seed: 0; now it is 4"),
    ],
)
def test_a_run_of_another_configuration_is_not_taken_up(tmp_path, change, name, base_config):
    save_checkpoint(tmp_path, 1, state(), base_config, keep=3)
    with pytest.raises(TalkfaceError) as told:
        newest_checkpoint(tmp_path, replace(base_config, **change(base_config)))
    assert name in str(told.value)
    assert "--out" in told.value.fix


def test_a_checkpoint_from_before_a_setting_existed_is_taken_up(tmp_path, mini_config, base_config):
    path = save_checkpoint(tmp_path, 1, state(), base_config, keep=3)
    stored = torch.load(path, weights_only=True)
    config = json.loads(stored["config"])
    del config["full"]["lip_weight"], config["generator"]["audio_dropout"]
    torch.save(stored | {"config": json.dumps(config)}, path)
    assert newest_checkpoint(tmp_path, base_config)[0] == 1
    with pytest.raises(TalkfaceError, match="audio_dropout"):
        newest_checkpoint(tmp_path, replace(base_config, generator=replace(mini_config, audio_dropout=0.0)))


def test_a_checkpoint_of_another_format_is_named(tmp_path):
    torch.save({"format": 99}, tmp_path / "checkpoint-0000001.pt")
    with pytest.raises(TalkfaceError, match=r"checkpoint-0000001\.pt is not a talkface checkpoint of format"):
        newest_checkpoint(tmp_path, TrainConfig())


def test_a_full_disk_leaves_the_last_good_checkpoint_and_nothing_half_written(tmp_path, base_config, disk_limits):
    save_checkpoint(tmp_path, 1, state(), base_config, keep=1)
    with disk_limits(1 << 16), pytest.raises(TalkfaceError, match=r"checkpoint-0000002\.pt cannot be written"):
        save_checkpoint(tmp_path, 2, state(), base_config, keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-0000001.pt"]
    assert newest_checkpoint(tmp_path, base_config)[0] == 1


def test_a_folder_that_cannot_be_made_is_told(tmp_path, base_config):
    (tmp_path / "file").write_text("")
    with pytest.raises(TalkfaceError, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / "run", 1, state(), base_config, keep=1)
