"""`talkface train`."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from talkface import console
from talkface.cli.options import DEVICE, QUIET, assigned, commas, seed_option

if TYPE_CHECKING:
    from talkface.train.presets import TrainConfig


STAGES = Annotated[
    Any,
    typer.Option(
        "--stages",
        parser=commas,
        metavar="A,B,...",
        help="Train only these stages of the preset: some of visemes, sound, lips, full. Default: all of its stages.",
    ),
]
LESSONS = Annotated[
    Any, typer.Option("--lessons", parser=commas, metavar="A,B,...", hidden=True, help="Older name of --stages.")
]
SETTINGS = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Override a setting of the preset, of its generator or of a stage, such as lip_weight=5, "
        "generator.audio_context=0 or full.steps=9000. An unknown name lists the valid ones. Can be repeated.",
    ),
]
INIT = Annotated[Path | None, typer.Option(help="Initial weights: a .safetensors file of a generator.")]
WORKERS = Annotated[int, typer.Option(help="Number of threads that decode frames.")]


def train(
    data: Annotated[
        Any, typer.Option(parser=commas, metavar="A,B,...", help="Names or folders of preprocessed data sets.")
    ],
    preset: Annotated[
        str,
        typer.Option(
            help="small (recipe of the bundled weights), paper, tiny, or a row of the ablation such as mine-js."
        ),
    ] = "small",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the run. Default: runs/PRESET-DATA.")
    ] = None,
    stages: STAGES = None,
    lessons: LESSONS = None,
    set_: SETTINGS = None,
    split: Annotated[str, typer.Option(help="Split of the data sets to train on.")] = "train",
    seed: Annotated[int, seed_option("Seed of the initial weights, the batches and the augmentation.")] = 0,
    steps_scale: Annotated[
        float, typer.Option(help="Multiplies the steps of all stages: 0.1 trains for a tenth of the steps.")
    ] = 1.0,
    minutes: Annotated[float | None, typer.Option(help="Stop after this many minutes and write a checkpoint.")] = None,
    init: INIT = None,
    device: DEVICE = "auto",
    workers: WORKERS = 2,
    compile: Annotated[
        bool, typer.Option("--compile", help="Use torch.compile, which makes long runs on a GPU faster.")
    ] = False,
    checkpoint_minutes: Annotated[float, typer.Option(help="Minutes between two checkpoints.")] = 4.0,
    checkpoint_steps: Annotated[
        int | None, typer.Option(help="Steps between two further checkpoints. Default: none.")
    ] = None,
    keep: Annotated[int, typer.Option(help="Number of newest checkpoints to keep.")] = 3,
    sample_steps: Annotated[int, typer.Option(help="Steps between two sample pictures.")] = 500,
    log_steps: Annotated[int, typer.Option(help="Steps between two lines of the log.")] = 20,
    quiet: QUIET = False,
) -> None:
    """Train the networks of the paper, or one of the paper's ablations.

    To resume, run the same command again. For several GPUs: torchrun --nproc-per-node N -m talkface train ...
    """
    from talkface.train import TrainOptions
    from talkface.train import train as run
    from talkface.train.presets import preset as named
    from talkface.train.presets import scaled

    stages = stages if stages is not None else lessons
    config = scaled(configured(named(preset), stages, [f"seed={seed}", *(set_ or [])]), steps_scale)
    options = TrainOptions(
        data=data,
        out=out or Path("runs") / "-".join([preset, *(Path(name).name for name in data)]),
        split=split,
        device=device,
        minutes=minutes,
        checkpoint_minutes=checkpoint_minutes,
        checkpoint_steps=checkpoint_steps,
        keep=keep,
        sample_steps=sample_steps,
        log_steps=log_steps,
        workers=workers,
        compile=compile,
        init=init,
    )
    quiet = quiet or os.environ.get("RANK", "0") != "0"  # only one of several processes prints
    with console.training(quiet=quiet) as on_step:
        report = run(options, config, on_step)
    state = "finished" if report.finished else "stopped; to resume, run the same command again"
    console.say(f"{report.generator}: step {report.step} of {report.total}, {state}", quiet=quiet)


def configured(config: TrainConfig, stages: tuple[str, ...] | None, settings: list[str]) -> TrainConfig:
    """A preset with some of its stages and with changed settings.

    Args:
        config: the preset.
        stages: names of the stages to keep; None keeps all.
        settings: NAME=VALUE, where NAME is a field of the preset, generator.FIELD or STAGE.FIELD.
    """
    if stages is not None:
        offered = [stage.name for stage in config.stages]
        unknown = ", ".join(name for name in stages if name not in offered)
        if unknown or not stages:
            raise typer.BadParameter(
                f"{unknown!r} is not a stage of this preset: expected some of {', '.join(offered)}.",
                param_hint="--stages",
            )
        config = replace(config, stages=tuple(stage for stage in config.stages if stage.name in stages))
    for setting in settings:
        owner, _, _ = setting.partition("=")[0].rpartition(".")
        config = _with(config, owner, setting.removeprefix(f"{owner}."))
    return config


def _with(config: TrainConfig, owner: str, assignment: str) -> TrainConfig:
    """`config` with one changed field.

    Args:
        config: the configuration.
        owner: "" for a field of `config` itself, "generator", or the name of a stage.
        assignment: FIELD=VALUE.
    """
    if not owner:
        return replace(config, **assigned(assignment, "--set", _plain(config)))
    if owner == "generator":
        shape = replace(config.generator, **assigned(assignment, "--set", _plain(config.generator)))
        return replace(config, generator=shape)
    owners = [stage.name for stage in config.stages]
    if owner not in owners:
        raise typer.BadParameter(
            f"{owner!r} has no settings: expected one of generator, {', '.join(owners)}.", param_hint="--set"
        )
    stage = config.stages[owners.index(owner)]
    changed = replace(stage, **assigned(assignment, "--set", _plain(stage)))
    return replace(config, stages=tuple(changed if one is stage else one for one in config.stages))


def _plain(config: Any) -> dict[str, Any]:
    """The fields of a configuration that are a number, a truth value or a word."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return {name: value for name, value in values.items() if isinstance(value, int | float | str)}
