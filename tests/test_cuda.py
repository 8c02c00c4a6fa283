"""Training and rendering on an NVIDIA GPU."""

import json
import math
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from talkface import render
from talkface.config import ALIGNED_LIPS, ALIGNED_NOSE, FPS
from talkface.model.checkpoint import load_generator
from talkface.model.inference import AlignedFace, generate_frames
from talkface.render_options import RenderOptions
from talkface.train import full_stage, mouth_stage, train
from talkface.train.presets import PAPER, SMALL, TINY, MouthConfig

pytestmark = pytest.mark.requires_cuda

DEVICE = "cuda"
ASTRONAUT = Path(__file__).resolve().parent.parent / "examples" / "astronaut.jpg"
EVERY_PART = MouthConfig(l1_steps=0, warmup_steps=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory, synthetic_clips, write_dataset):
    clips = synthetic_clips.many(2, 30) + synthetic_clips.many(1, 30, split="val")
    return write_dataset(tmp_path_factory.mktemp("synthetic"), clips)


@pytest.fixture
def precisions(monkeypatch):
    """What type convolutions gave inside the rollouts, by stage."""
    found = {}
    for name, stage in (("mouth", mouth_stage), ("full", full_stage)):

        def noted(*arguments, name=name, roll_out=stage.roll_out):
            layer = torch.nn.Conv2d(1, 1, 1).to(DEVICE)
            found[name] = layer(torch.ones(1, 1, 1, 1, device=DEVICE)).dtype
            return roll_out(*arguments)

        monkeypatch.setattr(stage, "roll_out", noted)
    return found


def lines(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "config",
    [
        replace(SMALL, stages=tuple(replace(stage, steps=1) for stage in SMALL.stages), mouth=EVERY_PART),
        replace(PAPER, stages=(replace(PAPER.stages[0], steps=1, batch=2),)),
        replace(TINY, stages=tuple(replace(stage, steps=1) for stage in TINY.stages), mouth=EVERY_PART),
    ],
    ids=["small", "paper", "tiny"],
)
def test_a_step_of_each_stage_of_a_preset_gives_finite_losses(data, tmp_path, train_options, precisions, config):
    report = train(train_options(data, tmp_path, device=DEVICE), config)
    assert report.finished
    log = lines(tmp_path)
    assert {line["stage"] for line in log} == {stage.name for stage in config.stages}
    values = [v for line in log for k, v in line.items() if k not in ("stage", "validation")]
    assert all(math.isfinite(value) for value in values)
    wanted = {"mouth": torch.float32, "full": torch.bfloat16}
    names = {stage.name for stage in config.stages} & set(wanted)
    assert precisions == {name: wanted[name] for name in names}
    assert all(torch.isfinite(tensor).all() for tensor in load_generator(report.generator).state_dict().values())


def test_a_run_that_is_stopped_on_the_gpu_is_resumed(data, tmp_path, train_options, mini_train_config):
    for step in range(1, 10):
        report = train(train_options(data, tmp_path, device=DEVICE, minutes=0.0), mini_train_config)
        assert (report.step, report.finished) == (step, step == 9)


def test_the_compiled_generator_learns(data, tmp_path, train_options, mini_train_config):
    report = train(train_options(data, tmp_path, device=DEVICE, compile=True), mini_train_config)
    assert report.finished
    assert [line["stage"] for line in lines(tmp_path) if "validation" not in line][-1] == "full"


def test_frames_of_the_gpu_look_like_those_of_the_cpu():
    face = AlignedFace(
        np.random.default_rng(0).integers(60, 200, (256, 256, 3), np.uint8),
        np.array(ALIGNED_LIPS, np.float32),
        np.array(ALIGNED_NOSE, np.float32),
    )
    lips = np.tile(face.lips, (5, 1, 1))
    lips[:, [*range(1, 10), *range(21, 30)], 1] += np.linspace(0, 10, 5)[:, None]
    ours, theirs = (
        np.stack([frame.face for frame in generate_frames(load_generator(device=device), face, lips)]).astype(int)
        for device in (DEVICE, "cpu")
    )
    assert np.abs(ours - theirs).mean() < 0.2
    assert np.abs(ours - theirs).max() <= 8


def test_a_video_is_rendered(tmp_path):
    rng = np.random.default_rng(0)
    with wave.open(str(tmp_path / "speech.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(rng.integers(-8000, 8000, 16_000).astype("<i2").tobytes())
    options = RenderOptions(device=DEVICE, crop=True)
    report = render(ASTRONAUT, tmp_path / "speech.wav", tmp_path / "out.mp4", options)
    assert report.frames == FPS
    assert report.out.stat().st_size > 1000
