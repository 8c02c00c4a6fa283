"""`talkface serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from talkface import console
from talkface.cli.options import DEVICE, WEIGHTS
from talkface.serve.settings import ServeConfig


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 is every address of this machine. There is no password.")
    ] = ServeConfig.host,
    port: Annotated[int, typer.Option(help="Port to listen at; 0 for any that is free.")] = ServeConfig.port,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Host name by which browsers reach the server, if not only this machine's; repeatable."),
    ] = None,
    max_upload: Annotated[
        float, typer.Option(help="Largest upload in MB, photo and recording together.")
    ] = ServeConfig.max_upload,
    max_seconds: Annotated[float, typer.Option(help="Longest recording, in seconds.")] = ServeConfig.max_seconds,
    max_queue: Annotated[int, typer.Option(help="Number of videos that may wait.")] = ServeConfig.max_queue,
    keep_minutes: Annotated[
        float, typer.Option(help="Minutes after which a result is deleted.")
    ] = ServeConfig.keep_minutes,
    weights: WEIGHTS = None,
    device: DEVICE = ServeConfig.device,
) -> None:
    """Serve a web page on this machine that makes videos from photos and recordings. Needs talkface\\[ui].

    Programs can do the same: POST /render; /openapi.json describes it. Uploads and results are temporary files. Ctrl-C
    ends the server and deletes them.
    """
    config = ServeConfig(
        host=host,
        port=port,
        names=tuple(name or ()),
        max_upload=max_upload,
        max_seconds=max_seconds,
        max_queue=max_queue,
        keep_minutes=keep_minutes,
        device=device,
        weights=weights,
    )
    from talkface.serve import serve as serve_pages

    def on_ready(url: str) -> None:
        console.say(f"Open {url} in a browser. Ctrl-C ends the server and deletes its files.")
        if not config.is_local:
            console.say("There is no password: whoever reaches this port can upload files and render.")

    serve_pages(config, on_ready)
