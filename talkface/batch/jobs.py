"""The jobs of a batch: from folders of photos or recordings, or from a CSV file; and the names of their videos."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from talkface.batch.options import option_names, parse_option
from talkface.config import weights_path
from talkface.errors import TalkfaceError
from talkface.files import STDIN_NAMES, is_folder, require_file
from talkface.render_options import VIDEO_SUFFIXES, RenderOptions

PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".avif", ".heic"),
    *(".heif", ".jp2", ".ppm", ".tga", ".ico", ".qoi"),
)
SPEECH_SUFFIXES = (
    *(".wav", ".mp3", ".m4a", ".m4b", ".aac", ".flac", ".ogg", ".oga", ".opus", ".wma", ".aif", ".aiff", ".aifc"),
    *(".amr", ".au", ".caf", ".ac3", ".mka", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts"),
    *(".m2ts", ".3gp", ".ogv", ".wmv", ".flv"),
)
REQUIRED = ("photo", "speech")
SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Job:
    """One video of a batch."""

    number: int
    """Position in the batch, counted from 1."""

    photo: Path
    speech: Path

    out: Path
    """The video, relative to the folder of the batch."""

    options: RenderOptions


def folder_jobs(
    photo: Path, speech: Path, options: RenderOptions, on_note: Callable[[str], None] = lambda note: None
) -> tuple[Job, ...]:
    """Return one job for each photo in a folder with one recording, or for each recording in a folder with one photo.

    Files in the folder whose names are not those of photos or recordings are passed over, with a note; so are hidden
    files and folders in it.

    Raises:
        TalkfaceError: both are folders, or the folder has no such file.
    """
    if is_folder("PHOTO", photo) and is_folder("SPEECH", speech):
        raise TalkfaceError(
            f"{photo} and {speech} are both folders: it is not clear which photo says which recording.",
            "Give one file and one folder, or list the pairs in a file: --jobs jobs.csv.",
        )
    if is_folder("PHOTO", photo):
        pairs = [(path, speech) for path in _files(photo, PHOTO_SUFFIXES, "photos", on_note)]
    elif is_folder("SPEECH", speech):
        pairs = [(photo, path) for path in _files(speech, SPEECH_SUFFIXES, "recordings", on_note)]
    else:
        pairs = [(photo, speech)]
    return named([(photo, speech, None, options) for photo, speech in pairs])


def read_jobs(path: Path, options: RenderOptions) -> tuple[Job, ...]:
    """Return the jobs in a CSV file.

    The first line has the names of the columns: photo, speech, out (not required) and any of `option_names()`. An empty
    cell means the value in `options`. Paths are relative to the folder of the CSV file, except those in the column out,
    which are relative to the folder of the batch. Cells are separated by commas, semicolons or tabs.

    Raises:
        TalkfaceError: the file cannot be read, it has an unknown column or no jobs, a cell is not valid, or two jobs
            would write the same video.
    """
    source = require_file(path, "a list of jobs")
    try:
        text = source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TalkfaceError(f"{path} is not a text file in UTF-8.", "Save the table as CSV (UTF-8).") from error
    header = text.partition("\n")[0]
    reader = csv.reader(text.splitlines(), delimiter=max(",;\t", key=header.count))
    columns = [name.strip().lower().replace("-", "_") for name in next(reader, [])]
    _check_columns(path, columns)
    rows = [_row(path, reader.line_num, columns, cells, options) for cells in reader if any(map(str.strip, cells))]
    if not rows:
        raise TalkfaceError(f"{path} has no jobs, only the names of the columns.", "Add one line for each video.")
    return named(rows)


def _check_columns(path: Path, columns: list[str]) -> None:
    known = (*REQUIRED, "out", *option_names())
    missing = [name for name in REQUIRED if name not in columns]
    unknown = [name for name in columns if name not in known]
    twice = [name for name in dict.fromkeys(columns) if columns.count(name) > 1]
    if missing or unknown or twice:
        found = (
            f"has no column {' and no column '.join(missing)}"
            if missing
            else f"has an unknown column {unknown[0]!r}"
            if unknown
            else f"has two columns {twice[0]}"
        )
        raise TalkfaceError(f"{path} {found}.", f"Its first line names the columns: {', '.join(known)}.")


def _row(
    path: Path, line: int, columns: list[str], cells: list[str], options: RenderOptions
) -> tuple[Path, Path, PurePath | None, RenderOptions]:
    """Return photo, speech, name of the video and options in one line of the CSV file."""
    if len(cells) > len(columns):
        raise TalkfaceError(
            f"{path}, line {line}: {len(cells)} cells, but there are {len(columns)} columns.",
            "Put cells that contain a comma, such as a box, in double quotes.",
        )
    values = {name: cell.strip() for name, cell in zip(columns, cells, strict=False) if cell.strip()}
    for name in REQUIRED:
        if name not in values:
            raise TalkfaceError(f"{path}, line {line}: the {name} is missing.", f"Name a file in the column {name}.")
    try:
        changes: dict[str, Any] = {
            name: parse_option(name, text) for name, text in values.items() if name not in (*REQUIRED, "out")
        }
        if changes.get("weights"):
            changes["weights"] = weights_path(changes["weights"], path.parent)
        options = replace(options, **changes)
    except TalkfaceError as error:
        raise TalkfaceError(f"{path}, line {line}: {error}", error.fix) from error
    out = PurePath(values["out"]) if "out" in values else None
    if out is not None:
        _check_out(f"{path}, line {line}", out)
    return path.parent / values["photo"], path.parent / values["speech"], out, options


def _check_out(where: str, out: PurePath) -> None:
    if out.is_absolute() or ".." in out.parts or out.parts[0].startswith(".talkface"):
        raise TalkfaceError(
            f"{where}: out {out} is not inside the folder of the batch.", "Give a name relative to --out-dir."
        )
    if out.suffix.lower() not in VIDEO_SUFFIXES:
        raise TalkfaceError(
            f"{where}: out {out} does not end in {', '.join(VIDEO_SUFFIXES)}: the video is an mp4.",
            f"Use {out.stem or 'out'}.mp4.",
        )


def named(rows: Sequence[tuple[Path, Path, PurePath | None, RenderOptions]]) -> tuple[Job, ...]:
    """Number the jobs, and name the videos that have no name yet.

    A video is called PHOTO_SPEECH.mp4; where several would have that name, with the suffixes of both files, such as
    ann.png_hello.wav.mp4.

    Raises:
        TalkfaceError: two jobs would write the same video, or an input is standard input.
    """
    for photo, speech, _, _ in rows:
        if str(photo) in STDIN_NAMES or str(speech) in STDIN_NAMES:
            raise TalkfaceError("Standard input cannot be an input of a batch.", "Save it in a file and name that.")
    short = [out or PurePath(f"{photo.stem}_{speech.stem}.mp4") for photo, speech, out, _ in rows]
    shared = {name for name, jobs in _by_name(short).items() if len(jobs) > 1}
    full = [
        PurePath(f"{photo.name}_{speech.name}.mp4") if out is None and _key(name) in shared else name
        for name, (photo, speech, out, _) in zip(short, rows, strict=True)
    ]
    for jobs in _by_name(full).values():
        if len(jobs) > 1:
            first, second = jobs[:2]
            raise TalkfaceError(
                f"Jobs {first + 1} and {second + 1} would both write {full[first]}.",
                "Give them different names in the column out of --jobs.",
            )
    return tuple(
        Job(number, photo, speech, Path(name), options)
        for number, ((photo, speech, _, options), name) in enumerate(zip(rows, full, strict=True), start=1)
    )


def _by_name(names: Iterable[PurePath]) -> dict[str, list[int]]:
    """Return the indexes of the jobs by the name of their video; letter case counts as equal, as on many disks."""
    jobs: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        jobs[_key(name)].append(index)
    return jobs


def _key(name: PurePath) -> str:
    return os.path.normpath(name).casefold()


def _files(folder: Path, suffixes: Sequence[str], what: str, on_note: Callable[[str], None]) -> Iterator[Path]:
    """Yield the files of a folder that have one of the suffixes, by name."""
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise TalkfaceError(f"{folder} may not be read: {error.strerror}.", "Change its permissions.") from error
    wanted = [path for path in files if path.suffix.lower() in suffixes]
    others = [path.name for path in files if path.suffix.lower() not in suffixes]
    if not wanted:
        raise TalkfaceError(
            f"{folder} has no {what}: none of its {len(files)} files is called {_some(suffixes)}.",
            f"Name a folder of {what}.",
        )
    if others:
        on_note(f"Passed over in {folder}, because they are not called like {what}: {_some(others)}.")
    return iter(wanted)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
