"""Tells videos from photos by the content of the file."""

from __future__ import annotations

import re
from pathlib import Path

from talkface.errors import TalkfaceError
from talkface.files import require_file
from talkface.media.video import probe

# The first bytes of files that hold pictures with Pillow's or another reader, and are no videos.
PHOTO = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF.{4}WEBP|II[*+]\0|MM\0[*+]|BM|\0\0\x01\0|.{4}ftyp(heic|heix|hevc|mif1|msf1|avif|avis)"
    rb"|\0\0\0\x0cjP|\0\0\0\x0cJXL|\xff\x4f\xff\x51|\xff\x0a|P[1-6]\s|qoif|%PDF|%!PS|\s*<",
    re.DOTALL,
)
# MP4 and MOV, Matroska and WebM, AVI, MPEG programs and MPEG video, ASF, FLV. Sound stands in some of them, too.
VIDEO = re.compile(
    rb".{4}(ftyp|moov|mdat|wide|free|skip)|\x1aE\xdf\xa3|RIFF.{4}AVI |\0\0\x01[\xba\xb3]|0&\xb2u\x8ef\xcf\x11|FLV\x01",
    re.DOTALL,
)
LEAST_FRAMES = 1.5  # a file of one frame is a photo


def is_video(path: str | Path) -> bool:
    """Whether a file is a video, whatever its name.

    A file of an unknown kind is one if ffmpeg finds more than one picture in it. An animated GIF, WebP or AVIF
    counts as a photo.

    Raises:
        TalkfaceError: the file does not exist or cannot be read.
    """
    source = require_file(path, "a photo or a video")
    with source.open("rb") as file:
        start = file.read(64)
    if PHOTO.match(start):
        return False
    if VIDEO.match(start):
        return True
    try:
        info = probe(source)
    except TalkfaceError:
        return False
    return info.duration * float(info.fps) > LEAST_FRAMES
