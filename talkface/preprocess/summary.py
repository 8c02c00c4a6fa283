"""From finished shards to a data set: index, manifest, sound offsets, counts and contact sheet.

All of this depends only on the finished shards, so it can be written again at any time by any array job.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from talkface.data.clip import unpack
from talkface.data.reader import ClipDataset, evenly_spaced
from talkface.data.shards import DATASET, FORMAT, INDEX, read_lines, read_members, shard_indexes
from talkface.files import write_json, write_lines
from talkface.labels import distinguishing_labels
from talkface.media.image import save_png
from talkface.preprocess import reasons
from talkface.preprocess.offsets import OffsetPlan, Offsets, find_offsets, guess_layout, source_names
from talkface.preprocess.sync import LAG_SECONDS, out_of_step, pooled_offset

MANIFEST = "manifest.jsonl"
CONTACT_SHEET = "contact_sheet.png"
SHEET_CLIPS, SHEET_COLUMNS, SHEET_SIZE = 48, 8, 128
LABEL_LENGTH = 18  # letters that fit on a face
# Figures whose extreme clips are shown on the contact sheet: the largest (1) or the smallest (-1) values.
BORDERLINE = (("yaw", 1), ("jump", 1), ("change", 1), ("eye_distance", -1))


@dataclass(frozen=True)
class Summary:
    """The contents of a data set."""

    counts: dict[tuple[str, str], int]
    """Number of videos by (split, status); the status is "kept" or the reason why they were skipped."""

    frames: int
    bytes_per_clip: int
    offsets: Offsets
    """The sound offset of each source, and of the data set. The reader corrects them."""

    av_correlation: float
    """Highest correlation of mouth opening and loudness, over the whole data set."""

    @property
    def av_offset(self) -> float:
        """The sound offset of the data set, in seconds: that of all clips whose source has none of its own."""
        return self.offsets.av_offset


def summarise(root: Path, name: str, layout: str | None = None, plan: OffsetPlan | None = None) -> Summary:
    """Write index.jsonl, manifest.jsonl, dataset.json and contact_sheet.png of a data set from its finished shards.

    Args:
        root: folder of the data set.
        name: of the data set.
        layout: lrw, grid, folder or photos; None for that in dataset.json, or else what the names of the clips look
            like.
        plan: where the sound offsets come from; None keeps those in dataset.json.

    Raises:
        TalkfaceError: a file cannot be written, for example because the disk is full, or a shard is shorter than its
            index says.
    """
    while True:
        parts = shard_indexes(root)
        lines = sorted(
            (line for part in parts for line in read_lines(part)), key=lambda line: (line["split"], line["name"])
        )
        summary = _write(root, name, lines, layout, plan or OffsetPlan())
        if shard_indexes(root) == parts:  # otherwise another job has finished a shard, and its summary may lack ours
            return summary


def _write(root: Path, name: str, lines: list[dict[str, Any]], layout: str | None, plan: OffsetPlan) -> Summary:
    stored = json.loads((root / DATASET).read_text(encoding="utf-8")) if (root / DATASET).is_file() else {}
    kept = [line for line in lines if line["status"] == reasons.KEPT]
    layout = layout or stored.get("layout") or guess_layout(kept)
    # The clips that turn out to be out of step are heard too: before the offset is known, no clip can be called that.
    assumed, correlation = _loudness_offset(kept)
    sources = source_names(kept, layout)
    clips = ClipDataset(root, [line | {"av_offset": assumed} for line in kept])
    offsets = find_offsets(clips, sources, assumed, plan, stored)
    offset_of = {(line["split"], line["name"]): offsets.of(source) for line, source in zip(kept, sources, strict=True)}
    lines = [_check_sync(line, offset_of.get((line["split"], line["name"]), 0.0)) for line in lines]
    kept = [line for line in lines if line["status"] == reasons.KEPT]
    write_lines(root / MANIFEST, (_manifest_line(line) for line in lines))
    write_lines(root / INDEX, (_index_line(line, offset_of[line["split"], line["name"]]) for line in kept))
    counts = Counter((line["split"], line["status"]) for line in lines)
    frames = sum(line["frames"] for line in kept)
    size = sum(sum(line["data"][-1]) for line in kept)
    _write_contact_sheet(root, kept)
    facts = {"format": FORMAT, "name": name, "layout": layout, "clips": len(kept), "frames": frames}
    facts |= {"av_offset": offsets.av_offset, "av_correlation": round(correlation, 3)}
    # Last: a data set without this file is not finished.
    write_json(root / DATASET, facts | {"sources": {n: asdict(source) for n, source in offsets.sources.items()}})
    return Summary(dict(counts), frames, size // max(len(kept), 1), offsets, correlation)


def _loudness_offset(kept: list[dict[str, Any]]) -> tuple[float, float]:
    """`pooled_offset` of the clips with sound."""
    with_sound = [line for line in kept if line.get("sound", True)]
    curves = np.array([line["curve"] for line in with_sound]).reshape(-1, len(LAG_SECONDS))
    return pooled_offset(curves, np.array([line["frames"] for line in with_sound]))


def _check_sync(line: dict[str, Any], offset: float) -> dict[str, Any]:
    """The line, with its status changed if the clip is out of step. A worker cannot know the offset of its source."""
    kept = line["status"] == reasons.KEPT
    wrong = kept and out_of_step(np.array(line["curve"]), line["frames"], offset)
    return line | {"status": reasons.OUT_OF_STEP} if wrong else line


def _manifest_line(line: dict[str, Any]) -> dict[str, Any]:
    about = {key: line[key] for key in ("name", "split", "speaker", "source")}
    decision = "kept" if line["status"] == reasons.KEPT else "skipped"
    return about | {"decision": decision, "reason": "" if decision == "kept" else line["status"], **line["facts"]}


def _index_line(line: dict[str, Any], offset: float) -> dict[str, Any]:
    where = ("name", "split", "speaker", "source", "frames", "shard", "offset", "data")
    return {key: line[key] for key in where} | {"sound": line.get("sound", True), "av_offset": offset}


def _write_contact_sheet(root: Path, kept: list[dict[str, Any]]) -> None:
    """A picture with the middle frames of clips of all speakers and, at the end, of the borderline clips."""
    if not kept:
        return
    shown = _of_all_speakers(kept)
    labels = distinguishing_labels([line["name"] for line in shown])
    tiles = [_tile(root, line, label) for line, label in zip(shown, labels, strict=True)]
    tiles += [_tile(root, line, label) for label, line in _borderline(kept)]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % SHEET_COLUMNS)
    rows = [np.hstack(tiles[i : i + SHEET_COLUMNS]) for i in range(0, len(tiles), SHEET_COLUMNS)]
    save_png(root / CONTACT_SHEET, np.vstack(rows))


def _of_all_speakers(kept: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most SHEET_CLIPS clips, evenly spaced over the speakers and over the clips of each speaker."""
    by_speaker: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in kept:
        by_speaker.setdefault((line["split"], line["speaker"]), []).append(line)
    of_each = -(-SHEET_CLIPS // len(by_speaker))
    chosen = [lines[i] for lines in by_speaker.values() for i in evenly_spaced(len(lines), of_each)]
    return [chosen[i] for i in evenly_spaced(len(chosen), SHEET_CLIPS)]


def _borderline(kept: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """(label, line) of the two most extreme clips for each figure in BORDERLINE."""
    chosen = []
    for figure, sign in BORDERLINE:
        ranked = sorted(kept, key=lambda line: -sign * line["facts"][figure])
        chosen += [(f"{figure} {line['facts'][figure]}", line) for line in ranked[:2]]
    return chosen


def _tile(root: Path, line: dict[str, Any], label: str) -> np.ndarray:
    clip = unpack(read_members(root, line))
    middle = len(clip) // 2
    face = clip.frame(middle).copy()
    for x, y in np.concatenate([clip.lips[middle], clip.eyes[middle]]):
        cv2.circle(face, (round(float(x)), round(float(y))), 1, (0, 255, 0), -1)
    face = cv2.resize(face, (SHEET_SIZE, SHEET_SIZE), interpolation=cv2.INTER_AREA)
    if len(label) > LABEL_LENGTH:
        label = f"..{label[2 - LABEL_LENGTH :]}"
    return cv2.putText(face, label, (2, 10), cv2.FONT_HERSHEY_PLAIN, 0.7, (255, 255, 0))
