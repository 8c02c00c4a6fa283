"""Subtitles: reads SubRip (.srt) and WebVTT (.vtt) files, and hands them to ffmpeg as a track or as a filter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from talkface.errors import TalkfaceError
from talkface.files import require_file

MAX_BYTES = 10 << 20
TIME = r"(?:(\d+):)?(\d{1,2}):(\d{2})[,.](\d{1,3})"
TIMES = re.compile(rf"^\s*{TIME}\s*-->\s*{TIME}")
ENCODINGS = ("utf-8-sig", "cp1252")
NO_FONT = re.compile(
    r"fontselect: (?:failed|no fonts?)|can't find selected font provider|Error opening memory font", re.I
)


@dataclass(frozen=True)
class Cue:
    """A subtitle."""

    begin: float
    """Seconds."""
    end: float
    """Seconds."""
    text: str
    """Lines of text; SubRip's tags such as <i> are kept."""


@dataclass(frozen=True)
class Subtitles:
    """Subtitles for a video."""

    cues: tuple[Cue, ...]
    burned: bool = False
    """Whether they become part of the picture, in place of a track that players can switch on."""

    def write(self, file: Path) -> None:
        """Write them as a SubRip file in UTF-8."""
        blocks = [
            f"{number}\n{_stamp(cue.begin)} --> {_stamp(cue.end)}\n{cue.text}\n"
            for number, cue in enumerate(self.cues, 1)
        ]
        file.write_text("\n".join(blocks), encoding="utf-8")


def read_subtitles(path: str | Path) -> list[Cue]:
    """Read a SubRip or WebVTT file in UTF-8, UTF-16 or Windows-1252, sorted by time.

    Raises:
        TalkfaceError: the file does not exist, is too large, or has no subtitle; a subtitle ends before it begins.
    """
    file = require_file(path, "subtitles in SubRip format (.srt)")
    if file.stat().st_size > MAX_BYTES:
        raise TalkfaceError(f"--srt {path} is larger than 10 MB.", "Give a text file with subtitles (.srt).")
    cues = []
    lines: list[str] | None = None
    for number, line in enumerate([*_decode(file.read_bytes()).splitlines(), ""], 1):
        found = TIMES.match(line)
        if found:
            begin, end = _seconds(found.groups()[:4]), _seconds(found.groups()[4:])
            if end <= begin:
                raise TalkfaceError(
                    f"--srt {path}, line {number}: the subtitle ends before it begins.",
                    "Write 00:00:01,000 --> 00:00:02,500, for example.",
                )
            lines = []
            cues.append((begin, end, lines))
        elif not line.strip():
            lines = None
        elif lines is not None:
            lines.append(line.strip())
    texts = [Cue(begin, end, "\n".join(text)) for begin, end, text in cues if text]
    if not texts:
        raise TalkfaceError(
            f"--srt {path} has no subtitle.",
            "Expected lines such as 00:00:01,000 --> 00:00:02,500, each followed by text and an empty line.",
        )
    return sorted(texts, key=lambda cue: (cue.begin, cue.end))


def until(duration: float, path: str | Path, burned: bool) -> Subtitles:
    """Read the subtitles of a video.

    Args:
        duration: of the video, s; subtitles beyond it are left out, and one at its end is cut.
        path: as in `read_subtitles`.
        burned: see `Subtitles`.

    Raises:
        TalkfaceError: as `read_subtitles`, or all subtitles begin after the end of the video.
    """
    cues = [Cue(cue.begin, min(cue.end, duration), cue.text) for cue in read_subtitles(path) if cue.begin < duration]
    if not cues:
        raise TalkfaceError(
            f"--srt {path}: all subtitles begin after the end of the video ({duration:.2f} s).",
            "Check that the subtitles belong to this recording.",
        )
    return Subtitles(tuple(cues), burned)


def check_drawn(stderr_lines: list[str]) -> None:
    """Check what ffmpeg has reported while it drew burned subtitles.

    Raises:
        TalkfaceError: it found no font: the text is missing from the picture.
    """
    if any(NO_FONT.search(line) for line in stderr_lines):
        raise TalkfaceError(
            "--burn-subtitles: ffmpeg has found no font, so the subtitles cannot be drawn.",
            "Install a font (apt install fonts-dejavu-core), or leave out --burn-subtitles to add a track.",
        )


def burning_filter(file: Path) -> str:
    """Return ffmpeg's filter that draws the subtitles of a file, escaped for a filter graph in an option."""
    option = re.sub(r"([\\':])", r"\\\1", file.absolute().as_posix())
    graph = re.sub(r"([\\'\[\],;])", r"\\\1", option)
    return f"subtitles=filename={graph}"


def _decode(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    for encoding in ENCODINGS:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("utf-8", "replace")


def _seconds(groups: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = groups
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction}")


def _stamp(seconds: float) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02},{whole % 1000:03}"
