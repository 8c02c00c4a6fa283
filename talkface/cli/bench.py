"""`talkface bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from talkface import console
from talkface.cli.options import BACKEND, DEVICE, QUIET, WEIGHTS
from talkface.render_options import RenderOptions

if TYPE_CHECKING:
    from talkface.benchmark import Benchmark

SECONDS = {
    "start": "start: Python and its packages",
    "face": "face: photo read, face found",
    "sound": "sound: decoded and heard",
    "load": "load: the generator",
    "first_frame": "command to first frame",
}
MILLISECONDS = {"network": "network", "paste": "paste-back", "encode": "encoder"}


def bench(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photo with a face.")],
    speech: Annotated[Path, typer.Argument(metavar="SPEECH", help="A recording; a minute gives steady figures.")],
    weights: WEIGHTS = None,
    crop: Annotated[bool, typer.Option("--crop", help="Measure the aligned 256x256 face alone.")] = False,
    device: DEVICE = RenderOptions.device,
    backend: BACKEND = "auto",
    repeats: Annotated[int, typer.Option(min=1, help="How often each stage is measured; medians are shown.")] = 3,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
    quiet: QUIET = False,
) -> None:
    """Measure how fast this machine renders: each stage by itself, and whole renders.

    Close other programs first. In a render paste-back and the encoder run beside the network.
    """
    from talkface.benchmark import benchmark
    from talkface.files import check_output_files, write_json

    if json is not None:
        check_output_files({"--json": json}, [photo, speech])
    options = RenderOptions(weights=weights, crop=crop, device=device, backend=backend)
    measured = benchmark(
        photo, speech, options, repeats, on_stage=lambda stage: console.say(f"Measuring {stage} ...", quiet=quiet)
    )
    if json is not None:
        write_json(json, measured.to_dict())
    console.show_table(_rows(measured))


def _rows(measured: Benchmark) -> list[list[str]]:
    threads = f"{measured.threads} thread{'s' * (measured.threads > 1)} of {measured.cores} cores"
    rows = [[f"{measured.engine}, {measured.device}, {threads}", ""]]
    rows += [[name, f"{measured.seconds[key]:.2f} s"] for key, name in SECONDS.items()]
    rows += [[f"{name}, per frame", f"{measured.milliseconds[key]:.1f} ms"] for key, name in MILLISECONDS.items()]
    rows += [
        [f"render of {measured.width}x{measured.height}", f"{measured.frames_per_second:.1f} frames/s"],
        ["video seconds per second, start included", f"{measured.real_time_factor:.1f}"],
    ]
    if measured.gflop is not None:
        rows.append(["generator, per frame", f"{measured.gflop:.2f} GFLOP"])
    if measured.parameters is not None:
        rows.append(["generator, parameters", f"{measured.parameters / 1e6:.2f} M"])
    return rows
