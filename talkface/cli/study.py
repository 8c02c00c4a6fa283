"""`talkface study make` and `talkface study tally`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from talkface import console
from talkface.cli.options import QUIET, seed_option


def make(
    videos: Annotated[list[Path], typer.Option(help="Folders of videos, one for each method: --videos A B C.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the page.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="FOLDERS", help="More folders of videos.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Folder of the real recordings, which are shown above the others.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Number of clips that one person sees. Default: all, up to 20.")
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(help="Number of videos to choose between; 2 compares pairs. Default: one of each method."),
    ] = None,
    checks: Annotated[int, typer.Option(help="Number of attention checks.")] = 2,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Which face speaks best?",
    embed: Annotated[
        bool | None, typer.Option(help="Put the videos into the page itself. Default: if they have 50 MB or less.")
    ] = None,
    seed: Annotated[int, seed_option("Seed of the random numbers that stand for methods and clips.")] = 0,
    quiet: QUIET = False,
) -> None:
    """Make a web page that asks people which video looks more real and which matches the speech better.

    The page needs no server.
    """
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
    console.say(f"{study.page}: {compared}, {study.trials} clips for each person", quiet=quiet)


def tally(
    answers: Annotated[
        list[Path], typer.Argument(metavar="ANSWERS", help="Files of answers, or folders that hold them.")
    ],
    json: Annotated[Path | None, typer.Option(help="Write the result as JSON.")] = None,
    quiet: QUIET = False,
) -> None:
    """Count the answers to a study: how often people chose each method."""
    from talkface.files import write_json
    from talkface.study import tally as count

    result = count(answers)
    console.show_table(result.table())
    console.say(f"Participants counted: {result.participants}", quiet=quiet)
    for name, reason in result.dropped.items():
        console.say(f"Not counted: {name}: {reason}", quiet=quiet)
    if json is not None:
        write_json(json, result.as_json())
