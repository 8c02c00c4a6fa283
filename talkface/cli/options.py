"""Options that several commands share, and values that are more than one word or number."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

import typer

QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Show errors alone.")]
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


def settings(texts: list[str] | None, flag: str, config: type) -> Any:
    """NAME=VALUE texts as the fields of a dataclass, each of the type of its default."""
    known = {field.name: field.default for field in fields(config)}
    chosen = {}
    for text in texts or []:
        name, _, value = text.partition("=")
        if name not in known:
            raise typer.BadParameter(f"{text!r} is none of: {', '.join(known)}.", param_hint=flag)
        try:
            chosen[name] = type(known[name])(value)
        except ValueError:
            wanted = type(known[name]).__name__
            raise typer.BadParameter(f"{text!r}: {value!r} is no {wanted}.", param_hint=flag) from None
    return config(**chosen)
