"""`talkface ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from talkface import console
from talkface.cli.options import DEVICE, QUIET, commas, seed_option
from talkface.cli.train import INIT, INIT_ESTIMATOR, LESSONS, SETTINGS, STAGES, WORKERS, configured


def ablate(
    data: Annotated[
        Any,
        typer.Option(
            parser=commas,
            metavar="A,B,...",
            help="Names or folders of preprocessed data sets to train on (split train).",
        ),
    ],
    budget: Annotated[float, typer.Option(help="Minutes of training for each row.")],
    preset: Annotated[str, typer.Option(help="Preset of the full model: full, paper or tiny.")] = "full",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the study. Default: runs/ablate-PRESET-DATA.")
    ] = None,
    rows: Annotated[
        Any, typer.Option(parser=commas, metavar="A,B,...", help="Train only these of the nine rows. Default: all.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Number of seeds of the rows baseline and full.")] = 1,
    stages: STAGES = None,
    lessons: LESSONS = None,
    set_: SETTINGS = None,
    init: INIT = None,
    init_estimator: INIT_ESTIMATOR = None,
    test_data: Annotated[
        Any,
        typer.Option(
            parser=commas,
            metavar="A,B,...",
            help="Names or folders of the data sets to measure on. Default: the first of --data.",
        ),
    ] = None,
    test_split: Annotated[str, typer.Option(help="Split of --test-data to measure on.")] = "test",
    limit: Annotated[
        int | None, typer.Option(help="Measure only this many clips, evenly spaced over the split.")
    ] = None,
    estimator: Annotated[
        Path | None, typer.Option(help="The .safetensors file of a statistics network: measure mi and mi_auc too.")
    ] = None,
    device: DEVICE = "auto",
    seed: Annotated[int, seed_option("Seed of all rows.")] = 0,
    workers: WORKERS = 2,
    quiet: QUIET = False,
) -> None:
    """Train the rows of the paper's ablation (Table 3) under one budget, measure them, and write the table.

    All rows start from the weights of --init, or from those that the stages before "full" give, which are trained once.

    To resume, run the same command again. Finished rows are not trained again.
    """
    from talkface.ablate import AblateOptions
    from talkface.ablate import ablate as run
    from talkface.data.reader import open_dataset
    from talkface.evaluate import DatasetEval, evaluate
    from talkface.train import TrainOptions
    from talkface.train.presets import ABLATIONS
    from talkface.train.presets import preset as named

    unknown = [row for row in rows or () if row not in ABLATIONS]
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)!r} is not a row of the ablation: expected some of {', '.join(ABLATIONS)}.",
            param_hint="--rows",
        )
    stages = stages if stages is not None else lessons
    config = configured(named(preset), stages, [f"seed={seed}", *(set_ or [])])
    out = out or Path("runs") / "-".join(["ablate", preset, *(Path(name).name for name in data)])
    tested = test_data or data[:1]

    def measure(weights: Path | None) -> dict[str, float]:
        row = "model" if weights else "still"
        figures: dict[str, float] = {}
        for one in tested:
            asked = DatasetEval(
                data=one,
                split=test_split,
                metrics=("psnr", "psnr_lineage", "ssim", "lmd", "mouth_r", *(["mi"] if estimator else [])),
                estimator=estimator,
                weights=weights,
                rows=(row,),
                limit=limit,
                device=device,
                seed=seed,
            )
            of = f"{Path(one).name}_" if len(tested) > 1 else ""
            found = evaluate(asked).rows[row]
            figures |= {of + name: found[name] for name in found if not name.startswith(("lmd_128", "lmd_iod"))}
        return figures

    training = TrainOptions(
        data=data, out=out, device=device, workers=workers, init=init, init_estimator=init_estimator
    )
    options = AblateOptions(
        training,
        budget,
        ",".join(tested),
        rows=tuple(rows or ABLATIONS),
        seeds=seeds,
        test_split=test_split,
        limit=limit,
    )
    with console.training(quiet=quiet) as on_step:
        lines = run(
            options,
            config,
            measure,
            open_dataset(tested[0], test_split),
            on_step,
            lambda text: console.say(text, quiet=quiet),
        )
    console.show_table(_table(lines))
    console.say(f"{out}: table.md, table.csv, table.json", quiet=quiet)


def _table(lines: list[dict[str, Any]]) -> list[list[str]]:
    """The figures that some row has, as text: a header and one row of the ablation in each line."""
    names = dict.fromkeys(name for line in lines for name, value in line.items() if isinstance(value, float))
    rows = [
        [line["row"], *(f"{line[name]:.3f}" if line.get(name) is not None else "-" for name in names)] for line in lines
    ]
    return [["", *names], *rows]
