"""Several processes that train together."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from talkface.errors import TalkfaceError
from talkface.model.checkpoint import load_generator
from talkface.train import train
from talkface.train.presets import Stage
from talkface.train.processes import Processes, join

pytestmark = pytest.mark.usefixtures("one_thread")

TOGETHER = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from talkface.model.generator import GeneratorConfig
from talkface.train import TrainOptions, train
from talkface.train.presets import TINY, LipsConfig, Stage
torch.set_num_threads(1)
data, out, steps = sys.argv[1:]
config = replace(
    TINY,
    generator=GeneratorConfig(hearing="mfcc", widths=(8, 8, 8), style=8, audio_width=8, audio_dropout=0.0),
    stages=(Stage("lips", int(steps), 8, rollout=6),),
    augment=False,
)
train(TrainOptions((data,), Path(out), device="cpu", log_steps=1, workers=0, validation_steps=2), config)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory, synthetic_clips, write_dataset):
    clips = synthetic_clips.many(2, 12) + synthetic_clips.many(1, 12, split="val")
    return write_dataset(tmp_path_factory.mktemp("synthetic"), clips)


@pytest.fixture(scope="module")
def lips_only(mini_train_config):
    """Without random draws inside the networks, which differ between processes."""
    generator = replace(mini_train_config.generator, audio_dropout=0.0)
    return replace(mini_train_config, generator=generator, stages=(Stage("lips", 4, 8, rollout=6),), augment=False)


def start(count, *words):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    common["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
    processes = [
        subprocess.Popen([sys.executable, "-c", TOGETHER, *words], env=os.environ | common | {"RANK": str(rank)})
        for rank in range(count)
    ]
    return [process.wait() for process in processes]


def lines(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_two_processes_train_as_one_with_the_joint_batch(data, tmp_path, lips_only, train_options):
    """Same losses and, but for rounding, the same weights: the mean over shares is the mean over the joint batch."""
    train(train_options(data, tmp_path / "one", validation_steps=2), lips_only)
    assert start(2, str(data), str(tmp_path / "two"), "4") == [0, 0]
    for one, two in zip(lines(tmp_path / "one"), lines(tmp_path / "two"), strict=True):
        assert one.keys() == two.keys()
        one, two = one.get("validation", one), two.get("validation", two)
        for name in one.keys() - {"frames_per_second", "stage"}:
            assert two[name] == pytest.approx(one[name], rel=2e-3, abs=2e-4), name
    one, two = (load_generator(tmp_path / out / "generator.safetensors").state_dict() for out in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], atol=1e-4) for name in one)


def test_a_batch_that_cannot_be_shared_is_told_before_anything_starts(
    data, tmp_path, monkeypatch, lips_only, train_options
):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(TalkfaceError, match=r"Batch 8 of stage 'lips' .* by 3 processes") as told:
        train(train_options(data, tmp_path), lips_only)
    assert "--set lips.batch=N" in told.value.fix


def test_one_process_has_nobody_to_wait_for(lips_only):
    alone = join("cpu", lips_only)
    assert alone == Processes(0, 1, torch.device("cpu"))
    assert alone.synchronise is None
    assert alone.mean({"a": torch.tensor(2.0)}) == {"a": 2.0}
    assert [alone.any(mine) for mine in (True, False)] == [True, False]
    layer = torch.nn.Linear(2, 2)
    before = layer.weight.clone()
    alone.take_over(layer)
    assert torch.equal(layer.weight, before)
