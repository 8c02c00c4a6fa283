"""Runs a generator and the speech recogniser with ONNX Runtime, from graphs that `talkface.model.export` wrote.

A generator has three graphs: "lips" (the Audio Encoder and what makes its lips expressive), "identity" (once per
photo) and "frame" (everything that one frame takes). Names of inputs and outputs are in `INPUTS` and `OUTPUTS`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import safe_open

from talkface.config import weights_dir
from talkface.errors import TalkfaceError
from talkface.files import known_sha256
from talkface.graphs import Graph, graph_path, graphs_state
from talkface.model.frames import HEIGHT, REGION, WIDTH, AlignedFace, OutputFrame, crop_corner, reach_or_everywhere
from talkface.model.lip_field import field_weights

GENERATOR_PARTS = ("lips", "identity", "frame")
ENCODER_PARTS = ("vectors",)
TAKES_MFCC = "takes_mfcc"  # metadata of the graph "lips"
IDENTITY = ("image", "attended", "mouth", "lips", "nose", "style")  # the fields of `talkface.model.generator.Identity`
INPUTS = {
    "lips": ("features", "photo_lips", "expression"),
    "identity": ("photo", "lips", "nose", "reach"),
    "frame": (
        *IDENTITY,
        *("region", "region_lips", "fade", "corner"),
        *("previous", "previous_mask", "moves", "upper", "lower", "share"),
    ),
}
DIRECTION = "audio_encoder.direction"  # a buffer of the Audio Encoder, see talkface.model.audio
OUTPUTS = {
    "lips": ("wanted",),
    "identity": ("attended", "mouth", "style", "first_mask", "fade"),
    "frame": ("next", "next_mask", "paint", "weights", "copy_flow", "mask", "flow", "picture"),
}


class OnnxGenerator:
    """A generator as `talkface.model.frames.GeneratorEngine`.

    Args:
        weights: its .safetensors file, beside which the graphs lie; None takes the bundled one.
        threads: of each graph; None takes two, or one on one core.

    Raises:
        TalkfaceError: a graph is missing or damaged, or was exported from other weights.
    """

    def __init__(self, weights: Path | None = None, threads: int | None = None) -> None:
        self.weights = weights or weights_dir() / "generator.safetensors"
        _require_current(self.weights, GENERATOR_PARTS)
        self._lips, self.identity_graph, self.frame_graph = (
            Graph(graph_path(self.weights, part), threads) for part in GENERATOR_PARTS
        )

    @property
    def takes_mfcc(self) -> bool:
        """Whether it takes 20x13 MFCC windows; otherwise it takes features of the speech recogniser."""
        return self._lips.metadata[TAKES_MFCC] == "true"

    @property
    def direction(self) -> np.ndarray:
        """Along which lip points move when the mouth opens by 1, float32 (40, 2)."""
        with safe_open(self.weights, "numpy") as file:
            return file.get_tensor(DIRECTION).astype(np.float32)

    def lips(self, features: np.ndarray, photo_lips: np.ndarray, expression: float) -> np.ndarray:
        """The lips of T frames, float32 (T, 40, 2) px of the aligned face."""
        inputs = (features[None].astype(np.float32), photo_lips[None], np.array(expression, np.float32))
        return self._lips(_named("lips", *inputs))[0]

    def open_face(self, face: AlignedFace, picture: bool) -> OnnxFace:
        """A face that begins to speak."""
        return OnnxFace(self, face, picture)


class OnnxFace:
    """One face, frame by frame: the state that is fed back.

    Args:
        generator: whose graphs are run.
        face: who speaks.
        picture: whether the frames' `face` is computed.
    """

    def __init__(self, generator: OnnxGenerator, face: AlignedFace, picture: bool = True) -> None:
        self.generator = generator
        self._outputs = list(OUTPUTS["frame"] if picture else OUTPUTS["frame"][:-1])
        self.see(face)
        self._previous, self._mask = self._inputs["image"], self._first_mask

    def see(self, face: AlignedFace) -> None:
        """Take the identity from another picture of the face; the frame that is fed back stays."""
        self.face, self.corner = face, crop_corner(face.lips)
        left, top, width, height = REGION
        x, y = self.corner
        photo = _to_network(face.face[y : y + HEIGHT, x : x + WIDTH])
        origin = np.array(self.corner, np.float32)
        lips, nose = (face.lips - origin)[None], (face.nose - origin)[None]
        inputs = _named("identity", photo, lips, nose, reach_or_everywhere(face))
        attended, mouth, style, self._first_mask, fade = self.generator.identity_graph(inputs)
        self._inputs = {
            **dict(zip(IDENTITY, (photo, attended, mouth, lips, nose, style), strict=True)),
            "region": _to_network(face.face[top : top + height, left : left + width]),
            "region_lips": (face.lips - np.array([left, top], np.float32))[None],
            "fade": fade,
            "corner": np.array([x - left, y - top], np.int64),
        }

    def frame(self, lips: np.ndarray, share: float) -> OutputFrame:
        """The next frame, as `talkface.model.inference.FaceRenderer.frame` describes it."""
        moves = (lips - self.face.lips).astype(np.float32)
        upper, lower = field_weights(self.face.lips + moves, moves)
        inputs = self._inputs | {
            "previous": self._previous,
            "previous_mask": self._mask,
            "moves": moves[None],
            "upper": upper,
            "lower": lower,
            "share": np.array(share, np.float32),
        }
        self._previous, self._mask, paint, weights, copy_flow, mask, flow, *picture = self.generator.frame_graph(
            inputs, self._outputs
        )
        face = self.face.face
        if picture:
            left, top, width, height = REGION
            face = face.copy()
            face[top : top + height, left : left + width] = picture[0]
        return OutputFrame(face, paint, weights, copy_flow, mask, flow, REGION, self.corner)


class OnnxSpeechEncoder:
    """The speech recogniser's first blocks.

    Args:
        weights: the .safetensors file, beside which the graph lies; None takes the bundled one.
        threads: of the graph; None takes two, or one on one core.

    Raises:
        TalkfaceError: the graph is missing or damaged, or was exported from other weights.
    """

    def __init__(self, weights: Path | None = None, threads: int | None = None) -> None:
        path = weights or weights_dir() / "speech_encoder.safetensors"
        _require_current(path, ENCODER_PARTS)
        self._graph = Graph(graph_path(path, ENCODER_PARTS[0]), threads)

    def vectors(self, mel: np.ndarray) -> np.ndarray:
        """Log-mel float32 (80, T) -> float32 (T / 2, 384)."""
        return self._graph({"mel": np.ascontiguousarray(mel, np.float32)[None]})[0][0]


def _require_current(weights: Path, parts: tuple[str, ...]) -> None:
    if not weights.is_file():
        raise TalkfaceError(
            f"Weights file {weights} does not exist.", "Give --weights a .safetensors file that `talkface train` wrote."
        )
    state = graphs_state(weights, parts, known_sha256(weights))
    if state != "current":
        what = "has no graphs" if state == "missing" else "has graphs that were exported from other weights"
        raise TalkfaceError(
            f"{weights} {what}, so ONNX Runtime cannot run it.",
            f"Run `talkface export {weights}`, or use --backend torch.",
        )


def _named(part: str, *values: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(INPUTS[part], values, strict=True))


def _to_network(picture: np.ndarray) -> np.ndarray:
    """uint8 RGB (H, W, 3) -> float32 (1, 3, H, W) in [0, 1]."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
