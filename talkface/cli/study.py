"""`talkface study make` and `talkface study tally`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from talkface import console
from talkface.cli.options import QUIET


def make(
    videos: Annotated[list[Path], typer.Option(help="Folders of videos, one a method: --videos A B C.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the page.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="FOLDERS", help="More folders of videos.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Folder of the real recordings, shown above the others.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Clips that one person sees. Default: all, up to 20.")] = None,
    at_once: Annotated[
        int | None, typer.Option(help="Videos to choose between; 2 compares in pairs. Default: every method's.")
    ] = None,
    checks: Annotated[int, typer.Option(help="Attention checks mixed in.")] = 2,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Which face speaks best?",
    embed: Annotated[
        bool | None, typer.Option(help="Put the videos into the page itself. Default: where they have 50 MB at most.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the numbers that stand for methods and clips.")] = 0,
    quiet: QUIET = False,
) -> None:
    """Make a web page that asks people which videos look more real and more in step. It needs no server."""
    from talkface.study import StudyConfig, make_study

    config = StudyConfig(
        videos=(*videos, *(more or ())),
        out=out,
        reference=reference,
        trials=trials,
        at_once=at_once,
        checks=checks,
        title=title,
        embed=embed,
        seed=seed,
    )
    study = make_study(config)
    for note in study.notes:
        console.say(note, quiet=quiet)
    compared = f"{len(study.methods)} methods on {len(study.clips)} clips"
    console.say(f"{study.page}: {compared}, {study.trials} questions to a person", quiet=quiet)


def tally(
    answers: Annotated[list[Path], typer.Argument(metavar="ANSWERS", help="Files of answers, or folders of them.")],
    json: Annotated[Path | None, typer.Option(help="Write the result as JSON.")] = None,
    quiet: QUIET = False,
) -> None:
    """Count the answers to a study: what share of people chose which method."""
    import json as format_json

    from talkface.files import atomic_write
    from talkface.study import tally as count

    result = count(answers)
    console.show_table(result.table())
    console.say(f"{result.participants} participants", quiet=quiet)
    for name, reason in result.dropped.items():
        console.say(f"Not counted: {name}: {reason}", quiet=quiet)
    if json is not None:
        with atomic_write(json) as beside:
            beside.write_text(format_json.dumps(result.as_json(), indent=2) + "\n", encoding="utf-8")
