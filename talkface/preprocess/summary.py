"""From finished shards to a data set: index, manifest, sound offset, counts, and a picture to look at.

All of it follows from the shards' own indexes, so it can be made again at any time and by any of several array jobs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from talkface.data.clip import unpack
from talkface.data.reader import evenly_spaced
from talkface.data.shards import (
    DATASET,
    FORMAT,
    INDEX,
    read_lines,
    read_members,
    shard_indexes,
    write_bytes,
    write_json,
    write_lines,
)
from talkface.preprocess import gates
from talkface.preprocess.sync import LAGS, out_of_step, pooled_offset

MANIFEST = "manifest.jsonl"
CONTACT_SHEET = "contact_sheet.png"
SHEET_CLIPS, SHEET_COLUMNS, SHEET_SIZE = 48, 8, 128
DOUBTS = (("yaw", 1), ("jump", 1), ("change", 1), ("eye_distance", -1))  # figures whose extremes are worth a look


@dataclass(frozen=True)
class Summary:
    """What a data set holds."""

    counts: dict[tuple[str, str], int]
    """Videos by (split, what became of them): "kept" or the reason for skipping."""

    frames: int
    bytes_per_clip: int
    av_offset: float
    """Seconds by which the sound lags the picture in the data set as a whole; corrected when clips are read."""

    av_correlation: float
    """Correlation of mouth and loudness at that offset."""


def summarise(root: Path, name: str) -> Summary:
    """Write a data set's index.jsonl, manifest.jsonl, dataset.json and contact_sheet.png from its finished shards.

    Raises:
        TalkfaceError: they cannot be written, as on a full disk, or a shard is shorter than its index says.
    """
    while True:
        parts = shard_indexes(root)
        lines = sorted(
            (line for part in parts for line in read_lines(part)), key=lambda line: (line["split"], line["name"])
        )
        summary = _write(root, name, lines)
        if shard_indexes(root) == parts:  # else another job has finished a shard meanwhile, and may have read too early
            return summary


def _write(root: Path, name: str, lines: list[dict]) -> Summary:
    offset, correlation = _offset(lines)
    lines = [_judged(line, offset) for line in lines]
    kept = [line for line in lines if line["status"] == gates.KEPT]
    write_lines(root / MANIFEST, (_manifest_line(line) for line in lines))
    write_lines(root / INDEX, (_index_line(line, offset) for line in kept))
    counts = Counter((line["split"], line["status"]) for line in lines)
    frames = sum(line["frames"] for line in kept)
    size = sum(sum(line["data"][-1]) for line in kept)
    facts = {"format": FORMAT, "name": name, "clips": len(kept), "frames": frames, "av_offset": offset}
    _write_contact_sheet(root, kept)
    write_json(root / DATASET, facts | {"av_correlation": round(correlation, 3)})  # last: the data set is there now
    return Summary(dict(counts), frames, size // max(len(kept), 1), offset, correlation)


def _offset(lines: list[dict]) -> tuple[float, float]:
    kept = [line for line in lines if line["status"] == gates.KEPT and line.get("sound", True)]
    curves = np.array([line["curve"] for line in kept]).reshape(-1, len(LAGS))
    return pooled_offset(curves, np.array([line["frames"] for line in kept]))


def _judged(line: dict, offset: float) -> dict:
    """The line, as skipped where its clip is out of step. That is known only now that the data set's offset is."""
    kept = line["status"] == gates.KEPT
    wrong = kept and out_of_step(np.array(line["curve"]), line["frames"], offset)
    return line | {"status": gates.OUT_OF_STEP} if wrong else line


def _manifest_line(line: dict) -> dict:
    about = {key: line[key] for key in ("name", "split", "speaker", "source")}
    decision = "kept" if line["status"] == gates.KEPT else "skipped"
    return about | {"decision": decision, "reason": "" if decision == "kept" else line["status"], **line["facts"]}


def _index_line(line: dict, offset: float) -> dict:
    where = ("name", "split", "speaker", "source", "frames", "shard", "offset", "data")
    return {key: line[key] for key in where} | {"sound": line.get("sound", True), "av_offset": offset}


def _write_contact_sheet(root: Path, kept: list[dict]) -> None:
    """Middle frames of clips of every speaker and, last, of the clips that are nearest to being refused."""
    if not kept:
        return
    tiles = [_tile(root, line, line["name"].split("/")[-1]) for line in _of_all_speakers(kept)]
    tiles += [_tile(root, line, label) for label, line in _doubtful(kept)]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % SHEET_COLUMNS)
    rows = [np.hstack(tiles[i : i + SHEET_COLUMNS]) for i in range(0, len(tiles), SHEET_COLUMNS)]
    picture = cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)
    write_bytes(root / CONTACT_SHEET, cv2.imencode(".png", picture)[1].tobytes())


def _of_all_speakers(kept: list[dict]) -> list[dict]:
    """At most SHEET_CLIPS clips, as many of every speaker as there is room for, each from all over what there is."""
    by_speaker: dict[tuple[str, str], list[dict]] = {}
    for line in kept:
        by_speaker.setdefault((line["split"], line["speaker"]), []).append(line)
    of_each = -(-SHEET_CLIPS // len(by_speaker))
    chosen = [lines[i] for lines in by_speaker.values() for i in evenly_spaced(len(lines), of_each)]
    return [chosen[i] for i in evenly_spaced(len(chosen), SHEET_CLIPS)]


def _doubtful(kept: list[dict]) -> list[tuple[str, dict]]:
    """(label, line) of the two clips with the most of each figure in DOUBTS, least where its sign is negative."""
    chosen = []
    for figure, sign in DOUBTS:
        ranked = sorted(kept, key=lambda line: -sign * line["facts"][figure])
        chosen += [(f"{figure} {line['facts'][figure]}", line) for line in ranked[:2]]
    return chosen


def _tile(root: Path, line: dict, label: str) -> np.ndarray:
    clip = unpack(read_members(root, line))
    middle = len(clip) // 2
    face = clip.frame(middle).copy()
    for x, y in np.concatenate([clip.lips[middle], clip.eyes[middle]]):
        cv2.circle(face, (round(float(x)), round(float(y))), 1, (0, 255, 0), -1)
    face = cv2.resize(face, (SHEET_SIZE, SHEET_SIZE), interpolation=cv2.INTER_AREA)
    return cv2.putText(face, label[:18], (2, 10), cv2.FONT_HERSHEY_PLAIN, 0.7, (255, 255, 0))
