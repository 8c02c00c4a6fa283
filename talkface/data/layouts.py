"""Finding the videos or photos of a data set: their files, speakers and splits.

lrw      lipread_mp4/WORD/{train,val,test}/WORD_nnnnn.mp4, as downloaded. `--source` is lipread_mp4 or its parent.
         LRW does not name its speakers; a folder such as SPK07 is taken as a speaker. The .txt files are not needed.
grid     sN/NAME.mpg or .mp4, or the same below sN/video/. Split by speaker: those of GRID_TEST are the test split.
folder   any tree of videos. The folder of a video is taken as its speaker. A list of splits, or else a hash of the
         folder, decides the split, so that no speaker is in two splits.
photos   any tree of portraits, each of another person. A list of splits, or else a hash of the name, decides the split.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from talkface.config import SPLITS
from talkface.errors import TalkfaceError

LAYOUTS = ("lrw", "grid", "folder", "photos")
# In order of preference: if a clip exists in two formats (GRID's .mpg and an .mp4 made of it), the first one is used.
VIDEO_SUFFIXES = (
    *(".mpg", ".mpeg", ".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mts", ".m2ts", ".ts", ".flv", ".wmv"),
    *(".3gp", ".ogv", ".vob"),
)
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
GRID_TEST = {"s2", "s3", "s5", "s10", "s20", "s22", "s23"}
PIECE = "+"  # in the name of a clip, before the number of the piece
TRAIN_SHARE, VAL_SHARE = 0.9, 0.05  # of the folders of the folder layout

EXPECTED = {
    "lrw": "lipread_mp4/WORD/{train,val,test}/WORD_00001.mp4",
    "grid": "s1/bbaf2n.mpg or s1/video/bbaf2n.mpg",
    "folder": "folders with .mp4, .mov, .mkv, .mpg, .webm or .avi files",
    "photos": "folders with .jpg, .png or .webp files",
}


@dataclass(frozen=True, order=True)
class Source:
    """A source video."""

    split: str
    name: str
    """Unique in the data set; also the name of the clip."""

    speaker: str
    """"" if unknown."""

    path: Path
    file: str
    """The path relative to the folder that was searched, with "/" as separator."""


def find_sources(layout: str, folder: Path, split: str | None = None, split_list: Path | None = None) -> list[Source]:
    """The videos of a data set, sorted by split and name. Symbolic links to files and folders are followed.

    Args:
        layout: lrw, grid or folder.
        folder: the folder as downloaded.
        split: if given, only the videos of this split.
        split_list: for the layouts folder and photos, a text file with a line "PATH SPLIT" for each file or folder
            in `folder`.

    Raises:
        TalkfaceError: the folder does not exist, or it has no video in this layout or in this split.
    """
    folder = Path(folder)
    if not folder.is_dir():
        problem = f"--source {folder} is not a folder." if folder.exists() else f"--source {folder} does not exist."
        raise TalkfaceError(problem, f"Give the folder that contains {EXPECTED[layout]}.")
    if layout == "lrw":
        found = _lrw(folder)
    elif layout == "grid":
        found = _grid(folder)
    else:
        found = _folder(folder, _read_split_list(split_list) if split_list else None, photos=layout == "photos")
    if not found:
        kind, other = ("photo", "") if layout == "photos" else ("video", " --data folder accepts any tree of videos.")
        raise TalkfaceError(
            f"No {kind} in the {layout} layout in {folder} ({_contents(folder)}).",
            f"Expected {EXPECTED[layout]}.{other}",
        )
    chosen = sorted(source for source in found if split in (None, source.split))
    if not chosen:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(Counter(s.split for s in found).items()))
        raise TalkfaceError(f"No video of split {split} in {folder} (found: {counts}).", "Choose another --split.")
    return chosen


def limit_evenly(sources: list[Source], limit: int) -> list[Source]:
    """At most `limit` videos of each split, spread evenly over its speakers and over the names of their videos.

    The choice depends only on `sources` and `limit`. A larger limit keeps all videos of a smaller one, so a data set
    grows if it is preprocessed again with a larger limit.

    Args:
        sources: sorted, as `find_sources` returns them.
        limit: number of videos, 1 or more.
    """
    chosen = [source for split in SPLITS for source in _spread_sources(sources, split)[:limit]]
    return sorted(chosen)


def _spread_sources(sources: list[Source], split: str) -> list[Source]:
    """The videos of a split in an order of which every prefix is spread evenly over speakers and names.

    The speakers take turns. Each of them starts at another place of the alphabet: in GRID the letters of a name stand
    for the words, so that the first videos of all speakers have nearly the same sentence.
    """
    by_speaker: dict[str, list[Source]] = {}
    for source in sources:
        if source.split == split:
            by_speaker.setdefault(source.speaker, []).append(source)
    videos = list(by_speaker.values())
    turns = [
        (turn, rank, videos[speaker][video])
        for rank, speaker in enumerate(_spread_order(len(videos)))
        for turn, video in enumerate(_spread_order(len(videos[speaker]), start=speaker / len(videos)))
    ]
    return [source for _, _, source in sorted(turns)]


def _spread_order(count: int, start: float = 0.0) -> list[int]:
    """The numbers below `count` in an order of which every prefix is spread evenly (van der Corput sequence).

    Args:
        count: how many numbers.
        start: in [0, 1), the share of the range at which the order starts.
    """
    bits = max(count - 1, 0).bit_length()
    points = (int(f"{i:0{bits}b}"[::-1], 2) / (1 << bits) for i in range(1 << bits)) if count else ()
    return list(dict.fromkeys(int((point + start) % 1 * count) for point in points))


def _lrw(folder: Path) -> list[Source]:
    root = folder / "lipread_mp4" if (folder / "lipread_mp4").is_dir() else folder
    videos = [
        path
        for path in _files(root, VIDEO_SUFFIXES)
        if len(path.relative_to(root).parts) == 3 and path.parent.name in SPLITS
    ]
    return [
        Source(path.parent.name, name, _lrw_speaker(path.parts[-3]), path, path.relative_to(folder).as_posix())
        for name, path in _named(root, videos)
    ]


def _lrw_speaker(word: str) -> str:
    """The folder is a word in LRW, whose speakers are unknown, and a speaker in data sets such as LRW-AR."""
    return word if re.fullmatch(r"(?i)(spk|speaker|id|s)[-_]?\d+", word) else ""


def _grid(folder: Path) -> list[Source]:
    best: dict[str, Source] = {}
    for path in sorted(
        _files(folder, VIDEO_SUFFIXES), key=lambda path: (VIDEO_SUFFIXES.index(path.suffix.lower()), path)
    ):
        parts = [folder.name, *path.relative_to(folder).parts[:-1]]
        speakers = [found[1].lower() for part in parts if (found := re.fullmatch(r"(?i)(s\d+)([._-].*)?", part))]
        if speakers:
            speaker = speakers[-1]
            name = f"{speaker}/{_member_name(path.stem)}"
            split = "test" if speaker in GRID_TEST else "train"
            best.setdefault(name, Source(split, name, speaker, path, path.relative_to(folder).as_posix()))
    return list(best.values())


def _folder(folder: Path, listed: dict[str, str] | None, photos: bool) -> list[Source]:
    sources = []
    for name, path in _named(folder, _files(folder, PHOTO_SUFFIXES if photos else VIDEO_SUFFIXES)):
        below = path.relative_to(folder)
        speaker = "" if photos else below.parent.as_posix().removeprefix(".")
        split = _hashed_split(speaker or path.stem) if listed is None else _listed_split(below, listed)
        if split:
            sources.append(Source(split, name, speaker, path, below.as_posix()))
    return sources


def _hashed_split(text: str) -> str:
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
    return "train" if share < TRAIN_SHARE else "val" if share < TRAIN_SHARE + VAL_SHARE else "test"


def _listed_split(path: Path, listed: dict[str, str]) -> str | None:
    """The split of the longest listed path that is the video or contains it; None if there is no such path."""
    steps = [path.as_posix(), path.with_suffix("").as_posix(), *(parent.as_posix() for parent in path.parents)]
    return next((listed[step] for step in steps if step in listed), None)


def _read_split_list(path: Path) -> dict[str, str]:
    if not Path(path).is_file():
        raise TalkfaceError(f"The list of splits {path} does not exist.", 'Give a text file with lines "PATH SPLIT".')
    listed = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        where, _, split = line.strip().replace("\t", " ").replace(",", " ").rpartition(" ")
        if split not in SPLITS or not where:
            raise TalkfaceError(
                f'{path}, line {number}: {line!r} is not "PATH SPLIT".', f"SPLIT is one of {', '.join(SPLITS)}."
            )
        listed[where.strip().rstrip("/")] = split
    return listed


def _files(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """All files with one of these suffixes, sorted. Hidden folders and files (macOS's ._ files) are left out.

    A link that leads nowhere is among them, so that it is counted as a file that cannot be read.
    """
    paths = (folder / name for folder, names in _folders(root) for name in names if not name.startswith("."))
    found = (path for path in paths if path.suffix.lower() in suffixes)
    return sorted(path for path in found if path.is_file() or (path.is_symlink() and not path.exists()))


def _folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """`root` and every folder in it, with the names of its files; links to folders are followed.

    If several paths lead to a folder, it is visited only once, by its path without links if there is one. So a link to
    a parent folder causes no endless loop, and no video is found twice, perhaps in two splits.
    """
    visited: set[str] = set()
    tops = [root]
    while tops:
        linked: list[Path] = []
        for folder, below, names in os.walk(tops.pop(0)):
            real = os.path.realpath(folder)
            if real in visited:
                below.clear()
                continue
            visited.add(real)
            below[:] = sorted(name for name in below if not name.startswith("."))
            linked += [path for name in below if (path := Path(folder, name)).is_symlink()]
            yield Path(folder), names
        tops += linked


def _named(root: Path, videos: list[Path]) -> list[tuple[str, Path]]:
    """Each video with its name: the path relative to `root` without suffix; longer if two names would be the same."""
    plain = {path: _member_name(path.relative_to(root).with_suffix("").as_posix()) for path in videos}
    times = Counter(plain.values())
    return [(plain[path] if times[plain[path]] == 1 else _full_name(path.relative_to(root)), path) for path in videos]


def _full_name(path: Path) -> str:
    """A name that no other path has, for example for "a.b.mp4" beside "a_b.mp4" and "a_b.mov"."""
    return f"{_member_name(path.as_posix())}-{hashlib.sha256(path.as_posix().encode()).hexdigest()[:6]}"


def _member_name(name: str) -> str:
    """`name` without "." and "+": in a WebDataset "." separates the suffix, and here "+" separates a piece's number."""
    return name.replace(".", "_").replace(PIECE, "_")


def piece_name(video: str, piece: int) -> str:
    """The name of the clip made of one piece of a long video, for example "talks/monday+003"."""
    return f"{video}{PIECE}{piece:03d}"


def video_name(clip: str) -> str:
    """The name of the video that a clip was made of."""
    return clip.partition(PIECE)[0]


def _contents(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return f"it holds {', '.join(names[:4])}{' ...' if len(names) > 4 else ''}" if names else "it is empty"
