"""Exports the generator and the speech recogniser as ONNX graphs, see `talkface.graphs`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from talkface.config import ALIGNED_LIPS, ALIGNED_NOSE, MFCC_COEFFS, MFCC_STEPS, SIZE
from talkface.graph_export import GraphSpec, export_graph
from talkface.model.audio import expressive_lips
from talkface.model.face_frame import FaceInputs, make_frame, region_fade
from talkface.model.frames import HEIGHT, REGION, WIDTH
from talkface.model.generator import Generator, Identity
from talkface.model.lip_field import LOWER, UPPER
from talkface.model.lipwarp import LipWarp
from talkface.model.onnx_engine import ENCODER_PARTS, INPUTS, OUTPUTS, TAKES_MFCC
from talkface.model.recogniser import BANDS, SpeechEncoder


def export_generator(generator: Generator, weights: Path) -> list[Path]:
    """Write the graphs of a generator beside its weights file.

    Args:
        generator: as loaded from `weights`, on the CPU, in eval mode.
        weights: the .safetensors file.

    Returns:
        The graphs.

    Raises:
        TalkfaceError: as `export_graph`.
    """
    specs = {"lips": _lips_spec(generator), "identity": _identity_spec(generator), "frame": _frame_spec(generator)}
    return [export_graph(spec, weights, part) for part, spec in specs.items()]


def export_speech_encoder(encoder: SpeechEncoder, weights: Path) -> list[Path]:
    """Write the graph of the speech recogniser beside its weights file."""
    dynamic = {"mel": {2: "steps"}, "vectors": {1: "vectors"}}
    spec = GraphSpec(encoder, {"mel": torch.zeros(1, BANDS, 120)}, ["vectors"], dynamic)
    return [export_graph(spec, weights, ENCODER_PARTS[0])]


@torch.inference_mode()
def count_frame(generator: Generator) -> None:
    """Compute one frame in PyTorch, for a counter of operations: its lips, its geometry and its picture."""
    for spec in (_lips_spec(generator, frames=1), _frame_spec(generator)):
        spec.module(*spec.inputs.values())


class _Lips(nn.Module):
    """The Audio Encoder, and what makes its lips expressive."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.audio_encoder = generator.audio_encoder

    def forward(self, features: Tensor, photo_lips: Tensor, expression: Tensor) -> Tensor:
        """(1, T, F), (1, 40, 2), scalar -> (T, 40, 2)."""
        audio = self.audio_encoder(features, photo_lips)
        return expressive_lips(
            audio,
            self.audio_encoder.direction,
            expression,  # type: ignore[arg-type]
            self.audio_encoder.expression,
        )[0]


class _Identity(nn.Module):
    """What is computed once per photo."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, photo: Tensor, lips: Tensor, nose: Tensor, reach: Tensor) -> tuple[Tensor, ...]:
        """(1, 3, H, W), (1, 40, 2), (1, 2), (256, 256) -> `OUTPUTS["identity"]`."""
        identity = self.generator.encode_identity(photo, lips, nose)
        mask, fade = self.generator.first_mask(identity), region_fade(reach)
        return identity.attended, identity.mouth, identity.style, mask, fade


class _Frame(nn.Module):
    """Everything that one frame takes."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator
        self.region_warp = LipWarp(*REGION[2:])

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """`INPUTS["frame"]` -> `OUTPUTS["frame"]`."""
        *identity, region, region_lips, fade, corner, previous, mask, moves, upper, lower, share = inputs
        face = FaceInputs(Identity(*identity), region, region_lips, fade, corner)
        frame = make_frame(self.generator, self.region_warp, face, (previous, mask), moves, share, (upper, lower))
        assert frame.picture is not None
        return frame  # type: ignore[return-value]


def _lips_spec(generator: Generator, frames: int = 30) -> GraphSpec:
    features = generator.config.audio_features
    shape = (1, frames, features) if features else (1, frames, MFCC_STEPS, MFCC_COEFFS)
    examples = (torch.zeros(shape), torch.tensor(ALIGNED_LIPS)[None], torch.tensor(1.0))
    return GraphSpec(
        _Lips(generator),
        dict(zip(INPUTS["lips"], examples, strict=True)),
        OUTPUTS["lips"],
        {"features": {1: "frames"}, "wanted": {0: "frames"}},
        {TAKES_MFCC: "false" if features else "true"},
    )


def _identity_spec(generator: Generator) -> GraphSpec:
    examples = dict(zip(INPUTS["identity"], (*_example_photo(), torch.ones(SIZE, SIZE)), strict=True))
    return GraphSpec(_Identity(generator), examples, OUTPUTS["identity"])


def _frame_spec(generator: Generator) -> GraphSpec:
    photo, lips, nose = _example_photo()
    with torch.inference_mode():
        identity = generator.encode_identity(photo, lips, nose)
        mask = generator.first_mask(identity)
    width, height = REGION[2:]
    examples = (
        *(part.clone() for part in identity),
        torch.rand(1, 3, height, width),
        torch.tensor(ALIGNED_LIPS)[None] - torch.tensor(REGION[:2]),
        torch.ones(1, 1, height, width),
        torch.tensor([36, 54]),
        photo,
        mask.clone(),
        torch.zeros(1, 40, 2),
        torch.zeros(1, len(UPPER), 2),
        torch.zeros(1, len(LOWER), 2),
        torch.tensor(1.0),
    )
    return GraphSpec(_Frame(generator), dict(zip(INPUTS["frame"], examples, strict=True)), OUTPUTS["frame"])


def _example_photo() -> tuple[Tensor, Tensor, Tensor]:
    corner = torch.tensor([84.0, 158.0])
    return (
        torch.rand(1, 3, HEIGHT, WIDTH),
        torch.tensor(ALIGNED_LIPS)[None] - corner,
        torch.tensor(ALIGNED_NOSE)[None] - corner,
    )
