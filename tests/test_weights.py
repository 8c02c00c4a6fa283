"""The published weights: intact, small enough, and a generator that moves the mouth with the audio."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from talkface.config import FPS, SOUND_RATE, weights_dir, weights_path
from talkface.face.networks import FACE_PARTS, FACE_WEIGHTS
from talkface.face.teeth import ROW_FILE
from talkface.files import sha256
from talkface.graphs import graphs_state
from talkface.media.audio import load_waveform
from talkface.model.checkpoint import load_generator
from talkface.model.hearing import features_at, speech_vectors
from talkface.model.inference import generate_frames, predict_lips
from talkface.model.lips import opening
from talkface.model.onnx_engine import ENCODER_PARTS, GENERATOR_PARTS
from talkface.model.recogniser import load_speech_encoder
from talkface.render_options import RenderOptions

SPEECH = Path(__file__).parent.parent / "examples" / "speech.wav"
GENERATORS = ("generator", "generator_open")
NETWORKS = (*GENERATORS, "estimator", "face_detector", "face_mesh", "speech_encoder", "vgg16_hed")
GRAPHS = {
    **dict.fromkeys(GENERATORS, GENERATOR_PARTS),
    "speech_encoder": ENCODER_PARTS,
    **dict.fromkeys(FACE_WEIGHTS, FACE_PARTS),
}


def test_every_file_has_the_published_hash():
    listed = dict(line.split()[::-1] for line in (weights_dir() / "SHA256SUMS").read_text().splitlines())
    graphs = {f"{name}.{part}.onnx" for name, parts in GRAPHS.items() for part in parts}
    assert set(listed) == {f"{name}.safetensors" for name in NETWORKS} | graphs | {ROW_FILE}
    data = {path.name for path in weights_dir().iterdir() if path.suffix in (".safetensors", ".onnx", ".png")}
    assert set(listed) == data
    for name, digest in listed.items():
        assert hashlib.sha256((weights_dir() / name).read_bytes()).hexdigest() == digest, name


@pytest.mark.parametrize("name", GRAPHS)
def test_the_graphs_are_those_of_the_weights(name):
    """After a change of the weights: `talkface export`, and the new hashes into SHA256SUMS."""
    weights = weights_dir() / f"{name}.safetensors"
    assert graphs_state(weights, GRAPHS[name], sha256(weights)) == "current"


def test_the_folder_has_at_most_40_megabytes():
    assert sum(path.stat().st_size for path in weights_dir().iterdir() if path.is_file()) <= 40e6


@pytest.fixture(scope="module")
def generator():
    return load_generator()


@pytest.fixture(scope="module")
def speech():
    """Four seconds of speech and three of silence."""
    sound = load_waveform(SPEECH)[: 4 * SOUND_RATE]
    return np.concatenate([sound, np.zeros(3 * SOUND_RATE, np.float32)])


@pytest.fixture(scope="module")
def lips(generator, portrait, speech):
    vectors = speech_vectors(load_speech_encoder(), speech)
    times = (np.arange(7 * FPS) + 0.5) / FPS
    return np.stack([*predict_lips(generator, portrait, features_at(vectors, times))])


def test_the_mouth_moves_with_the_speech_and_closes_in_silence(lips, speech):
    gap = opening(torch.from_numpy(lips)).numpy()
    loudness = np.sqrt((speech.reshape(7 * FPS, -1) ** 2).mean(1))
    assert gap[: 4 * FPS].std() > 0.02  # of the eye distance
    assert gap[5 * FPS :].max() < 0.02
    assert np.corrcoef(gap[: 4 * FPS], loudness[: 4 * FPS])[0, 1] > 0.2


def test_the_pictures_follow_the_lips_and_rest_with_them(generator, portrait, lips):
    """A picture of noise suffices, because the test measures the flow."""
    flow = np.stack([frame.flow for frame in generate_frames(generator, portrait, lips)])
    change = np.abs(np.diff(flow, axis=0)).mean((1, 2, 3))
    assert change[: 4 * FPS].mean() > 10 * change[5 * FPS :].mean()


def test_the_open_generator_is_named_and_a_file_of_that_name_comes_first(empty_folder):
    file = weights_dir() / "generator_open.safetensors"
    assert weights_path("open") == file
    assert RenderOptions(weights="open").weights == file
    Path("open").write_bytes(b"")
    assert weights_path("open") == Path("open")


def test_the_open_generator_opens_the_mouth_as_far_as_the_other_one(generator, portrait, speech):
    """Its own gain makes up for what it hears larger."""
    vectors = speech_vectors(load_speech_encoder(), speech)
    times = (np.arange(len(speech) * FPS // SOUND_RATE) + 0.5) / FPS
    features = features_at(vectors, times)
    gaps = [
        np.mean([float(opening(torch.from_numpy(one))) for one in predict_lips(net, portrait, features)])
        for net in (generator, load_generator(weights_path("open")))
    ]
    assert 0.75 < gaps[1] / gaps[0] < 1.35
