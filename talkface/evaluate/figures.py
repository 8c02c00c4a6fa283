"""Pictures of an evaluation, one function each: strips (paper Fig. 5, 6), scatter (Fig. 3), curves, landmark distance.

Pictures show the faces of the data set: think of its terms before you publish them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from talkface.config import FPS, STEPS_PER_SECOND
from talkface.data.reader import ClipDataset, evenly_spaced
from talkface.evaluate.conditions import mismatched_audio
from talkface.evaluate.config import EvalConfig
from talkface.evaluate.examples import Example, mouth_scorer, of_data_set, of_videos
from talkface.evaluate.report import Report
from talkface.evaluate.score import Scorer
from talkface.files import atomic_write, make_folder
from talkface.metrics.sync import mel_decibels
from talkface.model.checkpoint import load_generator
from talkface.model.generator import Generator

EXAMPLES = 4  # clips with strips and curves
SCATTERED = 40  # clips whose frames go into the scatter
PER_CLIP = 6  # frames of each of them
COLUMNS = 8  # frames of a strip
MARGIN, GAP, LINE = 110, 4, 26  # px of a strip: labels at the left, between frames, the line of times
COLOURS = {"real": "#222222", "model": "#1f5fbf", "wrong_sound": "#d9822b", "still": "#8a8f98"}
MOUTH = np.s_[140:236, 72:184]  # of the aligned face


def draw_dataset(
    config: EvalConfig, clips: ClipDataset, generator: Generator | None, scorer: Scorer, report: Report
) -> None:
    """All figures of a data set's evaluation, into `config.figures`."""
    folder, scorer = Path(config.figures), mouth_scorer(scorer)
    make_folder(folder)
    generator = generator or load_generator(config.weights, scorer.device)
    names = distinct_names(config.ablation, taken=("real", "model"))
    ablated = {name: load_generator(path, scorer.device) for name, path in zip(names, config.ablation, strict=True)}
    donors = mismatched_audio(clips.clip_speakers, config.seed)
    examples = []
    for number in evenly_spaced(len(clips), EXAMPLES):
        donor = donors[number] if donors[number] != number else None
        example = of_data_set(config, clips, number, {"model": generator}, donor, scorer)
        examples.append(_without_frames(draw_example(folder, example)))
        if ablated:
            several = of_data_set(config, clips, number, {"model": generator} | ablated, None, scorer)
            _save_strip(folder / f"ablation-{_slug(example.name)}.png", several)
    draw_landmarks(folder / "lmd.png", examples, report)
    draw_scatter(folder / "scatter.png", *_thumbnails(config, clips, generator, scorer))


def draw_videos(folder: Path, pairs: list[tuple[Path, Path]], scorer: Scorer, report: Report) -> None:
    """Strips, curves and landmark distance of pairs of videos."""
    make_folder(folder)
    scorer = mouth_scorer(scorer)
    chosen = [pairs[number] for number in evenly_spaced(len(pairs), EXAMPLES)]
    names = distinct_names([fake for _, fake in chosen])
    found = (of_videos(name, real, fake, scorer) for name, (real, fake) in zip(names, chosen, strict=True))
    examples = [_without_frames(draw_example(folder, example)) for example in found]
    draw_landmarks(folder / "lmd.png", examples, report)


def distinct_names(files: Sequence[Path], taken: Sequence[str] = ()) -> list[str]:
    """A name for each file, no two alike: its stem; where stems repeat, folder/stem; where those do, a number too.

    Args:
        files: to be named.
        taken: names that none of them may have.
    """
    stems = [*taken, *(file.stem for file in files)]
    names = [f.stem if stems.count(f.stem) == 1 else f"{f.parent.resolve().name}/{f.stem}" for f in files]
    earlier = [names[:number].count(name) for number, name in enumerate(names)]
    return [f"{name} {count + 1}" if count else name for name, count in zip(names, earlier, strict=True)]


def draw_example(folder: Path, example: Example) -> Example:
    """The strip and the curves of one clip."""
    _save_strip(folder / f"strip-{_slug(example.name)}.png", example)
    draw_curves(folder / f"mouth-{_slug(example.name)}.png", example)
    return example


def strip(example: Example) -> Image.Image:
    """Frames of each row below each other at the same moments, as the paper's Fig. 5."""
    moments = evenly_spaced(len(example.frames["real"]), COLUMNS)
    side = example.frames["real"].shape[1]
    sheet = Image.new("RGB", (MARGIN + len(moments) * (side + GAP), LINE + len(example.frames) * (side + GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for column, moment in enumerate(moments):
        draw.text((MARGIN + column * (side + GAP), 4), f"{moment / FPS:.2f} s", "black", font)
    for row, (name, frames) in enumerate(example.frames.items()):
        top = LINE + row * (side + GAP)
        draw.text((4, top + side // 2 - 10), name.replace("_", " ").replace("/", "\n"), "black", font)
        for column, moment in enumerate(moments):
            sheet.paste(Image.fromarray(frames[moment]), (MARGIN + column * (side + GAP), top))
    return sheet


def draw_curves(path: Path, example: Example) -> None:
    """How far the mouths open over time, over the spectrogram of the sound."""
    figure = Figure((9, 4.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    seconds = (np.arange(len(example.opening["real"])) + 0.5) / FPS
    for name, opening in example.opening.items():
        above.plot(seconds, opening, label=name.replace("_", " "), color=COLOURS.get(name), lw=1.6)
    above.set(ylabel="opening / eye distance", title=example.name)
    above.legend(loc="upper right", ncols=4, fontsize=8)
    if example.mfcc is not None:
        bands = mel_decibels(example.mfcc[: len(seconds) * STEPS_PER_SECOND // FPS])
        extent = (0, len(bands) / STEPS_PER_SECOND, 0, bands.shape[1])
        below.imshow(bands.T, origin="lower", aspect="auto", extent=extent, cmap="magma")
    below.set(xlabel="seconds", ylabel="mel band", xlim=(0, seconds[-1] + 0.5 / FPS))
    _save(figure, path)


def draw_landmarks(path: Path, examples: list[Example], report: Report) -> None:
    """LMD of each frame of the examples, and of each clip in the order of the model's."""
    figure = Figure((11, 3.8), layout="constrained")
    frames, clips = figure.subplots(1, 2)
    for number, example in enumerate(examples):
        distance = example.lmd["model"]
        frames.plot(np.arange(len(distance)) / FPS, distance, lw=1.2, color=f"C{number}", label=example.name)
    frames.set(xlabel="seconds", ylabel="LMD, px of 256", title="per frame (model)")
    frames.legend(fontsize=7)
    _draw_clips(clips, report)
    _save(figure, path)


def _draw_clips(axes: Axes, report: Report) -> None:
    by_row: dict[str, dict[str, float]] = {}
    for score in report.scores:
        if "lmd" in score.sums and score.sums["lmd"][1]:
            by_row.setdefault(score.row, {})[score.clip] = score.sums["lmd"][0] / score.sums["lmd"][1]
    order = sorted(by_row.get("model", {}), key=by_row.get("model", {}).get)
    for name, values in by_row.items():
        axes.plot([values.get(clip, np.nan) for clip in order], ".", ms=4, color=COLOURS.get(name), label=name)
    axes.set(xlabel="clips, best first", ylabel="LMD, px of 256", title="per clip")
    if by_row:
        axes.legend(fontsize=8)


def draw_scatter(path: Path, real: np.ndarray, fake: np.ndarray) -> None:
    """Real and generated frames in two dimensions by PCA (paper Fig. 3).

    At the left whole frames, where people lie apart; at the right mouths less each clip's mean real mouth: what moves.

    Args:
        path: of the picture.
        real: (2, clips, frames, 48, 48) grey thumbnails: of whole frames, then of mouths.
        fake: the same of the generated frames.
    """
    figure = Figure((10, 4.6), layout="constrained")
    for axes, a, b, title in zip(figure.subplots(1, 2), real, fake, ("frames", "mouths, mean taken off"), strict=True):
        if title != "frames":
            mean = a.mean(1, keepdims=True)
            a, b = a - mean, b - mean
        for name, points in zip(
            ("real", "model"), project(a.reshape(-1, 48 * 48), b.reshape(-1, 48 * 48)), strict=True
        ):
            axes.scatter(*points.T, s=9, alpha=0.6, color=COLOURS[name], label=name, linewidths=0)
        axes.set(title=title, xlabel="first component", ylabel="second")
        axes.legend(fontsize=8)
    _save(figure, path)


def project(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both on the first two principal components of both together: (N, D), (M, D) -> (N, 2), (M, 2)."""
    both = np.concatenate([real, fake]).astype(np.float64)
    both -= both.mean(0)
    _, _, components = np.linalg.svd(both, full_matrices=False)
    points = both @ components[:2].T
    return points[: len(real)], points[len(real) :]


def _thumbnails(
    config: EvalConfig, clips: ClipDataset, generator: Generator, scorer: Scorer
) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays (2, clips, frames, 48, 48): whole frames and mouths, of the real and of the generated clips."""
    found: dict[str, list] = {"real": [], "model": []}
    for number in evenly_spaced(len(clips), SCATTERED):
        example = of_data_set(config, clips, number, {"model": generator}, None, scorer)
        moments = np.linspace(0, len(example.frames["real"]) - 1, PER_CLIP).round().astype(int)
        for name, kept in found.items():
            frames = example.frames[name][moments]
            kept.append([[_thumbnail(f) for f in frames], [_thumbnail(f[MOUTH]) for f in frames]])
    return tuple(np.array(found[name], np.float32).swapaxes(0, 1) for name in ("real", "model"))


def _thumbnail(picture: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (48, 48), interpolation=cv2.INTER_AREA)


def _without_frames(example: Example) -> Example:
    """The example less its pictures, so that memory does not grow."""
    example.frames = {}
    return example


def _save_strip(path: Path, example: Example) -> None:
    with atomic_write(path) as beside:
        strip(example).save(beside)


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path) as beside:
        figure.savefig(beside, dpi=130)


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)
