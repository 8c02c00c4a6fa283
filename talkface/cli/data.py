"""`talkface preprocess` and `talkface visemes`: the commands that make training data."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from talkface import console
from talkface.cli.options import QUIET, assigned, seed_option
from talkface.config import SPLITS


def _check_av_offset(text: str) -> str:
    if text != "estimate":
        try:
            float(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not valid: expected a number of seconds, or estimate.") from None
    return text


def preprocess(
    source: Annotated[Path, typer.Option(help="Folder of videos (or photos), as downloaded. Links are followed.")],
    data: Annotated[
        Literal["lrw", "grid", "folder", "photos"],
        typer.Option(
            help="Layout of the folder: as LRW or GRID are distributed, any tree of videos, or any tree of portraits "
            "of different people, which the stage mouth of train can learn from."
        ),
    ],
    split: Annotated[
        Literal["train", "val", "test"] | None, typer.Option(help="Only this split. Default: all three.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the data set. Default: $TALKFACE_DATA/NAME or data/NAME."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the data set for train and eval. Default: the layout or the folder.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of worker processes; 0 for one per core.")] = 0,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="local: processes on this machine; ray: a Ray cluster, which needs talkface\\[ray]."),
    ] = "local",
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Do only part I of N, for array jobs that share a file system."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            help="At most this many videos of each split, spread evenly over speakers and names. "
            "The choice is always the same."
        ),
    ] = None,
    split_list: Annotated[
        Path | None, typer.Option(help="For the layouts folder and photos: a text file with lines PATH SPLIT.")
    ] = None,
    allow_silent: Annotated[
        bool,
        typer.Option("--allow-silent", help="Also keep videos without sound, for training stages that need none."),
    ] = False,
    av_offset: Annotated[
        str,
        typer.Option(
            metavar="SECONDS",
            callback=_check_av_offset,
            help="Seconds by which the sound lags behind the picture, for all videos; or estimate, for an offset of "
            "each source (speaker or video).",
        ),
    ] = "estimate",
    av_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Generator that estimates the sound offsets. Default: the bundled one. Take one that was not trained "
            "on these videos.",
        ),
    ] = None,
    clips_per_shard: Annotated[int, typer.Option(help="Largest number of videos in one file of the data set.")] = 64,
    gate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Change a quality limit; videos outside the limits are skipped. For example, max_yaw=30 skips heads "
            "turned by more than 30 degrees. An unknown name lists the valid ones. Can be repeated.",
        ),
    ] = None,
    quiet: QUIET = False,
) -> None:
    """Turn talking videos into the clips that train and eval read: aligned faces and their speech.

    To continue a run that was stopped, run the same command again. That also updates the sound offsets of a data set
    without decoding videos that are done; dataset.json has the offset of each source. manifest.jsonl lists all videos
    and the reasons why some were skipped; contact_sheet.png shows some of the faces.
    """
    from talkface.preprocess import PreprocessConfig
    from talkface.preprocess import preprocess as run
    from talkface.preprocess.limits import QualityLimits, default_limits

    limits = asdict(default_limits(data, need_sound=not allow_silent))
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
        limits=QualityLimits(**limits),
        av_offset="estimate" if av_offset == "estimate" else float(av_offset),
        av_weights=av_weights,
    )
    with console.progress("Preprocessing", "videos", quiet=quiet) as on_step:
        report = run(config, on_step, partial(on_step, unit="clips"))
    rows = [
        [reason, *(str(counts[part]) for part in SPLITS), str(sum(counts.values()))] for reason, counts in report.rows()
    ]
    console.show_table([["", *SPLITS, "all"], *rows])
    kept, size = report.summary.frames, report.summary.bytes_per_clip
    console.say(f"{report.root}: {kept:,} frames, {size:,} bytes per clip; see {report.contact_sheet}.", quiet=quiet)
    for text in (str(report.summary.offsets), report.summary.offsets.note):
        if text:
            console.say(text, quiet=quiet)
    if report.frames:
        speed = f"{report.frames_per_second:.0f} frames/s with {report.workers} workers"
        console.say(f"{report.videos} videos in {report.seconds:.0f} s: {speed}.", quiet=quiet)
    if report.left:
        console.say(f"{report.left} videos of other parts of --shard are not done yet.", quiet=quiet)
        if av_offset == "estimate":
            console.say("The part that is done last estimates the sound offsets.", quiet=quiet)


def visemes(
    utterances: Annotated[int, typer.Option(min=1, help="Number of utterances, of about 3.5 s each.")] = 2500,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the data set. Default: $TALKFACE_DATA/visemes.")
    ] = None,
    seed: Annotated[int, seed_option("Seed of the text, the voices and the distortions.")] = 0,
    quiet: QUIET = False,
) -> None:
    """Make synthetic speech with known visemes, for train --data. Needs the library of eSpeak NG."""
    from talkface.preprocess.synthetic import VisemeConfig, make_visemes

    with console.progress("Synthesising", "utterances", quiet=quiet) as on_step:
        folder = make_visemes(VisemeConfig(utterances, seed, out), on_step)
    console.say(f"{folder}: {utterances} utterances", quiet=quiet)
