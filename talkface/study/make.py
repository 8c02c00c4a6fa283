"""Makes the page of a user study from folders of videos, one folder a method, the same file names in each."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from talkface.errors import TalkfaceError
from talkface.files import atomic_write, make_folder

FORMAT = 1
QUESTIONS = ("realistic", "in_step")
TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm"}
EMBED_UP_TO = 50_000_000  # bytes of video that one file may carry: a phone still opens it
MEDIA = "media"
MARKER = "<!--STUDY-->"


@dataclass(frozen=True)
class StudyConfig:
    """One study."""

    videos: tuple[Path, ...]
    """Folders, one a method; a clip is a file name (without suffix) that all of them have."""

    out: Path
    """Folder for index.html, made if it is missing."""

    reference: Path | None = None
    """Folder of the real recordings, shown above the others as what the speech looked like (the paper's "referring to
    the ground truth")."""

    trials: int | None = None
    """Clips that one participant sees; None takes all, up to 20."""

    at_once: int | None = None
    """Videos to choose between; None shows every method's, as the paper does. 2 compares in pairs."""

    checks: int = 2
    """Attention checks mixed in: the question tells which video to choose."""

    title: str = "Which face speaks best?"
    """Heading of the page."""

    embed: bool | None = None
    """Whether the videos go into index.html; None does so up to 50 MB, and else into a folder beside it."""

    seed: int = 0
    """Of the numbers that stand for methods and clips."""


@dataclass
class Study:
    """What was made."""

    page: Path
    methods: list[str]
    clips: list[str]
    trials: int
    notes: list[str] = field(default_factory=list)


def make_study(config: StudyConfig) -> Study:
    """Writes `out/index.html`, and `out/media/` where the videos are not inside it.

    The page knows methods and clips by number alone; what the numbers stand for is sealed in it for `tally`, out of a
    participant's sight but not proof against one who takes the page apart.

    Raises:
        TalkfaceError: fewer than two folders, no clip that all have, settings that do not go together, or a page that
            cannot be written.
    """
    methods = _method_names(config)
    found = [_videos_of(folder) for folder in config.videos]
    clips, notes = _shared_clips(found, methods)
    reference = _videos_of(config.reference) if config.reference else {}
    _check_reference(reference, clips, config)
    trials = min(config.trials or 20, len(clips))
    draw = random.Random(config.seed)
    draw.shuffle(clips)
    order = draw.sample(range(len(methods)), len(methods))  # the number of a method is its place in this order
    media = {}
    shown = []
    for number, clip in enumerate(clips):
        versions = [found[method][clip] for method in order]
        names = [_name(config, number, place) for place in range(len(versions))]
        media |= dict(zip(names, versions, strict=True))
        shown.append({"id": number, "versions": names})
        if clip in reference:
            shown[-1]["reference"] = _name(config, number, "reference")
            media[shown[-1]["reference"]] = reference[clip]
    embedded = config.embed
    if embedded is None:
        embedded = sum(path.stat().st_size for path in media.values()) <= EMBED_UP_TO
    sealed = {"methods": [methods[method] for method in order], "clips": clips}
    data = {
        "format": FORMAT,
        "study": _study_id(sealed, media),
        "title": config.title,
        "methods": len(methods),
        "atOnce": config.at_once or len(methods),
        "trials": trials,
        "checks": config.checks,
        "clips": shown,
        "types": {name: TYPES[path.suffix.lower()] for name, path in media.items()},
        "folder": None if embedded else MEDIA,
        "suffixes": {name: path.suffix.lower() for name, path in media.items()},
        "sealed": base64.b64encode(json.dumps(sealed).encode()).decode(),
    }
    _write(config, data, media, embedded)
    return Study(config.out / "index.html", methods, clips, trials, notes)


def _method_names(config: StudyConfig) -> list[str]:
    names = [folder.resolve().name for folder in config.videos]
    if len(names) < 2:
        raise TalkfaceError("A study compares at least two methods.", "Give two folders or more: --videos A/ B/")
    if len(set(names)) < len(names):
        raise TalkfaceError(f"Two folders have one name ({', '.join(names)}).", "Rename one: it is the method's name.")
    at_once = config.at_once or len(names)
    if not 2 <= at_once <= len(names):
        raise TalkfaceError(
            f"--at-once {at_once} does not go with {len(names)} methods.", f"Give a number from 2 to {len(names)}."
        )
    if (config.trials is not None and config.trials < 1) or config.checks < 0:
        raise TalkfaceError(
            f"--trials {config.trials}, --checks {config.checks} make no study.", "Give at least 1 and 0."
        )
    return names


def _videos_of(folder: Path) -> dict[str, Path]:
    """The videos that a browser plays, by file name without suffix."""
    if not Path(folder).is_dir():
        raise TalkfaceError(f"{folder} is not a folder.", "Give one folder of videos for each method.")
    return {path.stem: path for path in sorted(Path(folder).iterdir()) if path.suffix.lower() in TYPES}


def _shared_clips(found: list[dict[str, Path]], methods: list[str]) -> tuple[list[str], list[str]]:
    shared = sorted(set.intersection(*map(set, found)))
    if not shared:
        counts = ", ".join(f"{name} {len(videos)}" for name, videos in zip(methods, found, strict=True))
        raise TalkfaceError(
            f"No file name is in every folder (videos: {counts}).",
            f"Give the same clip the same name in each, as A/one.mp4 B/one.mp4; suffixes: {' '.join(TYPES)}.",
        )
    left = {name: sorted(set(videos) - set(shared)) for name, videos in zip(methods, found, strict=True)}
    return shared, [
        f"{name}: {', '.join(extra)} left out, not in every folder." for name, extra in left.items() if extra
    ]


def _check_reference(reference: dict[str, Path], clips: list[str], config: StudyConfig) -> None:
    missing = [clip for clip in clips if config.reference and clip not in reference]
    if missing:
        raise TalkfaceError(
            f"{config.reference} lacks {missing[0]}{f' and {len(missing) - 1} more' if missing[1:] else ''}.",
            "Give the real recording of every clip, under the clip's name.",
        )


def _name(config: StudyConfig, clip: int, version: int | str) -> str:
    """A name that says nothing of method or clip."""
    return hashlib.sha256(f"{config.seed}/{clip}/{version}/{config.title}".encode()).hexdigest()[:16]


def _study_id(sealed: dict, media: dict[str, Path]) -> str:
    """Follows from what is compared, so that answers to another study are told apart."""
    digest = hashlib.sha256(json.dumps(sealed).encode())
    for name, path in media.items():
        digest.update(name.encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _write(config: StudyConfig, data: dict, media: dict[str, Path], embedded: bool) -> None:
    make_folder(config.out)
    if not embedded:
        make_folder(config.out / MEDIA)
        for name, path in media.items():
            with atomic_write(config.out / MEDIA / f"{name}{path.suffix.lower()}") as beside:
                shutil.copyfile(path, beside)
    template = files("talkface.study").joinpath("page.html").read_text(encoding="utf-8")
    head, tail = template.replace("TITLE", html.escape(config.title)).split(MARKER)
    with atomic_write(config.out / "index.html") as beside, beside.open("w", encoding="utf-8") as file:
        file.write(head)
        for part in _scripts(data, media if embedded else {}):
            file.write(part)
        file.write(tail)


def _scripts(data: dict, media: dict[str, Path]) -> Iterator[str]:
    """The study's data, and each video as text that the page turns into a Blob when it is wanted."""
    plain = json.dumps(data).replace("<", "\\u003c")
    yield f'<script id="study" type="application/json">{plain}</script>\n'
    for name, path in media.items():
        yield f'<script id="video-{name}" type="text/plain">'
        yield base64.b64encode(path.read_bytes()).decode()
        yield "</script>\n"
