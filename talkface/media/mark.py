"""The mark that says that a video is synthetic, for people and for machines: written, and read back.

A video carries it twice. An XMP packet, in a "uuid" box at the end of the mp4, gives IPTC's digital source type: the
form that news agencies, search engines and content credentials look for. `ffmpeg -c copy` and most editors drop the
box. Title and comment in the container's metadata say the same, and the comment contains the same address; ffmpeg keeps
them when it copies or encodes the video, in mp4, mov, mkv and webm. Neither survives `-map_metadata -1`, a screen
recording or a platform that removes metadata.
"""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import quoteattr

import ffmpeg

from talkface._version import __version__
from talkface.errors import TalkfaceError
from talkface.files import require_file
from talkface.media.ffmpeg import file_url, start

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SYNTHETIC = SOURCE_TYPES + "trainedAlgorithmicMedia"
"""IPTC's term for media that a trained algorithm has made."""

SYNTHETIC_TYPES = {
    "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia",
    "compositeSynthetic",
    "algorithmicMedia",
    "algorithmicallyEnhanced",
    "virtualRecording",
}
MARK = {
    "title": "Synthetic video made with talkface",
    "comment": "Synthetic: this face was made to speak by talkface {version} from one photo and one recording. "
    f"Digital source type: {SYNTHETIC}",
}
XMP_BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")  # XMP specification, part 3, section 1.2.7.1
C2PA_BOX = uuid.UUID("d8fec3d6-1b0e-483c-9297-5828877ec481")  # C2PA specification, "Embedding manifests into BMFF"
MAX_PACKET = 16 << 20  # bytes; a larger box is no packet that anyone has written on purpose
SEARCHED = 4 << 20  # bytes
SOURCE_TYPE = re.compile(r"https?://cv\.iptc\.org/newscodes/digitalsourcetype/(\w+)")
TOOL = re.compile(r"CreatorTool(?:=\"|>)([^\"<]+)")
PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmp:CreatorTool={tool}
    Iptc4xmpExt:DigitalSourceType={source_type}/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


def mark_metadata() -> dict[str, str]:
    """Return the container's metadata of a marked video, title and comment."""
    return {name: text.format(version=__version__) for name, text in MARK.items()}


def xmp_box() -> bytes:
    """Return the box with the XMP packet. At top level it may stand anywhere in an mp4, also behind the last fragment.

    It has no time or random number in it: the same video always has the same bytes.
    """
    tool, source_type = quoteattr(f"talkface {__version__}"), quoteattr(SYNTHETIC)
    packet = PACKET.format(tool=tool, source_type=source_type).encode()
    return struct.pack(">I4s", 24 + len(packet), b"uuid") + XMP_BOX.bytes + packet


def append_xmp(path: Path) -> None:
    """Add the XMP packet to an mp4 that has none, at its end, so that no offset in the file changes."""
    with path.open("ab") as file:
        file.write(xmp_box())


def read_xmp(path: Path) -> str | None:
    """Return the XMP packet of a file, or None if it has none.

    It is looked for in the box for it at the top level of an mp4, and in the first and the last 4 MB of other files,
    which is where QuickTime and image formats have it.
    """
    end = path.stat().st_size
    with path.open("rb") as file:
        for kind, content, size in _boxes(file, 0, end):
            if kind == XMP_BOX and size <= MAX_PACKET:
                file.seek(content)
                return file.read(size).decode("utf-8", "replace")
        for at in (0, max(end - SEARCHED, 0)):
            file.seek(at)
            if found := re.search(rb"<x:xmpmeta.*?</x:xmpmeta>", file.read(SEARCHED), re.DOTALL):
                return found[0].decode("utf-8", "replace")
    return None


def has_c2pa_box(path: Path) -> bool:
    """Tell whether an mp4 or mov has a box for content credentials, without reading what they say."""
    with path.open("rb") as file:
        return any(kind == C2PA_BOX for kind, _, _ in _boxes(file, 0, path.stat().st_size))


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the metadata of a container by name in lower case, as ffmpeg shows it.

    Raises:
        TalkfaceError: the file does not exist, or it is not a video or recording that ffmpeg can open.
    """
    source = require_file(path, "a video")
    graph = ffmpeg.output(ffmpeg.input(file_url(source)), "pipe:1", format="ffmetadata")
    with start(graph) as reader:
        text = reader.stdout.read().decode("utf-8", "replace")
        if reader.finish():
            raise TalkfaceError(
                f"{source.name} is not a video: {reader.reason()}.", "Give a video: mp4, mov, mkv, webm, mpg."
            )
    found: dict[str, str] = {}
    for line in re.split(r"(?<!\\)\n", text):
        if line.startswith("["):  # a stream or a chapter
            break
        name, equals, value = line.partition("=")
        if equals and not line.startswith(";"):
            found[name.lower()] = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
    return found


def source_type(text: str) -> str | None:
    """Return the IPTC digital source type that a text contains, for example "trainedAlgorithmicMedia"."""
    found = SOURCE_TYPE.search(text)
    return found[1] if found else None


def creator_tool(packet: str) -> str | None:
    """Return the program that an XMP packet names as its author."""
    found = TOOL.search(packet)
    return found[1].strip() if found else None


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[uuid.UUID, int, int]]:
    """The uuid boxes at the top level of a file: identifier, position of the content, bytes of it.

    A file of another format, or one that is cut, ends the search.
    """
    while at + 8 <= end:
        file.seek(at)
        header = file.read(32)
        size, kind = struct.unpack(">I4s", header[:8])
        length = 8
        if size == 1 and len(header) >= 16:
            size, length = struct.unpack(">Q", header[8:16])[0], 16
        elif size == 0:
            size = end - at
        if size < length or not re.fullmatch(rb"[ -~\xa9]{4}", kind):
            return
        if kind == b"uuid" and len(header) >= length + 16 and at + size <= end:
            yield uuid.UUID(bytes=header[length : length + 16]), at + length + 16, size - length - 16
        at += size
