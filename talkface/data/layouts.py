"""Where the videos of a data set lie, who speaks in them and which split they belong to.

lrw      lipread_mp4/WORD/{train,val,test}/WORD_nnnnn.mp4, as downloaded; --source may be lipread_mp4 or its parent.
         The .txt beside a clip is not needed. LRW does not say who speaks; a folder such as SPK07 is a speaker.
grid     sN/NAME.mpg or .mp4, also below sN/video/. Split by speaker: GRID_TEST and the rest.
folder   any tree of videos; split by a list, or by a hash of the folder that a video lies in, which is taken for
         the speaker, so that nobody is in two splits.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from talkface.config import SPLITS
from talkface.errors import TalkfaceError

LAYOUTS = ("lrw", "grid", "folder")
# By preference: of a clip that is there twice (GRID's .mpg and a .mp4 made of it) the first of these is read.
VIDEO_SUFFIXES = (
    *(".mpg", ".mpeg", ".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mts", ".m2ts", ".ts", ".flv", ".wmv"),
    *(".3gp", ".ogv", ".vob"),
)
GRID_TEST = {"s2", "s3", "s5", "s10", "s20", "s22", "s23"}
PIECE = "+"  # in the name of a clip, before the number of the piece
TRAIN_SHARE, VAL_SHARE = 0.9, 0.05  # of the folders of the folder layout

EXPECTED = {
    "lrw": "lipread_mp4/WORD/{train,val,test}/WORD_00001.mp4",
    "grid": "s1/bbaf2n.mpg or s1/video/bbaf2n.mpg",
    "folder": "any folders with .mp4, .mov, .mkv, .mpg, .webm or .avi files",
}


@dataclass(frozen=True, order=True)
class Source:
    """A video that may become a clip."""

    split: str
    name: str
    """Unique in the data set; the name of the clip."""

    speaker: str
    """"" where unknown."""

    path: Path
    file: str
    """The same path below the folder that was searched, with "/"."""


def find_sources(layout: str, folder: Path, split: str | None = None, split_list: Path | None = None) -> list[Source]:
    """The videos of a data set, sorted by split and name.

    Args:
        layout: lrw, grid or folder.
        folder: what was downloaded.
        split: only this one.
        split_list: for the folder layout, a text file with a line "PATH SPLIT" for each video or folder below `folder`.

    Raises:
        TalkfaceError: the folder is missing, holds no video in this layout, or none of the split.
    """
    folder = Path(folder)
    if not folder.is_dir():
        problem = f"--source {folder} is not a folder." if folder.exists() else f"--source {folder} does not exist."
        raise TalkfaceError(problem, f"Give the folder that holds {EXPECTED[layout]}.")
    if layout == "lrw":
        found = _lrw(folder)
    elif layout == "grid":
        found = _grid(folder)
    else:
        found = _folder(folder, _read_split_list(split_list) if split_list else None)
    if not found:
        raise TalkfaceError(
            f"No video in the {layout} layout in {folder} ({_contents(folder)}).",
            f"Expected {EXPECTED[layout]}; --data folder takes any tree of videos.",
        )
    chosen = sorted(source for source in found if split in (None, source.split))
    if not chosen:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(Counter(s.split for s in found).items()))
        raise TalkfaceError(f"No video of split {split} in {folder} (found: {counts}).", "Choose another --split.")
    return chosen


def _lrw(folder: Path) -> list[Source]:
    root = folder / "lipread_mp4" if (folder / "lipread_mp4").is_dir() else folder
    videos = [path for path in _videos(root) if len(path.relative_to(root).parts) == 3 and path.parent.name in SPLITS]
    return [
        Source(path.parent.name, name, _lrw_speaker(path.parts[-3]), path, path.relative_to(folder).as_posix())
        for name, path in _named(root, videos)
    ]


def _lrw_speaker(word: str) -> str:
    """The folder is a word in LRW, whose speakers are unknown, and a speaker in sets such as LRW-AR."""
    return word if re.fullmatch(r"(?i)(spk|speaker|id|s)[-_]?\d+", word) else ""


def _grid(folder: Path) -> list[Source]:
    best: dict[str, Source] = {}
    for path in sorted(_videos(folder), key=lambda path: (VIDEO_SUFFIXES.index(path.suffix.lower()), path)):
        parts = [folder.name, *path.relative_to(folder).parts[:-1]]
        speakers = [found[1].lower() for part in parts if (found := re.fullmatch(r"(?i)(s\d+)([._-].*)?", part))]
        if speakers:
            speaker = speakers[-1]
            name = f"{speaker}/{_member_name(path.stem)}"
            split = "test" if speaker in GRID_TEST else "train"
            best.setdefault(name, Source(split, name, speaker, path, path.relative_to(folder).as_posix()))
    return list(best.values())


def _folder(folder: Path, listed: dict[str, str] | None) -> list[Source]:
    sources = []
    for name, path in _named(folder, _videos(folder)):
        below = path.relative_to(folder)
        speaker = below.parent.as_posix().removeprefix(".")
        split = _hashed_split(speaker or path.stem) if listed is None else _listed_split(below, listed)
        if split:
            sources.append(Source(split, name, speaker, path, below.as_posix()))
    return sources


def _hashed_split(text: str) -> str:
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
    return "train" if share < TRAIN_SHARE else "val" if share < TRAIN_SHARE + VAL_SHARE else "test"


def _listed_split(path: Path, listed: dict[str, str]) -> str | None:
    """The split of the longest listed path that the video is, or lies in; videos that nobody listed stay out."""
    steps = [path.as_posix(), path.with_suffix("").as_posix(), *(parent.as_posix() for parent in path.parents)]
    return next((listed[step] for step in steps if step in listed), None)


def _read_split_list(path: Path) -> dict[str, str]:
    if not Path(path).is_file():
        raise TalkfaceError(f"The list of splits {path} does not exist.", 'Its lines are "PATH SPLIT".')
    listed = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        where, _, split = line.strip().replace("\t", " ").replace(",", " ").rpartition(" ")
        if split not in SPLITS or not where:
            raise TalkfaceError(f"{path}, line {number}: {line!r}.", 'Write "PATH SPLIT", with train, val or test.')
        listed[where.strip().rstrip("/")] = split
    return listed


def _videos(root: Path) -> list[Path]:
    """Files that call themselves videos; macOS's ._ files and hidden folders don't count."""
    found = (path for path in root.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(root).parts))


def _named(root: Path, videos: list[Path]) -> list[tuple[str, Path]]:
    """Each video with its name: its path below `root` without suffix, or a longer one where two would be the same."""
    plain = {path: _member_name(path.relative_to(root).with_suffix("").as_posix()) for path in videos}
    times = Counter(plain.values())
    return [(plain[path] if times[plain[path]] == 1 else _full_name(path.relative_to(root)), path) for path in videos]


def _full_name(path: Path) -> str:
    """A name that no other path has, for "a.b.mp4" beside "a_b.mp4" and "a_b.mov"."""
    return f"{_member_name(path.as_posix())}-{hashlib.sha256(path.as_posix().encode()).hexdigest()[:6]}"


def _member_name(name: str) -> str:
    """`name` as WebDataset can tell it from the suffix that follows, and from that of a piece: without "." and "+"."""
    return name.replace(".", "_").replace(PIECE, "_")


def piece_name(video: str, piece: int) -> str:
    """The name of a clip that is one piece of a long video, as in "talks/monday+003"."""
    return f"{video}{PIECE}{piece:03d}"


def video_name(clip: str) -> str:
    """The name of the video that a clip was made of."""
    return clip.partition(PIECE)[0]


def _contents(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return f"it holds {', '.join(names[:4])}{' ...' if len(names) > 4 else ''}" if names else "it is empty"
