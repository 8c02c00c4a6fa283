"""What a server is told when it starts, and the options of rendering that its page and its requests offer."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from talkface.errors import TalkfaceError
from talkface.render_options import MAX_EXPRESSION, RenderOptions

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Choice:
    """An option of rendering that a request may set."""

    name: str
    """Of the field of RenderOptions."""
    kind: type
    about: str
    label: str = ""
    """On the page; without one, only requests may set the option."""
    least: float | None = None
    most: float | None = None
    step: float | None = None


# Not offered: what concerns the server (device, weights), names files (json) or would remove the mark.
CHOICES = (
    Choice("face", int, "Which face of the photo, counted from 1 from left to right. Default: the largest.", least=1),
    Choice("box", str, "x,y,w,h: where the face is, in pixels of the upright photo, if it is not found."),
    Choice("expression", float, "Factor on the opening of the mouth.", "Opening of the mouth", 0, MAX_EXPRESSION, 0.05),
    Choice("motion", float, "How much the head moves, from 0 (still) to 1.", "Motion of the head", 0, 1, 0.05),
    Choice("blink", bool, "Whether the eyes blink.", "Blinking eyes"),
    Choice("crop", bool, "Render the aligned 256x256 face alone.", "Face alone, 256x256"),
    Choice("fps", str, "Frames per second, such as 25, 29.97 or 30000/1001."),
    Choice("crf", int, "Quality of the video, from 0 (lossless) to 51 (worst)."),
    Choice("max_size", int, "Maximum of the video's longer side in pixels."),
    Choice("track", int, "Which audio track of the recording, counted from 1.", least=1),
    Choice("seed", int, "Seed of what is drawn at random.", least=0),
)


def choices() -> list[tuple[Choice, Any]]:
    """Return those of CHOICES that rendering has, each with its default."""
    defaults = {field.name: field.default for field in fields(RenderOptions)}
    return [(choice, defaults[choice.name]) for choice in CHOICES if choice.name in defaults]


@dataclass(frozen=True)
class ServeConfig:
    """How `talkface serve` serves; the command has each field as an option."""

    host: str = "127.0.0.1"
    """Address to listen at. Beyond this machine there is no password: whoever reaches the port may render."""

    port: int = 8000

    names: tuple[str, ...] = ()
    """Host names by which browsers reach the server, if it is not only this machine's."""

    max_upload: float = 50.0
    """MB of one request: photo and recording together."""

    max_seconds: float = 600.0
    """Longest recording, seconds."""

    max_queue: int = 8
    """Renders that may wait."""

    keep_minutes: float = 30.0
    """Minutes after which a result is deleted."""

    device: str = "auto"
    """auto, cpu, cuda or mps; cuda:1 is the second GPU."""

    weights: Path | None = None
    """A generator's weights file, or None for the bundled one."""

    def __post_init__(self) -> None:
        numbers = {"port": (self.port, 0), "max-queue": (self.max_queue, 1)}
        sizes = {"max-upload": self.max_upload, "max-seconds": self.max_seconds, "keep-minutes": self.keep_minutes}
        for name, (value, least) in numbers.items():
            if value < least:
                raise TalkfaceError(f"--{name} {value} is too small.", f"Give at least {least}.")
        for name, size in sizes.items():
            if not size > 0:
                raise TalkfaceError(f"--{name} {size:g} is not valid: expected more than 0.", "Leave it out.")
        if self.port > 65535:
            raise TalkfaceError(f"--port {self.port} is not a port: the largest is 65535.", "Use 8000.")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server."""
        return self.host in LOOPBACK
