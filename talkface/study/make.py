"""Makes the page of a user study from folders of videos: one folder for each method, the same file names in each."""

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
from typing import Any

from talkface.errors import TalkfaceError
from talkface.files import atomic_write, make_folder

FORMAT = 1
QUESTIONS = ("realistic", "in_step")
TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm"}
EMBED_UP_TO = 50_000_000  # bytes of video in one page; a phone still opens a page of this size
MOST_TRIALS = 20  # clips that one participant sees unless the configuration says otherwise
MEDIA = "media"
MARKER = "<!--STUDY-->"


@dataclass(frozen=True)
class StudyConfig:
    """The settings of one study."""

    videos: tuple[Path, ...]
    """One folder for each method. A clip is a file name (without suffix) that all folders have."""

    out: Path
    """Folder for index.html. It is created if it is missing."""

    reference: Path | None = None
    """Folder of the real recordings. The page shows the real recording above the generated videos (the paper's
    "referring to the ground truth")."""

    trials: int | None = None
    """Number of clips that one participant sees. None takes all, up to 20."""

    at_once: int | None = None
    """Number of videos to choose between. None shows the videos of all methods, as the paper does; 2 compares pairs."""

    checks: int = 2
    """Number of attention checks: questions that tell the participant which video to choose."""

    title: str = "Which face speaks best?"
    """Heading of the page."""

    embed: bool | None = None
    """Whether index.html contains the videos. None embeds up to 50 MB; more goes into a folder beside the page."""

    seed: int = 0
    """Seed of the random numbers that stand for the methods and clips."""


@dataclass
class Study:
    """What `make_study` made."""

    page: Path
    methods: list[str]
    clips: list[str]
    trials: int
    notes: list[str] = field(default_factory=list)
    """Sentences for the user, such as which clips were left out."""


def make_study(config: StudyConfig) -> Study:
    """Writes `out/index.html`, and `out/media/` if the page does not contain the videos.

    The page refers to methods and clips by number only. It carries an encoded table of what the numbers stand for,
    which `tally` reads. Participants do not see that table, but anyone who inspects the page's source can decode it.

    Raises:
        TalkfaceError: there are fewer than two folders, no clip is in all of them, two settings contradict each other,
            or the page cannot be written.
    """
    methods = _method_names(config)
    found = [_videos_of(folder) for folder in config.videos]
    clips, notes = _shared_clips(found, methods)
    reference = _videos_of(config.reference) if config.reference else {}
    _check_reference(reference, clips, config)
    draw = random.Random(config.seed)
    draw.shuffle(clips)
    order = draw.sample(range(len(methods)), len(methods))  # the number of a method is its position in this order
    shown, media = _name_videos(config, clips, [found[method] for method in order], reference)
    embedded = config.embed
    if embedded is None:
        embedded = sum(path.stat().st_size for path in media.values()) <= EMBED_UP_TO
    sealed = {"methods": [methods[method] for method in order], "clips": clips}
    trials = min(config.trials or MOST_TRIALS, len(clips))
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
        raise TalkfaceError("A study compares at least two methods.", "Give two or more folders: --videos A/ B/")
    if len(set(names)) < len(names):
        raise TalkfaceError(
            f"Two folders have the same name ({', '.join(names)}).",
            "Rename one of them: a folder's name is the name of its method.",
        )
    at_once = config.at_once or len(names)
    if not 2 <= at_once <= len(names):
        raise TalkfaceError(
            f"--at-once {at_once} does not fit {len(names)} methods.", f"Give a number from 2 to {len(names)}."
        )
    if (config.trials is not None and config.trials < 1) or config.checks < 0:
        raise TalkfaceError(
            f"--trials {config.trials} with --checks {config.checks} is not a valid study.",
            "Give --trials of at least 1 and --checks of at least 0.",
        )
    return names


def _videos_of(folder: Path) -> dict[str, Path]:
    """The videos in `folder` that a browser can play, by file name without suffix."""
    if not Path(folder).is_dir():
        raise TalkfaceError(f"{folder} is not a folder.", "Give one folder of videos for each method.")
    return {path.stem: path for path in sorted(Path(folder).iterdir()) if path.suffix.lower() in TYPES}


def _shared_clips(found: list[dict[str, Path]], methods: list[str]) -> tuple[list[str], list[str]]:
    shared = sorted(set.intersection(*map(set, found)))
    if not shared:
        counts = ", ".join(f"{name} {len(videos)}" for name, videos in zip(methods, found, strict=True))
        raise TalkfaceError(
            f"No file name is in every folder (videos: {counts}).",
            f"Give a clip the same name in each folder, such as A/one.mp4 and B/one.mp4; suffixes: {' '.join(TYPES)}.",
        )
    extras = {name: sorted(set(videos) - set(shared)) for name, videos in zip(methods, found, strict=True)}
    return shared, [
        f"{name}: {', '.join(extra)} left out, not in every folder." for name, extra in extras.items() if extra
    ]


def _check_reference(reference: dict[str, Path], clips: list[str], config: StudyConfig) -> None:
    missing = [clip for clip in clips if config.reference and clip not in reference]
    if missing:
        raise TalkfaceError(
            f"{config.reference} lacks {missing[0]}{f' and {len(missing) - 1} more' if missing[1:] else ''}.",
            "Add the real recording of every clip, with the clip's file name.",
        )


def _name_videos(
    config: StudyConfig, clips: list[str], versions: list[dict[str, Path]], reference: dict[str, Path]
) -> tuple[list[dict[str, Any]], dict[str, Path]]:
    """What the page knows of each clip, and the files by the names that the page uses.

    Args:
        config: the study.
        clips: file names without suffix, in the order of the page's clip numbers.
        versions: for each method, in the order of the page's method numbers, its videos by clip.
        reference: the real recordings by clip; empty if the page shows none.
    """
    shown: list[dict[str, Any]] = []
    media: dict[str, Path] = {}
    for number, clip in enumerate(clips):
        names = [_name(config, number, method) for method in range(len(versions))]
        media |= dict(zip(names, (videos[clip] for videos in versions), strict=True))
        shown.append({"id": number, "versions": names})
        if clip in reference:
            name = _name(config, number, "reference")
            shown[-1]["reference"] = name
            media[name] = reference[clip]
    return shown, media


def _name(config: StudyConfig, clip: int, version: int | str) -> str:
    """A name that reveals neither the method nor the clip."""
    return hashlib.sha256(f"{config.seed}/{clip}/{version}/{config.title}".encode()).hexdigest()[:16]


def _study_id(sealed: dict[str, Any], media: dict[str, Path]) -> str:
    """A hash of what is compared, by which `tally` recognises the answers to another study."""
    digest = hashlib.sha256(json.dumps(sealed).encode())
    for name, path in media.items():
        digest.update(name.encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _write(config: StudyConfig, data: dict[str, Any], media: dict[str, Path], embedded: bool) -> None:
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


def _scripts(data: dict[str, Any], media: dict[str, Path]) -> Iterator[str]:
    """The study's data, then each video as base64 text; the page makes a Blob of that text when it shows the video."""
    plain = json.dumps(data).replace("<", "\\u003c")
    yield f'<script id="study" type="application/json">{plain}</script>\n'
    for name, path in media.items():
        yield f'<script id="video-{name}" type="text/plain">'
        yield base64.b64encode(path.read_bytes()).decode()
        yield "</script>\n"
