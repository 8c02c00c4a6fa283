"""Options that several commands share, and parsers of values that consist of several parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from talkface.config import SEED_LIMIT, weights_path

_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Show only errors.")]
DEVICE = Annotated[str, typer.Option(help="auto, cpu, cuda or mps; cuda:1 is the second GPU.")]

WEIGHTS = Annotated[
    Path | None,
    typer.Option(
        parser=weights_path,
        metavar="FILE|open",
        help="A generator's .safetensors file; or open, the bundled generator that was trained on openly licensed data "
        "alone. Default: the bundled generator for research.",
    ),
]
BACKEND = Annotated[
    Literal["auto", "torch", "onnx"],
    typer.Option(help="What runs the networks: auto is ONNX Runtime on a CPU, if the weights have graphs, else torch."),
]


def seed_option(help_text: str) -> Any:
    """Return the option --seed: a whole number from 0 to 2^63 - 1."""
    return typer.Option("--seed", min=0, callback=_check_seed, help=help_text)


def _check_seed(seed: int) -> int:
    if seed >= SEED_LIMIT:
        raise typer.BadParameter(f"{seed} is not a valid seed: expected a number from 0 to 2^63 - 1.")
    return seed


def parse_box(text: str) -> tuple[float, float, float, float]:
    """Parse x,y,w,h as four numbers.

    Raises:
        typer.BadParameter: the text is something else.
    """
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not four numbers x,y,w,h, as in 120,80,300,300.") from None
    return x, y, width, height


def commas(text: str) -> tuple[str, ...]:
    """Split a,b,c at its commas; spaces around the parts are removed."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def assigned(text: str, flag: str, known: dict[str, Any]) -> dict[str, Any]:
    """Parse NAME=VALUE as {name: value}; the value gets the type of the known value with that name.

    Several values are separated by commas, and there must be as many as are known.

    Raises:
        typer.BadParameter: the name is unknown, or the value cannot be converted to the type.
    """
    name, _, value = text.partition("=")
    if name not in known:
        raise typer.BadParameter(f"{name!r} is not a valid name: expected one of {', '.join(known)}.", param_hint=flag)
    present = known[name]
    try:
        if isinstance(present, tuple):
            return {name: tuple(type(old)(new) for old, new in zip(present, value.split(","), strict=True))}
        return {name: _BOOLEANS[value.lower()] if isinstance(present, bool) else type(present)(value)}
    except (KeyError, ValueError):
        kind = type(present).__name__
        if isinstance(present, tuple):
            kind = f"{len(present)} values of type {type(present[0]).__name__}, separated by commas"
        raise typer.BadParameter(
            f"{text!r}: {value!r} is not a valid value: expected {kind}.", param_hint=flag
        ) from None
