"""Options of rendering as text: a cell of jobs.csv, or a field of a form."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from talkface.errors import TalkfaceError
from talkface.render_options import RenderOptions

NOT_OF_ONE_JOB = ("json",)  # `--report` describes all jobs of a batch
BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def option_names() -> tuple[str, ...]:
    """Return the names of the options that a job can have: the fields of RenderOptions."""
    return tuple(field.name for field in fields(RenderOptions) if field.name not in NOT_OF_ONE_JOB)


def parse_option(name: str, text: str) -> Any:
    """Return the value of an option that is given as text, in the type of that field of RenderOptions.

    Args:
        name: one of `option_names()`.
        text: a number; yes or no; x,y,w,h; or a word.

    Raises:
        TalkfaceError: the text is not a value of that type. Ranges are checked by RenderOptions.
    """
    annotation = next(field.type for field in fields(RenderOptions) if field.name == name)
    types = [part.strip() for part in str(annotation).split("|")]
    text = text.strip()
    if "Path" in types:
        return Path(text)
    if "str" in types:
        return text
    try:
        if "bool" in types:
            return BOOLEANS[text.lower()]
        if any(kind.startswith("tuple") for kind in types):
            x, y, width, height = (float(part) for part in text.split(","))
            return x, y, width, height
        return float(text) if "float" in types else int(text)
    except (KeyError, ValueError):
        raise TalkfaceError(f"{name} {text!r} is not valid: expected {_wanted(types)}.", "Correct the value.") from None


def _wanted(types: list[str]) -> str:
    if "bool" in types:
        return "yes or no"
    if any(kind.startswith("tuple") for kind in types):
        return "four numbers x,y,w,h, as in 120,80,300,300"
    return "a number" if "float" in types else "a whole number"
