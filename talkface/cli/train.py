"""`talkface train`."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from talkface import console
from talkface.cli.options import DEVICE, QUIET, assigned, commas

if TYPE_CHECKING:
    from talkface.train.presets import TrainConfig


def train(
    data: Annotated[
        Any, typer.Option(parser=commas, metavar="A,B,...", help="Preprocessed data sets: their names or folders.")
    ],
    preset: Annotated[
        str, typer.Option(help="small (the bundled weights'), paper, tiny; or a row of the ablation, such as mine-js.")
    ] = "small",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run's folder. Default: runs/PRESET-DATA.")
    ] = None,
    lessons: Annotated[
        Any,
        typer.Option(
            parser=commas, metavar="A,B,...", help="Of the preset's visemes, sound, lips, full. Default: all it has."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the preset, such as lip_weight=5, generator.audio_context=0 or full.steps=9000. "
            "Repeat for more.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which split to learn from.")] = "train",
    seed: Annotated[int, typer.Option(min=0, help="Of initial weights, batches and distortions.")] = 0,
    steps_scale: Annotated[float, typer.Option(help="So many times the preset's steps: 0.1 for a tenth.")] = 1.0,
    minutes: Annotated[float | None, typer.Option(help="Stop, with a checkpoint, after so long.")] = None,
    init: Annotated[Path | None, typer.Option(help="A generator's .safetensors to start from.")] = None,
    device: DEVICE = "auto",
    workers: Annotated[int, typer.Option(help="Threads that decode frames.")] = 2,
    in_memory: Annotated[
        Literal["auto", "yes", "no"], typer.Option(help="Keep all pictures on the device; auto: on a GPU with room.")
    ] = "auto",
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile: pays in long runs on a GPU.")] = False,
    checkpoint_minutes: Annotated[float, typer.Option(help="Between two checkpoints.")] = 4.0,
    checkpoint_steps: Annotated[int | None, typer.Option(help="A checkpoint every so many steps besides.")] = None,
    keep: Annotated[int, typer.Option(help="How many checkpoints to keep.")] = 3,
    sample_steps: Annotated[int, typer.Option(help="Between two pictures of samples.")] = 500,
    log_steps: Annotated[int, typer.Option(help="Between two lines of the log.")] = 20,
    quiet: QUIET = False,
) -> None:
    """Train the networks of the paper, or an ablation of them.

    To resume, run the same command again. On several GPUs: torchrun --nproc-per-node N -m talkface train ...
    """
    from talkface.train import TrainOptions
    from talkface.train import train as run
    from talkface.train.presets import preset as named
    from talkface.train.presets import scaled

    config = scaled(configured(named(preset), lessons, [f"seed={seed}", *(set_ or [])]), steps_scale)
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
        in_memory=in_memory,
        compile=compile,
        init=init,
    )
    quiet = quiet or os.environ.get("RANK", "0") != "0"  # of several processes one speaks
    with console.training(quiet=quiet) as on_step:
        report = run(options, config, on_step)
    state = "finished" if report.finished else "stopped; run the same command again to go on"
    console.say(f"{report.generator}: step {report.step} of {report.total}, {state}", quiet=quiet)


def configured(config: TrainConfig, lessons: tuple[str, ...] | None, settings: list[str]) -> TrainConfig:
    """The preset with the lessons asked for, and with settings of its own, of its generator's or of a lesson's."""
    if lessons is not None:
        offered = [stage.lesson for stage in config.stages]
        unknown = [lesson for lesson in lessons if lesson not in offered]
        if unknown or not lessons:
            raise typer.BadParameter(f"{', '.join(unknown)!r} is none of {', '.join(offered)}.", param_hint="--lessons")
        config = replace(config, stages=tuple(stage for stage in config.stages if stage.lesson in lessons))
    for setting in settings:
        owner, _, _ = setting.partition("=")[0].rpartition(".")
        config = _with(config, owner, setting.removeprefix(f"{owner}."))
    return config


def _with(config: TrainConfig, owner: str, assignment: str) -> TrainConfig:
    """One setting changed: the configuration's own, the generator's, or a lesson's."""
    if not owner:
        return replace(config, **assigned(assignment, "--set", _plain(config)))
    if owner == "generator":
        shape = replace(config.generator, **assigned(assignment, "--set", _plain(config.generator)))
        return replace(config, generator=shape)
    owners = [stage.lesson for stage in config.stages]
    if owner not in owners:
        raise typer.BadParameter(f"{owner!r} is none of generator, {', '.join(owners)}.", param_hint="--set")
    stage = config.stages[owners.index(owner)]
    changed = replace(stage, **assigned(assignment, "--set", _plain(stage)))
    return replace(config, stages=tuple(changed if one is stage else one for one in config.stages))


def _plain(config: Any) -> dict[str, Any]:
    """The fields that are one word or number."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return {name: value for name, value in values.items() if isinstance(value, int | float | str)}
