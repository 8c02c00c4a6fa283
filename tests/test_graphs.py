"""Graphs belong to one file of weights, and their threads respect what the process may use."""

import os

import numpy as np
import pytest
import torch

from talkface import graphs
from talkface.errors import TalkfaceError
from talkface.files import sha256
from talkface.graphs import Graph, graph_path, graphs_state, thread_count

pytest.importorskip("onnx", reason="onnx is not installed: the export of graphs is NOT tested")


class Scale(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor([2.0, 0.5, -1.0]))

    def forward(self, x, unused):
        return x * self.factor, x + 1


@pytest.fixture
def weights(tmp_path):
    """The weights of a small module with its graph "part", as fp16."""
    from safetensors.torch import save_file

    from talkface.graph_export import GraphSpec, export_graph

    path, module = tmp_path / "small.safetensors", Scale().requires_grad_(False)
    save_file({"factor": module.factor.half()}, path)
    spec = GraphSpec(module, {"x": torch.zeros(2, 3), "unused": torch.zeros(1)}, ["scaled", "more"], {"x": {0: "rows"}})
    assert export_graph(spec, path, "part") == graph_path(path, "part")
    return path


def test_a_graph_computes_what_its_module_does_for_any_number_of_rows(weights):
    graph, x = Graph(graph_path(weights, "part")), np.arange(12, dtype=np.float32).reshape(4, 3)
    scaled, more = graph({"x": x, "unused": x})
    np.testing.assert_array_equal(scaled, x * np.float32([2, 0.5, -1]))
    np.testing.assert_array_equal(more, x + 1)
    (alone,) = graph({"x": x}, ["more"])
    np.testing.assert_array_equal(alone, x + 1)


def test_a_graph_reads_its_weights_from_the_weights_file(weights):
    """It has none itself: other numbers in the file are other results."""
    data = weights.read_bytes()
    weights.write_bytes(data[:-6] + np.float16([4, 4, 4]).tobytes())
    x = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(Graph(graph_path(weights, "part"))({"x": x})[0], [[4, 4, 4]])


def test_a_graph_of_other_weights_is_stale_and_one_that_is_not_there_missing(weights):
    assert graphs_state(weights, ["part"], sha256(weights)) == "current"
    assert graphs_state(weights, ["part"], "0" * 64) == "stale"
    assert graphs_state(weights, ["part", "other"], sha256(weights)) == "missing"


def test_a_damaged_graph_is_a_clear_error(weights):
    path = graph_path(weights, "part")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TalkfaceError, match=r"small\.part\.onnx cannot be loaded") as error:
        Graph(path)
    assert "talkface export" in error.value.fix


@pytest.mark.parametrize("cores, threads", [(1, 1), (2, 2), (64, 2)])
def test_a_graph_has_two_threads_bounded_by_the_cores(monkeypatch, cores, threads):
    monkeypatch.setattr(graphs, "cores", lambda: cores)
    assert thread_count() == threads


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processor affinity there")
def test_the_number_of_threads_respects_the_affinity():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert thread_count() == 1
    finally:
        os.sched_setaffinity(0, allowed)
