"""Draws the figures of an evaluation: strips (paper Fig. 5, 6), a scatter plot (Fig. 3), curves, landmark distance.

The figures show the faces of the data set: check its terms before you publish them.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from talkface.config import FPS, STEPS_PER_SECOND
from talkface.evaluate.examples import Example, Gallery
from talkface.evaluate.report import Report
from talkface.files import atomic_write, make_folder
from talkface.media.image import save_png
from talkface.media.strips import draw_strip

COLOURS = {"real": "#222222", "model": "#1f5fbf", "wrong_sound": "#d9822b", "still": "#8a8f98", "true_lips": "#3a8f4d"}


def draw_dataset(folder: Path, gallery: Gallery, report: Report) -> None:
    """Draw all figures of the evaluation of a data set into a folder.

    Raises:
        TalkfaceError: a figure cannot be written.
    """
    draw_videos(folder, gallery.examples, report)
    for example in gallery.ablations:
        _save_strip(folder / f"ablation-{_file_name(example.name)}.png", example)
    thumbnails = np.array(gallery.thumbnails)
    draw_scatter(folder / "scatter.png", *(thumbnails[:, source].swapaxes(0, 1) for source in (0, 1)))


def draw_videos(folder: Path, examples: list[Example], report: Report) -> None:
    """Draw strips, curves and landmark distance of some clips into a folder.

    Raises:
        TalkfaceError: a figure cannot be written.
    """
    make_folder(folder)
    for example in examples:
        _save_strip(folder / f"strip-{_file_name(example.name)}.png", example)
        draw_curves(folder / f"mouth-{_file_name(example.name)}.png", example)
    draw_landmarks(folder / "lmd.png", examples, report)


def draw_curves(path: Path, example: Example) -> None:
    """Draw the mouth opening over time above the spectrogram of the sound."""
    figure = Figure((9, 4.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    seconds = (np.arange(len(example.opening["real"])) + 0.5) / FPS
    for name, opening in example.opening.items():
        above.plot(seconds, opening, label=name.replace("_", " "), color=COLOURS.get(name), lw=1.6)
    above.set(ylabel="opening / eye distance", title=example.name)
    above.legend(loc="upper right", ncols=4, fontsize=8)
    if example.spectrogram is not None:
        bands = example.spectrogram[: len(seconds) * STEPS_PER_SECOND // FPS]
        extent = (0, len(bands) / STEPS_PER_SECOND, 0, bands.shape[1])
        below.imshow(bands.T, origin="lower", aspect="auto", extent=extent, cmap="magma")
    below.set(xlabel="seconds", ylabel="mel band", xlim=(0, seconds[-1] + 0.5 / FPS))
    _save(figure, path)


def draw_landmarks(path: Path, examples: list[Example], report: Report) -> None:
    """Draw the LMD of each frame of the examples, and of each clip in the order of the model's LMD."""
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
    of_model = by_row.get("model", {})
    order = sorted(of_model, key=lambda clip: of_model[clip])
    for name, values in by_row.items():
        axes.plot([values.get(clip, np.nan) for clip in order], ".", ms=4, color=COLOURS.get(name), label=name)
    axes.set(xlabel="clips, best first", ylabel="LMD, px of 256", title="per clip")
    if by_row:
        axes.legend(fontsize=8)


def draw_scatter(path: Path, real: np.ndarray, fake: np.ndarray) -> None:
    """Draw real and generated frames in two dimensions by PCA (paper Fig. 3).

    The left plot shows whole frames, where the frames of one person are close to each other. The right plot shows
    mouths minus the mean real mouth of their clip, that is, their movement.

    Args:
        path: file of the picture.
        real: (2, clips, frames, 48, 48) grey thumbnails: whole frames, and mouths.
        fake: the same of the generated frames.
    """
    figure = Figure((10, 4.6), layout="constrained")
    for axes, a, b, title in zip(figure.subplots(1, 2), real, fake, ("frames", "mouths minus mean"), strict=True):
        if title != "frames":
            mean = a.mean(1, keepdims=True)
            a, b = a - mean, b - mean
        projected = project(a.reshape(-1, a[0, 0].size), b.reshape(-1, b[0, 0].size))
        for name, points in zip(("real", "model"), projected, strict=True):
            axes.scatter(*points.T, s=9, alpha=0.6, color=COLOURS[name], label=name, linewidths=0)
        axes.set(title=title, xlabel="first component", ylabel="second component")
        axes.legend(fontsize=8)
    _save(figure, path)


def project(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sets on the first two principal components of their union: (N, D), (M, D) -> (N, 2), (M, 2)."""
    both = np.concatenate([real, fake]).astype(np.float64)
    both -= both.mean(0)
    _, _, components = np.linalg.svd(both, full_matrices=False)
    points = both @ components[:2].T
    return points[: len(real)], points[len(real) :]


def _save_strip(path: Path, example: Example) -> None:
    save_png(path, draw_strip(example.frames, example.seconds))


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path) as beside:
        figure.savefig(beside, dpi=130)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)
