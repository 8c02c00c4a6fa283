"""Decodes JPEG files whose end is missing, as image viewers do."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

END_OF_IMAGE = b"\xff\xd9"
PROGRESSIVE_FRAME = b"\xff\xc2"
START_OF_SCAN = b"\xff\xda"
MIN_DECODED = 0.9  # of the rows
MIN_SCANS = 4  # of a progressive JPEG, which usually has ten; each makes the entire image sharper
MID_GRAY = (127, 128)  # what the decoder fills missing blocks with, in all colour modes


def decode_truncated(path: Path) -> tuple[Image.Image, float] | None:
    """Decode a JPEG that lacks its end, if most of it is there.

    Returns:
        The image, decoded, and the share of its rows that are there; or None if too much is missing.
    """
    data = path.read_bytes()
    scans = data[max(data.rfind(PROGRESSIVE_FRAME), 0) :].count(START_OF_SCAN)  # without those of a thumbnail
    # With an end marker the decoder fills missing blocks with gray. A header that was cut off must be removed first.
    for complete in (data + END_OF_IMAGE, data[: data.rfind(START_OF_SCAN)] + END_OF_IMAGE):
        try:
            picture = Image.open(io.BytesIO(complete), formats=["JPEG"])
            picture.load()
        except Exception:  # a broken file can make a decoder raise anything
            continue
        share = _decoded_share(picture)
        enough = share >= MIN_DECODED and (scans >= MIN_SCANS or not picture.info.get("progressive"))
        return (picture, share) if enough else None
    return None


def _decoded_share(picture: Image.Image) -> float:
    """Return the share of the rows above the gray that fills the missing ones."""
    rows = np.asarray(picture).reshape(picture.height, -1)
    filled = ((rows >= MID_GRAY[0]) & (rows <= MID_GRAY[1])).all(1)
    decoded = np.flatnonzero(~filled)
    return (int(decoded[-1]) + 1) / picture.height if len(decoded) else 0.0
