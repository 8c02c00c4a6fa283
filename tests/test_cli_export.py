"""`talkface export`, and the graphs that `talkface train` writes at its end."""

import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from talkface.cli import app
from talkface.cli.train import _write_graphs
from talkface.model.checkpoint import save_network
from talkface.model.onnx_engine import OnnxGenerator
from talkface.model.paper import PaperConfig, PaperGenerator


@pytest.fixture
def weights(tmp_path, make_generator):
    save_network(make_generator(), tmp_path / "generator.safetensors", half=True)
    return tmp_path / "generator.safetensors"


def run(*words):
    return CliRunner().invoke(app, ["export", *map(str, words)])


def test_the_graphs_are_written_beside_the_weights_and_named(weights):
    pytest.importorskip("onnx", reason="onnx is not installed: the export is NOT tested")
    result = run(weights)
    assert result.exit_code == 0, result.stderr
    graphs = sorted(weights.parent.glob("*.onnx"))
    assert [path.name for path in graphs] == [f"generator.{part}.onnx" for part in ("frame", "identity", "lips")]
    assert all(str(path) in result.stderr.replace("\n", "") for path in graphs)
    first = [path.read_bytes() for path in graphs]
    assert run(weights, "--quiet").stderr == ""
    assert [path.read_bytes() for path in graphs] == first  # an export is repeatable


def test_training_writes_graphs_that_render_takes(weights):
    pytest.importorskip("onnx", reason="onnx is not installed: the export is NOT tested")
    _write_graphs(weights, quiet=True)
    lips = OnnxGenerator(weights).lips(np.zeros((2, 20, 13), np.float32), np.zeros((40, 2), np.float32), 1.0)
    assert lips.shape == (2, 40, 2)


def test_without_the_package_onnx_export_says_what_to_install_and_training_ends_well(weights, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = run(weights)
    assert result.exit_code == 1
    assert "talkface[export]" in result.stderr
    _write_graphs(weights, quiet=False)
    said = capsys.readouterr().err
    assert "onnx cannot be loaded" in said
    assert "talkface export" in said
    assert list(weights.parent.glob("*.onnx")) == []


def test_a_generator_of_the_preset_paper_has_no_graphs(tmp_path):
    torch.manual_seed(0)
    net = PaperGenerator(PaperConfig(widths=(2, 2, 2, 2, 2), audio_features=4))
    save_network(net, tmp_path / "paper.safetensors")
    result = run(tmp_path / "paper.safetensors")
    assert result.exit_code == 1
    assert "preset paper, which has no graphs" in result.stderr
    _write_graphs(tmp_path / "paper.safetensors", quiet=True)
    assert list(tmp_path.glob("*.onnx")) == []
