"""Which engine runs the networks of a render: ONNX Runtime on a CPU, PyTorch elsewhere and without graphs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from talkface.config import weights_dir
from talkface.device import may_have_gpu, pick_device
from talkface.errors import TalkfaceError
from talkface.files import known_sha256
from talkface.graphs import graphs_state
from talkface.model.onnx_engine import ENCODER_PARTS, GENERATOR_PARTS, OnnxGenerator, OnnxSpeechEncoder

if TYPE_CHECKING:
    from talkface.model.checkpoint import AnyGenerator
    from talkface.model.generator import Generator
    from talkface.model.recogniser import SpeechEncoder

    AnyWeights = str | Path | AnyGenerator | OnnxGenerator | None


class Backend(NamedTuple):
    """The engine of a render."""

    name: str
    """onnx or torch."""
    device: str
    """cpu, cuda, cuda:N or mps; ONNX Runtime runs on the CPU."""
    note: str | None = None
    """What the user should know about the choice."""


def choose_backend(name: str, device: str, weights: AnyWeights) -> Backend:
    """Choose the engine.

    Args:
        name: "torch" or "onnx"; "auto" is ONNX Runtime for weights with graphs on a CPU, else PyTorch.
        device: as `--device`; "auto" is a GPU if there is one.
        weights: of the generator: a file, a network in memory, or None for the bundled file.

    Raises:
        TalkfaceError: the device does not exist; "onnx" is asked for on a GPU, or for weights without current graphs.
    """
    if name == "onnx" and device not in ("auto", "cpu"):
        raise TalkfaceError(
            f"--backend onnx runs on the CPU, and --device is {device}.", "Leave out one of the two, or both."
        )
    if isinstance(weights, OnnxGenerator):
        return Backend("onnx", "cpu")
    state = _state(weights)
    if name == "onnx":
        if not (weights is None or isinstance(weights, str | Path)):
            raise TalkfaceError("--backend onnx: a network in memory runs in PyTorch.", "Give the weights as a file.")
        return Backend("onnx", "cpu")  # the loader says which graph is missing
    if name == "auto" and state == "current" and (device == "cpu" or (device == "auto" and not may_have_gpu())):
        return Backend("onnx", "cpu")
    picked = str(pick_device(device))
    if name == "auto" and state == "current" and picked == "cpu":
        return Backend("onnx", "cpu")
    note = None
    if name == "auto" and state == "stale" and picked == "cpu":
        note = f"The graphs of {weights or 'the bundled weights'} are of other weights, so the slower PyTorch is used "
        note += f"(see `talkface export {weights or ''}`".rstrip() + ")."
    return Backend("torch", picked, note)


def load_any_generator(backend: Backend, weights: AnyWeights) -> AnyGenerator | OnnxGenerator:
    """The generator for an engine, ready to speak.

    Args:
        backend: of `choose_backend`.
        weights: as given to `choose_backend`.

    Raises:
        TalkfaceError: the file is missing or damaged, or has no current graphs.
    """
    if isinstance(weights, OnnxGenerator):
        return weights
    if weights is not None and not isinstance(weights, str | Path):
        return weights.to(backend.device).eval()
    if backend.name == "onnx":
        return OnnxGenerator(Path(weights) if weights else None)
    from talkface.model.checkpoint import load_generator

    return load_generator(weights, backend.device)


def load_any_speech_encoder(backend: Backend) -> SpeechEncoder | OnnxSpeechEncoder:
    """The bundled speech recogniser for an engine.

    Raises:
        TalkfaceError: its file is missing or damaged, or has no current graph.
    """
    if backend.name == "onnx":
        return OnnxSpeechEncoder()
    from talkface.model.recogniser import load_speech_encoder

    return load_speech_encoder(device=backend.device)


def speech_encoder_beside(generator: Generator | OnnxGenerator) -> SpeechEncoder | OnnxSpeechEncoder:
    """The bundled speech recogniser for the engine and the device of a generator.

    Raises:
        TalkfaceError: as `load_any_speech_encoder`.
    """
    if isinstance(generator, OnnxGenerator):
        return load_any_speech_encoder(Backend("onnx", "cpu"))
    return load_any_speech_encoder(Backend("torch", str(generator.audio_encoder.direction.device)))


def _state(weights: AnyWeights) -> str:
    """Whether all graphs are there: of these weights and of the bundled speech recogniser."""
    if not (weights is None or isinstance(weights, str | Path)):
        return "missing"
    generator = Path(weights) if weights else weights_dir() / "generator.safetensors"
    encoder = weights_dir() / "speech_encoder.safetensors"
    if not (generator.is_file() and encoder.is_file()):
        return "missing"
    states = {
        graphs_state(generator, GENERATOR_PARTS, known_sha256(generator)),
        graphs_state(encoder, ENCODER_PARTS, known_sha256(encoder)),
    }
    return next(state for state in ("missing", "stale", "current") if state in states)
