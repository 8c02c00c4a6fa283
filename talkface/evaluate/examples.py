"""Clips looked at frame by frame for the figures: what was real, what was generated, and how the mouths moved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from talkface.data.reader import ClipDataset
from talkface.evaluate.conditions import identity_face, spoken, tile_windows
from talkface.evaluate.config import EvalConfig
from talkface.evaluate.score import RowFrames, Scorer
from talkface.face.find import FaceFinder
from talkface.model.generator import Generator

LONGEST = 250  # frames of a clip that a figure shows: ten seconds, 50 MB for each row


@dataclass
class Example:
    """One clip with its rows, "real" first."""

    name: str
    frames: dict[str, np.ndarray]
    """uint8 (T, 256, 256, 3) by row."""
    opening: dict[str, np.ndarray]
    """(T,) by row."""
    lmd: dict[str, np.ndarray]
    """(T,) px by row, without "real"."""
    mfcc: np.ndarray | None
    """(steps, 13) of the clip's own sound from its first frame on."""


def look(
    name: str,
    real: Iterable[np.ndarray],
    rows: dict[str, Iterable[np.ndarray]],
    mfcc: np.ndarray | None,
    scorer: Scorer,
) -> Example:
    """Run the rows of one clip and keep their frames and curves, for the first `LONGEST` frames."""
    frames = {"real": np.stack(list(islice(real, LONGEST)))}
    for row, stream in rows.items():
        frames[row] = np.stack(list(islice(stream, len(frames["real"]))))
    watched = {row: RowFrames(iter(frames[row])) for row in rows}
    scores = scorer.score(name, "", iter(frames["real"]), watched, keep_curves=True)
    opening = {"real": scores[0].curves["real_opening"]} | {s.row: s.curves["opening"] for s in scores}
    return Example(name, frames, opening, {s.row: s.curves["lmd"] for s in scores}, mfcc)


def mouth_scorer(scorer: Scorer) -> Scorer:
    """A scorer of mouths alone, with the networks that are loaded already where they are."""
    return Scorer(("lmd", "mouth_r"), scorer.finder or FaceFinder(scorer.device), device=scorer.device)


def of_data_set(
    config: EvalConfig,
    clips: ClipDataset,
    number: int,
    generators: dict[str, Generator],
    donor: int | None,
    scorer: Scorer,
) -> Example:
    """Clip `number` with a row for each generator, and one for the first generator with the sound of clip `donor`."""
    clip = clips[number]
    portrait = identity_face(clip, config.identity, config.seed + number)
    device: torch.device | str = scorer.device
    rows = {name: spoken(one, portrait, clip.mfcc, device) for name, one in generators.items()}
    if donor is not None:
        wrong = tile_windows(clips[donor].mfcc, len(clip))
        rows["wrong_sound"] = spoken(next(iter(generators.values())), portrait, wrong, device)
    return look(clip.name, clip.frames(), rows, clip.mfcc_steps, scorer)


def of_videos(name: str, real: Path, fake: Path, scorer: Scorer) -> Example:
    """Two videos, brought together as for their scores."""
    from talkface.evaluate.videos import aligned, track, transforms_for
    from talkface.media.audio import load_speech
    from talkface.media.video import probe

    truth, made = track(real, scorer.finder), track(fake, scorer.finder)
    frames = min(len(truth), len(made), LONGEST)
    transforms, _ = transforms_for(truth, made, frames)
    mfcc = load_speech(real).mfcc if probe(real).has_audio else None
    return look(name, aligned(real, truth.transforms[:frames]), {"model": aligned(fake, transforms)}, mfcc, scorer)
