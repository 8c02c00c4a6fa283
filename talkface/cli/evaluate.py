"""`talkface eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from talkface import console
from talkface.cli.options import DEVICE, QUIET, commas


def evaluate(
    videos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="REAL FAKE", help="Two videos of any system to compare, instead of a data set."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A preprocessed data set: its name or folder. Default: lrw, or grid.")
    ] = None,
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="Which split of it.")] = "test",
    metrics: Annotated[
        Any,
        typer.Option(
            parser=commas,
            metavar="A,B,...",
            help="Of psnr, psnr_lineage, ssim, lmd, mouth_r, sync, mi, cpbd, lse. Default: all; lse with --syncnet.",
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="A generator's .safetensors. Default: the bundled one.")] = None,
    estimator: Annotated[
        Path | None, typer.Option(help="The statistics network of mi. Default: the bundled one.")
    ] = None,
    syncnet: Annotated[
        Path | None, typer.Option(help="SyncNet's published weights: adds lse to the default metrics.")
    ] = None,
    identity: Annotated[
        Literal["first", "closest-mouth", "random"], typer.Option(help="Which frame of a clip serves as the photo.")
    ] = "first",
    limit: Annotated[int | None, typer.Option(help="Score this many clips, spread over the split.")] = None,
    rows: Annotated[
        Any, typer.Option(parser=commas, metavar="A,B,...", help="Of still, wrong_sound, model. Default: all.")
    ] = None,
    pairs: Annotated[Path | None, typer.Option(help="A CSV of lines REAL,FAKE to compare.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the report as JSON.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write a line for each clip and row.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Write pictures into this folder.")] = None,
    ablation: Annotated[
        list[Path] | None, typer.Option(help="Another generator for the pictures' ablation strips. Repeat for more.")
    ] = None,
    device: DEVICE = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of wrong sounds, random identities and intervals.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Clips scored at a time; 0 is one for each core.")] = 0,
    quiet: QUIET = False,
) -> None:
    """Measure a generator on a data set, beside a still photo and the wrong sound; or compare two videos."""
    if videos and len(videos) != 2:
        raise typer.BadParameter(f"{len(videos)} video given; give two, or none and --data.", param_hint="REAL FAKE")
    from talkface.evaluate import EvalConfig
    from talkface.evaluate import evaluate as run

    real, fake = videos or (None, None)
    config = EvalConfig(
        data=data,
        split=split,
        metrics=metrics,
        weights=weights,
        estimator=estimator,
        syncnet=syncnet,
        identity=identity,
        limit=limit,
        **({} if rows is None else {"rows": rows}),
        real=real,
        fake=fake,
        pairs=pairs,
        json=json,
        csv=csv,
        figures=figures,
        ablation=tuple(ablation or ()),
        device=device,
        seed=seed,
        workers=workers,
    )
    with console.progress("Scoring", quiet=quiet) as on_step:
        report = run(config, on_step, lambda note: console.say(note, quiet=quiet))
    console.show_table(report.table())
    for name, definition in report.definitions().items():
        console.say(f"{name}: {definition}", quiet=quiet)
    for note in report.as_json()["notes"]:
        console.say(note, quiet=quiet)
