"""The log of a training run."""

import json
from dataclasses import replace

import pytest

from talkface.train import train
from talkface.train.log import RunLog
from talkface.train.options import Step

pytestmark = pytest.mark.usefixtures("one_thread")


def told(step):
    return Step("lips", step, 9, {"lip_shape": 1 / 3}, 12.345, 1.0)


def test_a_line_of_losses_and_a_line_of_validation_figures(tmp_path):
    log = RunLog(tmp_path, 0)
    log.line(told(1))
    log.validation("lips", 1, {"share": 2 / 3})
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [
        {"step": 1, "stage": "lips", "frames_per_second": 12.35, "lip_shape": 0.33333},
        {"step": 1, "stage": "lips", "validation": {"share": 0.6667}},
    ]


def test_lines_after_the_checkpoint_and_a_cut_line_are_dropped_when_a_run_is_resumed(tmp_path):
    log = RunLog(tmp_path, 0)
    for step in (1, 2, 3):
        log.line(told(step))
    log.validation("lips", 3, {"share": 1.0})
    log.close()
    path = tmp_path / "log.jsonl"
    path.write_text(path.read_text() + '{"step": 2, "sta')
    log = RunLog(tmp_path, 2)
    log.line(told(3))
    log.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]


def test_a_run_writes_its_losses_for_tensorboard(
    tmp_path, synthetic_clips, write_dataset, mini_train_config, train_options
):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: its log is NOT tested")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    data = write_dataset(tmp_path / "data", [synthetic_clips.one(split=split) for split in ("train", "val")])
    lips_only = replace(mini_train_config, stages=mini_train_config.stages[:1])
    train(train_options(data, tmp_path / "run"), lips_only)
    written = EventAccumulator(str(tmp_path / "run/tensorboard")).Reload()
    assert {"loss/lip_shape", "validation/share"} <= set(written.Tags()["scalars"])
    assert [event.step for event in written.Scalars("frames_per_second")] == [1, 2, 3]
    assert [event.step for event in written.Scalars("validation/share")] == [3]
