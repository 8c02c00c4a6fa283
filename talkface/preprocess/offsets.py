"""The sound offset of each source: sources are out of step by different amounts, so a data set has no single offset.

A source is what was recorded together. In the layouts lrw and grid it is a speaker. In the layout folder it is a video
with its pieces, or, where videos are short, all short videos of a folder. The offset of a source is the lag at which
the openings that an Audio Encoder predicts from the sound correlate best with the real ones. Loudness alone cannot
tell: it has found -0.27 s for 59 clips of GRID whose sentences begin alike; the true offset is -0.02 s.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from talkface.config import FPS, SPLITS
from talkface.data.clip import Clip
from talkface.data.layouts import video_name
from talkface.data.reader import ClipDataset, evenly_spaced
from talkface.data.speech import clip_features
from talkface.errors import TalkfaceError
from talkface.metrics.correlation import correlation, correlation_sums
from talkface.model.checkpoint import load_generator
from talkface.model.generator import Generator
from talkface.model.lips import opening
from talkface.model.recogniser import load_speech_encoder
from talkface.preprocess.sync import peak_shift

Predictor = Callable[[Clip], np.ndarray]
"""A clip -> the mouth openings (T,) that its sound predicts."""

MAX_LAG = 4  # frames on either side of the assumed offset
LAGS = range(-MAX_LAG - 1, MAX_LAG + 2)  # frames; the outermost are only neighbours of a peak
MIN_FRAMES = 100  # of a source
MIN_CORRELATION = 0.3  # at the peak
MIN_OVERLAP = 3  # frames of a clip that a lag must leave
MAX_HEARD = 6000  # frames of a source that are heard: four minutes tell as much as an hour


@dataclass(frozen=True)
class SourceOffset:
    """The sound offset of one source."""

    av_offset: float
    """Seconds by which the sound lags behind the picture."""

    r: float | None
    """Highest correlation of predicted and real openings; None if it was not measured."""

    frames: int
    """Number of frames with sound."""

    estimated: bool
    """False if the offset is that of the data set, or was set by hand."""


@dataclass(frozen=True)
class Offsets:
    """The sound offsets of a data set."""

    av_offset: float
    """Seconds; for clips whose source has no offset of its own."""

    sources: dict[str, SourceOffset]
    note: str = ""
    """Why no offset could be estimated; "" if that was not tried or worked."""

    def of(self, source: str) -> float:
        """The offset of a source, in seconds."""
        return self.sources[source].av_offset if source in self.sources else self.av_offset

    def __str__(self) -> str:
        """The range of the estimated offsets and the number of sources; "" without sources."""
        if not self.sources:
            return ""
        found = [source.av_offset for source in self.sources.values() if source.estimated]
        if not found:
            return f"Sound offset: {self.av_offset:.3f} s for all {len(self.sources)} sources."
        text = f"Sound offset: {min(found):.3f} to {max(found):.3f} s, estimated for {len(found)} of "
        others = f"; the others take {self.av_offset:.3f} s" if len(found) < len(self.sources) else ""
        return f"{text}{len(self.sources)} sources{others}."


@dataclass(frozen=True)
class OffsetPlan:
    """Where the sound offsets of a data set come from. The default keeps those that dataset.json has."""

    seconds: float | None = None
    """Set by hand, for all sources."""

    load: Callable[[], Predictor] | None = None
    """Loads what estimates them; it is called only if a source is long enough."""

    on_step: Callable[[int, int], None] = lambda done, total: None
    """Called with (clips heard, clips to hear)."""


def guess_layout(lines: Sequence[dict[str, Any]]) -> str:
    """The layout of a data set that was written without it, from the names and speakers of its clips."""
    splits = "|".join(SPLITS)
    if lines and all(re.fullmatch(r"s\d+/[^/]+", line["name"]) for line in lines):
        return "grid"
    if lines and all(
        re.fullmatch(rf"[^/]+/({splits})/[^/]+", line["name"]) and "/" not in line["speaker"] for line in lines
    ):
        return "lrw"
    return "folder"


def source_names(lines: Sequence[dict[str, Any]], layout: str) -> list[str]:
    """The source of each clip; "" if unknown. The name of a folder of short videos ends with "/".

    Args:
        lines: lines of the index.
        layout: lrw, grid, folder or photos.
    """
    if layout != "folder":
        return [line["speaker"] for line in lines]
    frames: Counter[str] = Counter()
    for line in lines:
        frames[video_name(line["name"])] += line["frames"] * line.get("sound", True)
    videos = [video_name(line["name"]) for line in lines]
    folders = [f"{line['speaker'] or '.'}/" for line in lines]
    return [v if frames[v] >= MIN_FRAMES else folder for v, folder in zip(videos, folders, strict=True)]


def load_predictor(weights: Path | None = None) -> Predictor:
    """Predicts mouth openings with the Audio Encoder of a generator.

    Args:
        weights: file of the generator; None takes the bundled one.

    Raises:
        TalkfaceError: the file is missing, of another format, or its generator predicts no lips.
    """
    fix = "Give --av-weights a generator that `talkface train` of this version wrote."
    try:
        generator = load_generator(weights)
        if not isinstance(generator, Generator):
            raise TalkfaceError(f"The generator in {weights} predicts no lip points.")
        encoder = load_speech_encoder() if generator.config.hearing == "recogniser" else None
    except TalkfaceError as error:
        raise TalkfaceError(str(error), fix) from error

    @torch.inference_mode()
    def predict(clip: Clip) -> np.ndarray:
        features = torch.from_numpy(clip_features(clip, encoder).astype(np.float32))[None]
        photo_lips = torch.from_numpy(clip.lips[:1].astype(np.float32))
        return opening(generator.audio_encoder(features, photo_lips).lips[0]).numpy()

    return predict


def find_offsets(
    dataset: ClipDataset, names: Sequence[str], assumed: float, plan: OffsetPlan, stored: dict[str, Any]
) -> Offsets:
    """The offsets of all sources.

    Args:
        dataset: all clips, read with the offset `assumed`.
        names: the source of each clip, as `source_names` gives it.
        assumed: offset of the data set by its loudness, in seconds.
        plan: where the offsets come from.
        stored: contents of dataset.json; empty if there is none.
    """
    frames: Counter[str] = Counter()
    silent = [not (sound or old) for sound, old in zip(dataset.has_sound, dataset.keeps_no_sound, strict=True)]
    for name, length, mute in zip(names, dataset.lengths, silent, strict=True):
        if name and not mute:
            frames[name] += length
    if plan.seconds is not None:
        return Offsets(plan.seconds, {n: SourceOffset(plan.seconds, None, f, False) for n, f in frames.items()})
    if plan.load is None:
        return _stored_offsets(frames, assumed, stored)
    measured, note = _measure(dataset, names, plan)
    lags = {name: lag for name, (lag, _) in measured.items() if lag is not None}
    own = assumed
    if lags:
        own = assumed - np.average([*lags.values()], weights=[frames[name] for name in lags]) / FPS
    sources = {}
    for name, length in sorted(frames.items()):
        offset = assumed - lags[name] / FPS if name in lags else own
        r = round(measured[name][1], 3) if name in measured else None
        sources[name] = SourceOffset(round(float(offset), 4), r, length, name in lags)
    return Offsets(round(float(own), 4), sources, note)


def _stored_offsets(frames: Counter[str], assumed: float, stored: dict[str, Any]) -> Offsets:
    """The offsets in dataset.json. A source that it lacks takes the offset of the data set."""
    known = stored.get("sources", {})
    own = stored["av_offset"] if known else assumed
    sources = {
        name: SourceOffset(**known[name]) if name in known else SourceOffset(own, None, length, False)
        for name, length in sorted(frames.items())
    }
    return Offsets(own, sources)


def _measure(
    dataset: ClipDataset, names: Sequence[str], plan: OffsetPlan
) -> tuple[dict[str, tuple[float | None, float]], str]:
    """`best_lag` of each source that is long enough, and a note if there is nothing to predict openings with."""
    assert plan.load is not None
    clips: dict[str, list[int]] = {}
    for i, (name, sound) in enumerate(zip(names, dataset.has_sound, strict=True)):
        if name and sound:
            clips.setdefault(name, []).append(i)
    chosen = {name: _heard_clips(numbers, dataset.lengths) for name, numbers in sorted(clips.items())}
    chosen = {name: numbers for name, numbers in chosen.items() if numbers}
    if not chosen:
        return {}, ""
    try:
        predict = plan.load()
    except TalkfaceError as error:
        return {}, f"The sound offset of each source was not estimated, only that of the data set by loudness. {error}"
    done, total = 0, sum(map(len, chosen.values()))
    found = {}
    for name, numbers in chosen.items():
        sums = np.zeros((len(LAGS), 3))
        for i in numbers:
            clip = dataset.without_pictures(i)
            sums += lag_sums(opening(torch.from_numpy(clip.lips)).numpy(), predict(clip))
            done += 1
            plan.on_step(done, total)
        found[name] = best_lag(sums)
    return found, ""


def _heard_clips(numbers: list[int], lengths: Sequence[int]) -> list[int]:
    """The clips of a source that are heard; none if the source is too short, and not all if it is very long."""
    frames = sum(lengths[i] for i in numbers)
    if frames < MIN_FRAMES:
        return []
    return [numbers[i] for i in evenly_spaced(len(numbers), -(-len(numbers) * MAX_HEARD // frames))]


def lag_sums(real: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """`correlation_sums` of two curves (T,) at each of LAGS, float64 (len(LAGS), 3).

    A lag is positive if the real curve is late.
    """
    sums = np.zeros((len(LAGS), 3))
    for i, lag in enumerate(LAGS):
        overlap = len(real) - abs(lag)
        if overlap >= MIN_OVERLAP:
            later, earlier = max(lag, 0), max(-lag, 0)
            sums[i] = correlation_sums(real[later : later + overlap], predicted[earlier : earlier + overlap])
    return sums


def best_lag(sums: np.ndarray) -> tuple[float | None, float]:
    """The lag in frames at which the curves correlate best, and their correlation there.

    Args:
        sums: of `lag_sums`, added over clips.

    Returns:
        The lag is None if the peak is low or at the edge.
    """
    curve = np.nan_to_num(correlation(sums))
    top = 1 + int(np.argmax(curve[1:-1]))
    lag = LAGS[top] + peak_shift(curve[top - 1 : top + 2])
    clear = curve[top] > MIN_CORRELATION and abs(lag) < MAX_LAG
    return (float(lag) if clear else None), float(curve[top])
