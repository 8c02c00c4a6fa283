"""`talkface verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

UNMARKED = 3


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A video, of any origin.")],
) -> None:
    """Tell whether a video carries a machine-readable mark that it is synthetic, and what the mark says.

    Looks for an XMP packet with IPTC's digital source type, for the mark in the container's metadata, and for content
    credentials (C2PA, with talkface\\[c2pa]). The exit code is 0 if a mark is found, 3 if none is found, and 1 if FILE
    is not a video. ffmpeg keeps the metadata when it copies or encodes a video and drops XMP and C2PA. A video without
    a mark may still be synthetic.
    """
    from talkface.verify import verify as run

    found = run(file)
    for place, text in found.findings:
        print(f"{place}: {text}")
    print(f"{found.file}: {found.conclusion}")
    if not found.synthetic:
        raise typer.Exit(UNMARKED)
