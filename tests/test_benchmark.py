"""`talkface bench`: every stage is measured, and the figures are those of the render that was asked for."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from talkface.cli import app
from talkface.model.checkpoint import save_network

ASTRONAUT = Path(__file__).resolve().parent.parent / "examples" / "astronaut.jpg"


@pytest.fixture
def speech(tmp_path):
    path = tmp_path / "speech.wav"
    samples = np.random.default_rng(0).normal(0, 3000, 4800).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return path


def run(*words):
    return CliRunner().invoke(app, ["bench", *map(str, words)])


def test_every_stage_is_measured_and_shown(speech, tmp_path):
    result = run(ASTRONAUT, speech, "--device", "cpu", "--repeats", "1", "--json", tmp_path / "b.json")
    assert result.exit_code == 0, result.stderr
    figures = json.loads((tmp_path / "b.json").read_text())
    assert figures["engine"].startswith("onnxruntime ")
    assert (figures["width"], figures["height"], figures["frames"]) == (512, 512, 8)
    assert set(figures["seconds"]) == {"start", "face", "sound", "load", "first_frame"}
    assert set(figures["milliseconds"]) == {"network", "paste", "encode"}
    assert all(value > 0 for part in ("seconds", "milliseconds") for value in figures[part].values())
    assert figures["seconds"]["first_frame"] > figures["seconds"]["start"]
    assert figures["parameters"] == pytest.approx(1.3e6, rel=0.1)
    assert 0.1 < figures["gflop"] < 2
    assert 1 <= figures["threads"] <= 2
    for shown in ("frames/s", "GFLOP", "paste-back, per frame", "command to first frame"):
        assert shown in result.stdout


def test_weights_without_graphs_are_measured_in_pytorch(speech, tmp_path, make_generator):
    save_network(make_generator(), tmp_path / "small.safetensors")
    words = ["--crop", "--device", "cpu", "--repeats", "1", "--quiet", "--json", tmp_path / "b.json"]
    result = run(ASTRONAUT, speech, "--weights", tmp_path / "small.safetensors", *words)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    figures = json.loads((tmp_path / "b.json").read_text())
    assert figures["engine"].startswith("torch ")
    assert (figures["width"], figures["threads"]) == (256, 1)


def test_the_figures_do_not_replace_an_input(speech):
    result = run(ASTRONAUT, speech, "--json", speech)
    assert result.exit_code == 1
    assert "is the input" in result.stderr
