"""`talkface export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from talkface import console
from talkface.cli.options import QUIET
from talkface.errors import TalkfaceError

if TYPE_CHECKING:
    from talkface.model.generator import Generator


def export(
    weights: Annotated[
        Path | None,
        typer.Argument(metavar="WEIGHTS", help="A generator's .safetensors. Default: all bundled networks."),
    ] = None,
    quiet: QUIET = False,
) -> None:
    """Write the ONNX graphs that `render` runs on a CPU, beside the weights (needs talkface\\[export]).

    `train` does this for the weights that it writes. A graph reads its weights from the .safetensors file, so the two
    are copied together and keep their names.
    """
    from talkface.model.checkpoint import load_generator
    from talkface.model.export import export_generator
    from talkface.model.generator import Generator as Exportable

    generator = load_generator(weights)
    if not isinstance(generator, Exportable):
        raise TalkfaceError(
            f"{weights} is a generator of the preset paper, which has no graphs.",
            "Render with it as it is, in PyTorch.",
        )
    written = _export_bundled(generator) if weights is None else export_generator(generator, weights)
    for path in written:
        console.say(str(path), quiet=quiet)


def _export_bundled(generator: Generator) -> list[Path]:
    from talkface.config import OPEN_GENERATOR, weights_dir
    from talkface.face.export import export_face_networks
    from talkface.model.checkpoint import load_generator
    from talkface.model.export import export_generator, export_speech_encoder
    from talkface.model.recogniser import load_speech_encoder

    folder = weights_dir()
    openly_trained = load_generator(folder / OPEN_GENERATOR)
    assert isinstance(openly_trained, type(generator))
    return [
        *export_generator(generator, folder / "generator.safetensors"),
        *export_generator(openly_trained, folder / OPEN_GENERATOR),
        *export_speech_encoder(load_speech_encoder(), folder / "speech_encoder.safetensors"),
        *export_face_networks(),
    ]
