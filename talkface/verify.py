"""`talkface verify`: which marks of synthetic media a video carries, and what they say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from talkface.errors import TalkfaceError
from talkface.files import require_file
from talkface.media.credentials import INSTALL, read_credentials
from talkface.media.mark import (
    MARK,
    SYNTHETIC_TYPES,
    creator_tool,
    has_c2pa_box,
    read_metadata,
    read_xmp,
    source_type,
)
from talkface.media.video import probe

FIELDS = ("title", "comment", "description")


@dataclass
class Verification:
    """What `verify` has found."""

    file: Path
    synthetic: bool = False
    """Whether some mark says that the video is synthetic."""

    findings: list[tuple[str, str]] = field(default_factory=list)
    """For each place that can carry a mark its name and what it says."""

    conclusion: str = ""
    """One sentence."""


def verify(path: str | Path) -> Verification:
    """Read the marks of a video: XMP, the metadata of the container, content credentials (C2PA).

    Raises:
        TalkfaceError: the file does not exist or is not a video.
    """
    file = require_file(path, "a video")
    metadata = read_metadata(file)
    probe(file)
    found = Verification(Path(path))
    in_xmp = _check_xmp(found, file)
    in_metadata = _check_metadata(found, metadata)
    in_credentials = _check_credentials(found, file)
    found.synthetic = in_xmp or in_metadata or in_credentials
    if not found.synthetic:
        found.conclusion = (
            "No mark says that it is synthetic. It may be a real recording, or a synthetic video without its mark."
        )
    elif in_metadata and not in_xmp:
        found.conclusion = (
            "It says that it is synthetic. The XMP packet is missing: another program has copied or encoded the video."
        )
    else:
        found.conclusion = "It says that it is synthetic."
    return found


def _check_xmp(found: Verification, file: Path) -> bool:
    packet = read_xmp(file)
    if packet is None:
        found.findings.append(("XMP", "none"))
        return False
    kind, tool = source_type(packet), creator_tool(packet)
    by = f", by {tool}" if tool else ""
    found.findings.append(("XMP", f"digital source type {kind}{by}" if kind else f"no digital source type{by}"))
    return kind in SYNTHETIC_TYPES


def _check_metadata(found: Verification, metadata: dict[str, str]) -> bool:
    told = False
    for name in FIELDS:
        text = metadata.get(name, "")
        if source_type(text) in SYNTHETIC_TYPES or (name == "title" and text == MARK["title"]):
            found.findings.append((f"metadata, {name}", text))
            told = True
    if not told:
        found.findings.append(("metadata", "no mark"))
    return told


def _check_credentials(found: Verification, file: Path) -> bool:
    try:
        credentials = read_credentials(file)
    except TalkfaceError as error:
        text = f"present, not read: {INSTALL}" if error.fix == INSTALL else f"damaged: {error}"
        present = has_c2pa_box(file)
        found.findings.append(("C2PA", text if present else "none"))
        return False
    if credentials is None:
        found.findings.append(("C2PA", "none"))
        return False
    kind = source_type(credentials.source_type or "")
    state = "unchanged since it was signed" if credentials.intact else "CHANGED since it was signed"
    trust = "a trusted signer" if credentials.trusted else "a signer that no known authority vouches for"
    text = f"digital source type {kind}, by {credentials.generator}; {state} by {credentials.signer}, {trust}"
    found.findings.append(("C2PA", text))
    return kind in SYNTHETIC_TYPES and credentials.intact
