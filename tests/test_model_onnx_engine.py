"""ONNX Runtime computes what PyTorch computes: lips, frames and vectors of the recogniser."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from talkface.config import ALIGNED_LIPS, ALIGNED_NOSE, weights_dir
from talkface.errors import TalkfaceError
from talkface.model import backend as backends
from talkface.model.backend import Backend, choose_backend
from talkface.model.checkpoint import load_generator, save_network
from talkface.model.hearing import speech_vectors
from talkface.model.inference import AlignedFace, FaceRenderer, generate_frames, predict_lips
from talkface.model.lip_field import LOWER, UPPER, field_weights
from talkface.model.lipwarp import _weights
from talkface.model.onnx_engine import OnnxGenerator, OnnxSpeechEncoder
from talkface.model.paper import PaperConfig, PaperGenerator
from talkface.model.recogniser import load_speech_encoder
from talkface.model.talking import takes_mfcc

pytestmark = pytest.mark.usefixtures("one_thread")
LIPS = np.array(ALIGNED_LIPS, np.float32)


@pytest.fixture(scope="module")
def small(tmp_path_factory, make_generator, mini_config):
    """Small generators of either hearing, in PyTorch and exported; one without feedback and attention."""
    pytest.importorskip("onnx", reason="onnx is not installed: the export of generators is NOT tested")
    from talkface.model.export import export_generator

    configs = {
        "mfcc": mini_config,
        "recogniser": replace(mini_config, hearing="recogniser"),
        "plain": replace(mini_config, feedback=False, attention=False),
    }
    folder, pairs = tmp_path_factory.mktemp("onnx"), {}
    for name, config in configs.items():
        path = folder / f"{name}.safetensors"
        save_network(make_generator(config), path)
        torch_generator = load_generator(path)
        export_generator(torch_generator, path)
        pairs[name] = torch_generator, OnnxGenerator(path)
    return pairs


def portrait(shift=(0.0, 0.0), seed=0):
    x, y = np.meshgrid(np.arange(256), np.arange(256))
    face = np.stack([x, y, 255 - (x + y) // 2], -1).astype(np.uint8) // (seed + 1)
    reach = np.ones((256, 256), np.float32)
    reach[215:] = 0
    return AlignedFace(face, LIPS + np.float32(shift), np.float32(ALIGNED_NOSE) + np.float32(shift), reach)


def moving_lips(face, lip_direction, frames=6):
    gaps = 0.1 + 0.1 * np.sin(np.arange(frames))
    return (face.lips + gaps[:, None, None] * lip_direction.numpy()).astype(np.float32)


def test_the_weights_of_the_fields_are_those_of_pytorch(lip_direction):
    moves = moving_lips(portrait(), lip_direction)[2] - LIPS
    moved = torch.from_numpy(LIPS + moves)[None]
    for found, lip in zip(field_weights(LIPS + moves, moves), (UPPER, LOWER), strict=True):
        expected = _weights(moved[:, lip], torch.from_numpy(-moves)[None, lip])
        np.testing.assert_allclose(found, expected.numpy(), atol=2e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("name, shape", [("mfcc", (20, 13)), ("recogniser", (768,))])
@pytest.mark.parametrize("frames", [1, 30])
def test_lips_are_those_of_pytorch(small, name, shape, frames):
    reference, exported = small[name]
    sound = np.random.default_rng(1).normal(size=(frames, *shape)).astype(np.float32)
    found, expected = (np.stack([*predict_lips(net, portrait(), sound, 1.3)]) for net in (exported, reference))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert takes_mfcc(exported) == takes_mfcc(reference) == (name == "mfcc")


@pytest.mark.parametrize("name", ["mfcc", "plain"])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (30.0, -25.0), (-60.0, 40.0)])
def test_frames_are_those_of_pytorch_wherever_the_mouth_is(small, name, shift, lip_direction):
    face = portrait(shift)
    lips = moving_lips(face, lip_direction)
    reference, exported = (list(generate_frames(net, face, lips)) for net in small[name])
    for found, expected in zip(exported, reference, strict=True):
        assert (found.region, found.corner) == (expected.region, expected.corner)
        assert np.abs(found.face.astype(int) - expected.face).max() <= 1
        for field in ("paint", "weights", "copy_flow", "mask", "flow"):
            assert getattr(found, field).dtype == np.float32
            np.testing.assert_allclose(getattr(found, field), getattr(expected, field), atol=2e-3, err_msg=field)


def test_without_a_picture_the_other_parts_are_the_same(small, lip_direction):
    face = portrait()
    lips = moving_lips(face, lip_direction, 3)
    for net in small["mfcc"]:
        whole, parts = (list(generate_frames(net, face, lips, picture=picture)) for picture in (True, False))
        for one, other in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(other.face, face.face)
            for field in ("paint", "weights", "copy_flow", "mask", "flow"):
                np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_a_new_identity_between_two_frames_is_that_of_pytorch(small, lip_direction):
    first, second = portrait(), portrait((2.0, 3.0), seed=1)
    lips = moving_lips(first, lip_direction, 2)
    frames = []
    for net in small["mfcc"]:
        renderer = FaceRenderer(net, first)
        renderer.frame(lips[0])
        renderer.see(second)
        frames.append(renderer.frame(lips[1] + np.float32((2, 3))))
        assert frames[-1].corner == renderer.corner
    assert np.abs(frames[0].face.astype(int) - frames[1].face).max() <= 1
    assert np.abs(frames[0].face.astype(int) - first.face).mean() > 10


def test_vectors_of_the_bundled_recogniser_are_those_of_pytorch():
    sound = np.random.default_rng(0).normal(0, 0.1, 12 * 16_000).astype(np.float32)
    found, expected = (speech_vectors(encoder, sound) for encoder in (OnnxSpeechEncoder(), load_speech_encoder()))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_weights_without_graphs_or_with_those_of_others_are_a_clear_error(tmp_path, small):
    source = small["mfcc"][1].weights
    alone = tmp_path / "mfcc.safetensors"
    alone.write_bytes(source.read_bytes())
    with pytest.raises(TalkfaceError, match="has no graphs") as error:
        OnnxGenerator(alone)
    assert f"talkface export {alone}" in error.value.fix
    for graph in source.parent.glob("mfcc.*.onnx"):
        (tmp_path / graph.name).write_bytes(graph.read_bytes())
    assert OnnxGenerator(alone).takes_mfcc
    save_network(small["plain"][0], alone)
    with pytest.raises(TalkfaceError, match="exported from other weights"):
        OnnxGenerator(alone)
    with pytest.raises(TalkfaceError, match="does not exist"):
        OnnxGenerator(tmp_path / "nothing.safetensors")


def test_auto_is_onnx_runtime_on_a_cpu_for_weights_with_current_graphs(tmp_path, small, monkeypatch):
    monkeypatch.setattr(backends, "may_have_gpu", lambda: False)
    source = small["mfcc"][1].weights
    alone = tmp_path / "mfcc.safetensors"
    alone.write_bytes(source.read_bytes())
    assert choose_backend("auto", "auto", None) == choose_backend("auto", "cpu", source) == Backend("onnx", "cpu")
    assert choose_backend("torch", "cpu", None) == Backend("torch", "cpu")
    assert choose_backend("auto", "cpu", alone) == Backend("torch", "cpu")  # no graphs
    assert choose_backend("auto", "cpu", small["mfcc"][0]) == Backend("torch", "cpu")  # in memory
    assert choose_backend("auto", "cuda", small["mfcc"][1]) == Backend("onnx", "cpu")
    for graph in source.parent.glob("plain.*.onnx"):
        (tmp_path / graph.name.replace("plain", "mfcc")).write_bytes(graph.read_bytes())
    stale = choose_backend("auto", "cpu", alone)
    assert stale.name == "torch"
    assert "are of other weights" in stale.note


def test_auto_asks_pytorch_where_there_may_be_a_gpu(monkeypatch):
    asked = []
    monkeypatch.setattr(backends, "may_have_gpu", lambda: True)
    monkeypatch.setattr(backends, "pick_device", lambda name: asked.append(name) or torch.device("cuda"))
    assert choose_backend("auto", "auto", None) == Backend("torch", "cuda")
    monkeypatch.setattr(backends, "pick_device", lambda name: asked.append(name) or torch.device("cpu"))
    assert choose_backend("auto", "auto", None) == Backend("onnx", "cpu")
    assert asked == ["auto", "auto"]


def test_onnx_on_a_gpu_or_of_a_network_in_memory_is_a_clear_error(make_generator):
    with pytest.raises(TalkfaceError, match="--device is cuda"):
        choose_backend("onnx", "cuda", None)
    with pytest.raises(TalkfaceError, match="a network in memory"):
        choose_backend("onnx", "cpu", make_generator())


def test_the_bundled_lips_are_those_of_pytorch():
    features = np.random.default_rng(0).normal(size=(20, 768)).astype(np.float32)
    nets = OnnxGenerator(), load_generator(weights_dir() / "generator.safetensors")
    found, expected = (np.stack([*predict_lips(net, portrait(), features)]) for net in nets)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_paper_generator_stays_in_pytorch(tmp_path):
    net = PaperGenerator(PaperConfig(widths=(2, 2, 2, 2, 2), audio_features=4)).eval()
    save_network(net, tmp_path / "p.safetensors")
    assert choose_backend("auto", "cpu", tmp_path / "p.safetensors") == Backend("torch", "cpu")
