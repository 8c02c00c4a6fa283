"""`talkface preprocess` and `talkface visemes`: what the networks learn from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from talkface import console
from talkface.cli.options import QUIET, assigned
from talkface.config import SPLITS


def preprocess(
    source: Annotated[Path, typer.Option(help="The folder of videos as downloaded.")],
    data: Annotated[Literal["lrw", "grid", "folder"], typer.Option(help="How the videos lie in it.")],
    split: Annotated[
        Literal["train", "val", "test"] | None, typer.Option(help="This split alone. Default: all three.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Default: $TALKFACE_DATA/NAME or data/NAME.")] = None,
    name: Annotated[
        str | None, typer.Option(help="What train and eval will call it. Default: the layout or the folder.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0 is one for each core.")] = 0,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="ray is a Ray cluster; it needs talkface\\[ray].")
    ] = "local",
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Part I of N, for array jobs on one file system.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="The first videos of each split alone.")] = None,
    split_list: Annotated[Path | None, typer.Option(help="For folder: a text of lines PATH SPLIT.")] = None,
    allow_silent: Annotated[
        bool, typer.Option("--allow-silent", help="Keep videos without sound too, for training stages that need none.")
    ] = False,
    clips_per_shard: Annotated[int, typer.Option(help="Videos in one file of the data set.")] = 64,
    gate: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A limit that a clip must keep, such as max_yaw=30. Repeat for more."),
    ] = None,
    quiet: QUIET = False,
) -> None:
    """Turn talking videos into the clips that train and eval read: aligned faces and their speech.

    To continue after whatever has stopped it, run the same command again. The videos that were skipped, and why, are in
    manifest.jsonl; contact_sheet.png shows the faces.
    """
    from talkface.preprocess import PreprocessConfig
    from talkface.preprocess import preprocess as run
    from talkface.preprocess.gates import Gates

    limits = asdict(Gates(need_sound=not allow_silent))
    for text in gate or []:
        limits |= assigned(text, "--gate", limits)
    config = PreprocessConfig(
        data=data,
        source=source,
        split=split,
        out=out,
        name=name,
        workers=workers,
        engine=engine,
        shard=shard,
        limit=limit,
        split_list=split_list,
        clips_per_shard=clips_per_shard,
        gates=Gates(**limits),
    )
    with console.progress("Preprocessing", "videos", quiet=quiet) as on_step:
        report = run(config, on_step)
    rows = [
        [reason, *(str(counts[part]) for part in SPLITS), str(sum(counts.values()))] for reason, counts in report.rows()
    ]
    console.show_table([["", *SPLITS, "all"], *rows])
    kept, size = report.summary.frames, report.summary.bytes_per_clip
    console.say(f"{report.root}: {kept:,} frames, {size:,} bytes a clip; see {report.contact_sheet}.", quiet=quiet)
    if report.frames:
        speed = f"{report.frames_per_second:.0f} frames/s with {report.workers} workers"
        console.say(f"{report.videos} videos in {report.seconds:.0f} s: {speed}.", quiet=quiet)
    if report.left:
        console.say(f"{report.left} videos are left to other parts of --shard.", quiet=quiet)


def visemes(
    utterances: Annotated[int, typer.Option(min=1, help="How many, about 3.5 s each.")] = 2500,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Default: $TALKFACE_DATA/visemes.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of text, voices and distortions.")] = 0,
    quiet: QUIET = False,
) -> None:
    """Make synthetic speech that knows its mouth shapes, for the first stage of train. Needs eSpeak NG's library."""
    from talkface.preprocess.synthetic import VisemeConfig, make_visemes

    with console.progress("Speaking", "utterances", quiet=quiet) as on_step:
        made = make_visemes(VisemeConfig(utterances, seed, out), on_step)
    console.say(f"{made}: {utterances} utterances", quiet=quiet)
