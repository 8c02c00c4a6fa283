"""`talkface train`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from talkface import console
from talkface.cli.options import DEVICE, QUIET, assigned, commas, seed_option
from talkface.errors import TalkfaceError

if TYPE_CHECKING:
    from talkface.train.presets import TrainConfig


STAGES = Annotated[
    Any,
    typer.Option(
        "--stages",
        parser=commas,
        metavar="A,B,...",
        help="Train only these stages of the preset: some of visemes, lips, mouth, estimator, full. "
        "Default: all of its stages.",
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
        help="Override a setting of the preset, of its generator or of a stage, such as augment=no, "
        "generator.widths=24,40,64, mouth.steps=9000 or mouth.l1_weight=0.3. An unknown name lists the valid ones. "
        "Can be repeated.",
    ),
]
INIT = Annotated[Path | None, typer.Option(help="Initial weights: a .safetensors file of a generator.")]
INIT_ESTIMATOR = Annotated[
    Path | None, typer.Option(help="Initial weights of AMIE: a .safetensors file of a statistics network.")
]
WORKERS = Annotated[int, typer.Option(help="Number of processes that prepare batches, at most one per core.")]


def train(
    data: Annotated[
        Any,
        typer.Option(
            parser=commas,
            metavar="A,B,...",
            help="Names or folders of preprocessed data sets, of synthetic speech (talkface visemes), or sample: clips "
            "of GRID that come with talkface.",
        ),
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
    init_estimator: INIT_ESTIMATOR = None,
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
    validation: Annotated[
        Any,
        typer.Option(
            parser=commas,
            metavar="A,B,...",
            help="Data sets to validate on, by their split val. Default: those of --data that have it.",
        ),
    ] = None,
    validation_steps: Annotated[
        int, typer.Option(help="Steps between two validations; each stage is also validated at its end.")
    ] = 1000,
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
        validation=validation,
        validation_steps=validation_steps,
        log_steps=log_steps,
        workers=workers,
        compile=compile,
        init=init,
        init_estimator=init_estimator,
    )
    quiet = quiet or os.environ.get("RANK", "0") != "0"  # only one of several processes prints
    with console.training(quiet=quiet) as on_step:
        report = run(options, config, on_step, lambda note: console.say(note, quiet=quiet))
    state = "finished" if report.finished else "stopped; to resume, run the same command again"
    console.say(f"{report.generator}: step {report.step} of {report.total}, {state}", quiet=quiet)
    if report.finished and os.environ.get("RANK", "0") == "0":
        _write_graphs(report.generator, quiet)


def _write_graphs(weights: Path, quiet: bool) -> None:
    """Write the graphs that `render` runs on a CPU beside the weights; the weights are complete without them."""
    from talkface.model.checkpoint import load_generator
    from talkface.model.export import export_generator
    from talkface.model.generator import Generator

    generator = load_generator(weights)
    if not isinstance(generator, Generator):
        return
    try:
        export_generator(generator, weights)
    except TalkfaceError as error:
        later = f"Then `talkface export {weights}` writes them; until then PyTorch renders."
        console.say(f"{error} {error.fix.rstrip('.')}. {later}", quiet=quiet)


def configured(config: TrainConfig, stages: tuple[str, ...] | None, settings: list[str]) -> TrainConfig:
    """A preset with some of its stages and with changed settings.

    Args:
        config: the preset.
        stages: names of the stages to keep; None keeps all.
        settings: NAME=VALUE, where NAME is a field of the preset, generator.FIELD, estimator.FIELD or STAGE.FIELD.
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
        owner: "" for a field of `config` itself, "generator", "estimator", or the name of a stage.
        assignment: FIELD=VALUE.
    """
    places = _places(config, owner)
    name, known = assignment.partition("=")[0], [_plain(part) for part, _ in places]
    number = next((number for number, values in enumerate(known) if name in values), None)
    if number is None:
        assigned(assignment, "--set", {name: value for values in known for name, value in values.items()})
        raise AssertionError  # an unknown name has been refused
    part, put = places[number]
    return put(replace(part, **assigned(assignment, "--set", known[number])))


def _places(config: TrainConfig, owner: str) -> list[tuple[Any, Callable[[Any], TrainConfig]]]:
    """The parts of a configuration in which a setting of `owner` is looked up, and what puts a changed one back."""
    if not owner:
        return [(config, lambda changed: changed)]
    if owner == "generator":
        return [(config.generator, lambda changed: replace(config, generator=changed))]
    names = [stage.name for stage in config.stages]
    places: list[tuple[Any, Callable[[Any], TrainConfig]]] = []
    if owner in names:
        number, field = names.index(owner), config.field_of(owner)
        before, after = config.stages[:number], config.stages[number + 1 :]
        places.append((config.stages[number], lambda changed: replace(config, stages=(*before, changed, *after))))
        places.append((getattr(config, field), lambda changed: replace(config, **{field: changed})))
    if owner == "estimator":
        places.append((config.estimator, lambda changed: replace(config, estimator=changed)))
    if not places:
        raise typer.BadParameter(
            f"{owner!r} has no settings: expected one of generator, {', '.join(dict.fromkeys([*names, 'estimator']))}.",
            param_hint="--set",
        )
    return places


def _plain(config: Any) -> dict[str, Any]:
    """The fields of a configuration that are a number, a truth value or a word, or several numbers."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    plain = (int, float, str)
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, plain) or (isinstance(value, tuple) and all(isinstance(one, plain) for one in value))
    }
