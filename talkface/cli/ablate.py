"""`talkface ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from talkface import console
from talkface.cli.options import DEVICE, QUIET, commas
from talkface.cli.train import configured


def ablate(
    data: Annotated[
        Any, typer.Option(parser=commas, metavar="A,B,...", help="Preprocessed data sets to learn from: split train.")
    ],
    budget: Annotated[float, typer.Option(help="Minutes of training for each row.")],
    preset: Annotated[str, typer.Option(help="The full model: small, paper or tiny.")] = "small",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The study's folder. Default: runs/ablate-PRESET-DATA.")
    ] = None,
    rows: Annotated[
        Any, typer.Option(parser=commas, metavar="A,B,...", help="Of the nine rows. Default: all of them.")
    ] = None,
    lessons: Annotated[
        Any, typer.Option(parser=commas, metavar="A,B,...", help="Of the preset's lessons. Default: all it has.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting, as of train. Repeat for more.")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="A generator's .safetensors that every row starts from.")] = None,
    test_data: Annotated[
        str | None, typer.Option(help="The data set to measure on. Default: the first --data.")
    ] = None,
    test_split: Annotated[str, typer.Option(help="Its split.")] = "test",
    limit: Annotated[int | None, typer.Option(help="Measure this many clips, spread over the split.")] = None,
    device: DEVICE = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of every row.")] = 0,
    workers: Annotated[int, typer.Option(help="Threads that decode frames.")] = 2,
    quiet: QUIET = False,
) -> None:
    """Train the rows of the paper's ablation (Table 3) under one budget, measure them, and write the table.

    To resume, run the same command again: rows that are done stay as they are.
    """
    from talkface.ablate import AblateOptions
    from talkface.ablate import ablate as run
    from talkface.data.reader import open_dataset
    from talkface.evaluate import EvalConfig, evaluate
    from talkface.train import TrainOptions
    from talkface.train.presets import ABLATIONS
    from talkface.train.presets import preset as named

    unknown = [row for row in rows or () if row not in ABLATIONS]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)!r} is none of {', '.join(ABLATIONS)}.", param_hint="--rows")
    config = configured(named(preset), lessons, [f"seed={seed}", *(set_ or [])])
    out = out or Path("runs") / "-".join(["ablate", preset, *(Path(name).name for name in data)])
    test_data = test_data or data[0]

    def measured(weights: Path | None) -> dict[str, float]:
        row = "model" if weights else "still"
        asked = EvalConfig(
            data=test_data,
            split=test_split,
            metrics=("psnr", "psnr_lineage", "ssim", "lmd", "mouth_r"),
            weights=weights,
            rows=(row,),
            limit=limit,
            device=device,
            seed=seed,
        )
        found = evaluate(asked).rows[row]
        return {name: value for name, value in found.items() if not name.startswith(("lmd_128", "lmd_iod"))}

    training = TrainOptions(data=data, out=out, device=device, workers=workers, init=init)
    options = AblateOptions(
        training, budget, test_data, rows=tuple(rows or ABLATIONS), test_split=test_split, limit=limit
    )
    with console.training(quiet=quiet) as on_step:
        lines = run(
            options,
            config,
            measured,
            open_dataset(test_data, test_split),
            on_step,
            lambda text: console.say(text, quiet=quiet),
        )
    console.show_table(_table(lines))
    console.say(f"{out}: table.md, table.csv, table.json", quiet=quiet)


def _table(lines: list[dict]) -> list[list[str]]:
    names = dict.fromkeys(name for line in lines for name, value in line.items() if isinstance(value, float))
    rows = [
        [line["row"], *(f"{line[name]:.3f}" if line.get(name) is not None else "-" for name in names)] for line in lines
    ]
    return [["", *names], *rows]
