"""Options that several commands share, and values that are more than one word or number."""

from __future__ import annotations

from typing import Annotated, Any

import typer

QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Show errors alone.")]
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
DEVICE = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


def box_of(text: str) -> tuple[float, ...]:
    """x,y,w,h as four numbers."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 4:
        raise typer.BadParameter(f"{text!r} is not four numbers x,y,w,h, as in 120,80,300,300.")
    return numbers


def commas(text: str) -> tuple[str, ...]:
    """a,b,c as three words."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def assigned(text: str, flag: str, known: dict[str, Any]) -> dict[str, Any]:
    """NAME=VALUE as {name: value}, of the type that the known value of that name has."""
    name, _, value = text.partition("=")
    if name not in known:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}.", param_hint=flag)
    kind = type(known[name])
    try:
        return {name: _TRUTH[value.lower()] if kind is bool else kind(value)}
    except (KeyError, ValueError):
        raise typer.BadParameter(f"{text!r}: {value!r} is no {kind.__name__}.", param_hint=flag) from None
