"""`talkface eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from talkface import console
from talkface.cli.options import DEVICE, QUIET, WEIGHTS, commas, seed_option
from talkface.errors import TalkfaceError


def evaluate(
    videos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="REAL FAKE", help="A real and a generated video to compare, instead of a data set."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Name or folder of a preprocessed data set, or sample: clips of GRID that come with talkface. "
            "Default: lrw, else grid, else sample."
        ),
    ] = None,
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="Split of the data set.")] = "test",
    metrics: Annotated[
        Any,
        typer.Option(
            parser=commas,
            metavar="A,B,...",
            help="Some of psnr, psnr_lineage, ssim, lmd, mouth_r, opening, mouth (inside of the mouth), sync, mi, "
            "cpbd, life (blinks and head speed, of videos), lse. Default: all of them, but lse only with --syncnet.",
        ),
    ] = None,
    weights: WEIGHTS = None,
    estimator: Annotated[
        Path | None, typer.Option(help="The .safetensors file of mi's statistics network. Default: the bundled one.")
    ] = None,
    syncnet: Annotated[
        Path | None,
        typer.Option(help="SyncNet's published weights (syncnet_v2.model). Adds lse to the default metrics."),
    ] = None,
    identity: Annotated[
        Literal["first", "closest-mouth", "random"], typer.Option(help="Frame of a clip that is used as the photo.")
    ] = "first",
    limit: Annotated[
        int | None, typer.Option(help="Score only this many clips, evenly spaced over the split. Default: all.")
    ] = None,
    rows: Annotated[
        Any,
        typer.Option(
            parser=commas,
            metavar="A,B,...",
            help="Some of still (static photo), wrong_sound (mismatched audio), model and true_lips (model with the "
            "real lips). Default: all.",
        ),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="A CSV of videos to compare, one line REAL,FAKE for each pair.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the report to this JSON file.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write one line for each clip and row to this CSV file.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Write figures to this folder.")] = None,
    ablation: Annotated[
        list[Path] | None,
        typer.Option(help="Another generator's .safetensors file for the ablation strips of --figures; repeatable."),
    ] = None,
    device: DEVICE = "auto",
    seed: Annotated[
        int, seed_option("Seed of mismatched audio, random identity frames, mouth_kid_real and intervals.")
    ] = 0,
    workers: Annotated[
        int, typer.Option(min=0, help="Number of clips scored at the same time. 0: one for each CPU core.")
    ] = 0,
    quiet: QUIET = False,
) -> None:
    """Measure a generator on a data set, with a static photo and mismatched audio as baselines, or compare videos.

    On a data set, generated faces move their lips only, as with render --motion 0 --no-blink.
    """
    if videos and len(videos) != 2:
        raise typer.BadParameter(
            f"expected two videos, a real and a generated one, but got {len(videos)}.", param_hint="REAL FAKE"
        )
    if videos and pairs:
        raise TalkfaceError("Two videos and --pairs were given.", "Give only one of them.")
    from talkface.evaluate import DatasetEval, PairEval, PairListEval
    from talkface.evaluate import evaluate as run

    shared: dict[str, Any] = {
        "metrics": metrics,
        "estimator": estimator,
        "syncnet": syncnet,
        "device": device,
        "seed": seed,
        "json": json,
        "csv": csv,
        "figures": figures,
    }
    config: DatasetEval | PairEval | PairListEval
    if videos:
        config = PairEval(real=videos[0], fake=videos[1], **shared)
    elif pairs:
        config = PairListEval(pairs=pairs, **shared)
    else:
        chosen = {} if rows is None else {"rows": rows}
        config = DatasetEval(
            data=data,
            split=split,
            weights=weights,
            identity=identity,
            limit=limit,
            ablation=tuple(ablation or ()),
            workers=workers,
            **chosen,
            **shared,
        )
    with console.progress("Scoring", quiet=quiet) as on_step:
        report = run(config, on_step, lambda note: console.say(note, quiet=quiet))
    console.show_table(report.table())
    for name, definition in report.definitions().items():
        console.say(f"{name}: {definition}", quiet=quiet)
    for note in report.as_json()["notes"]:
        console.say(note, quiet=quiet)
