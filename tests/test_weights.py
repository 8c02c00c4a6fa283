"""The published weights: intact, small enough, and a generator that moves the mouth with the audio."""

import hashlib

import numpy as np
import pytest

from talkface.config import ALIGNED_LIPS, MFCC_STEPS, weights_dir
from talkface.media.windows import SILENCE
from talkface.model.checkpoint import load_estimator, load_generator
from talkface.model.inference import AlignedFace, speak

NETWORKS = ("generator", "estimator", "face_detector", "face_mesh", "vgg16_hed")


def test_every_network_has_the_published_hash():
    listed = dict(line.split()[::-1] for line in (weights_dir() / "SHA256SUMS").read_text().splitlines())
    assert set(listed) == {f"{name}.safetensors" for name in NETWORKS}
    assert set(listed) == {path.name for path in weights_dir().glob("*.safetensors")}
    for name, digest in listed.items():
        assert hashlib.sha256((weights_dir() / name).read_bytes()).hexdigest() == digest, name


def test_the_folder_has_at_most_40_megabytes():
    assert sum(path.stat().st_size for path in weights_dir().iterdir() if path.is_file()) <= 40e6


@pytest.fixture(scope="module")
def generator():
    return load_generator()


@pytest.fixture(scope="module")
def portrait():
    face = np.random.default_rng(0).integers(60, 200, (256, 256, 3), np.uint8)
    return AlignedFace(face, np.array(ALIGNED_LIPS, np.float32))


def test_the_bundled_networks_have_the_same_configuration(generator):
    assert load_estimator().config == generator.config


def test_the_bundled_generator_moves_the_mouth_with_the_sound_and_not_in_silence(generator, portrait):
    """A picture of noise suffices, because the test measures the flow."""
    silence = np.tile(SILENCE, (60, MFCC_STEPS, 1))
    sound = silence.copy()
    sound[:30] += np.random.default_rng(1).normal(0, 0.3, (30, 1, 13)).astype(np.float32)
    flow = np.stack([frame.flow for frame in speak(generator, portrait, sound)])
    change = np.abs(np.diff(flow, axis=0)).mean((1, 2, 3))
    assert change[:25].mean() > 20 * change[-20:].mean()
