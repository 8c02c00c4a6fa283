"""The sample: clips of the GRID corpus that are part of the package, as the data set "sample".

    grid_sample/sN/NAME.mp4      the clips in GRID's layout, H.264 and AAC of 16 kHz
    grid_sample/landmarks.npz    what `talkface preprocess` found in them, so that the sample needs no face detector
    grid_sample/clips.json       split, speaker and sound offset of each clip

`sample_root` unpacks them into the user's cache when the data set is first opened. `examples/make_grid_sample.py` makes
the folder. The clips are by Cooke, Barker, Cunningham and Shao (CC BY 4.0): see grid_sample/README.md.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from talkface.config import SPLITS, cache_dir
from talkface.data.clip import ARRAYS, Clip, encode_frame, encode_sound
from talkface.data.shards import DATASET, FORMAT, INDEX, SHARDS, ShardWriter, read_lines, shard_indexes
from talkface.errors import TalkfaceError
from talkface.files import write_json, write_lines

NAME = "sample"
SOURCE = Path(__file__).parent / "grid_sample"
CLIPS, LANDMARKS = "clips.json", "landmarks.npz"
STEPS_PER_PX = 64
"""Landmarks are stored as whole numbers of 1/64 px, as differences from frame to frame: a fifth of the bytes."""

POINTS = ("lips", "points68", "eyes")


@functools.cache
def sample_root() -> Path:
    """Return the folder of the data set, which is made on first use (about 3 s on one core).

    The folder is in the user's cache. If that cannot be written, it is a temporary folder that this process deletes.
    Several processes may call this at once: each makes its own copy, and one of them remains.

    Raises:
        TalkfaceError: neither the cache nor the folder of temporary files can be written, or there is no ffmpeg.
    """
    root = cache_dir() / f"{NAME}-{_version()}" / NAME
    if _complete(root):
        return root
    beside = None
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".part-", dir=root.parent))
        unpack_sample(beside)
        if root.exists() and not _complete(root):  # someone has deleted a part of the cache
            shutil.rmtree(root)
        with suppress(OSError):  # another process was faster
            beside.rename(root)
        if _complete(root):
            return root
    except (OSError, TalkfaceError):
        pass  # a read-only home, or a full disk: the folder of temporary files may be elsewhere
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
    return _temporary()


def unpack_sample(root: Path) -> None:
    """Write the sample as a data set, as `talkface preprocess` does.

    Args:
        root: folder of the data set; it is created.

    Raises:
        TalkfaceError: the folder cannot be written, or there is no ffmpeg.
    """
    about = json.loads((SOURCE / CLIPS).read_text(encoding="utf-8"))
    with np.load(SOURCE / LANDMARKS, allow_pickle=False) as stored:
        for split in SPLITS:
            with ShardWriter(root, f"{split}-00000") as writer:
                for facts in about:
                    if facts["split"] == split:
                        writer.add(_clip(facts, stored), av_offset=facts["av_offset"])
    lines = [line for part in shard_indexes(root) for line in read_lines(part)]
    write_lines(root / INDEX, lines)
    frames = sum(line["frames"] for line in lines)
    # Last: a data set without this file is not finished.
    write_json(
        root / DATASET, {"format": FORMAT, "name": NAME, "layout": "grid", "clips": len(lines), "frames": frames}
    )


def pack_landmarks(clips: list[Clip]) -> dict[str, np.ndarray]:
    """Return the content of landmarks.npz: for each clip its arrays of points and its transforms, by CLIP.ARRAY."""
    packed: dict[str, np.ndarray] = {}
    for clip in clips:
        for name in POINTS:
            whole = np.round(getattr(clip, name) * STEPS_PER_PX).astype(np.int16)
            packed[f"{clip.name}.{name}"] = np.diff(whole, axis=0, prepend=np.zeros_like(whole[:1]))
        packed[f"{clip.name}.transforms"] = clip.transforms.astype(np.float32)
    return packed


def _clip(facts: dict[str, Any], stored: Any) -> Clip:
    """One clip: its points as stored, its frames and its sound from its video."""
    from talkface.face.align import warp  # here, because the data sets of a user need no ffmpeg and no librosa
    from talkface.media.audio import load_speech, load_waveform
    from talkface.media.video import read_frames

    name = facts["name"]
    video = SOURCE / f"{name}.mp4"
    arrays: dict[str, Any] = {
        key: np.cumsum(stored[f"{name}.{key}"], axis=0, dtype=np.int16).astype(np.float32) / STEPS_PER_PX
        for key in POINTS
    }
    arrays["transforms"] = stored[f"{name}.transforms"].astype(np.float64)
    arrays["mfcc_steps"] = load_speech(video).mfcc
    pictures = [warp(frame, matrix) for frame, matrix in zip(read_frames(video), arrays["transforms"], strict=True)]
    return Clip(
        name=name,
        dataset=NAME,
        split=facts["split"],
        speaker=facts["speaker"],
        source=f"{name}.mp4",
        **{key: arrays[key] for key in ARRAYS},
        encoded=[encode_frame(picture) for picture in pictures],
        sound=encode_sound(load_waveform(video)),
    )


def _complete(root: Path) -> bool:
    needed = (DATASET, INDEX, *(f"{SHARDS}/{split}-00000.tar" for split in SPLITS))
    return all((root / name).is_file() for name in needed)


def _version() -> str:
    """Return a hash of the packaged files, so that another release does not read an older cache."""
    digest = hashlib.sha256(str(FORMAT).encode())
    for path in sorted(path for path in SOURCE.rglob("*") if path.suffix in (".mp4", ".npz", ".json")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _temporary() -> Path:
    """Return the data set in a temporary folder, which is deleted when this process ends."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="talkface-sample-"))
    except OSError as error:
        raise TalkfaceError(
            f"The bundled sample cannot be unpacked: neither {cache_dir()} nor the folder of temporary files "
            f"can be written ({error.strerror}).",
            "Set TALKFACE_CACHE to a folder that may be written to and has 15 MB of space.",
        ) from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    unpack_sample(folder / NAME)
    return folder / NAME
