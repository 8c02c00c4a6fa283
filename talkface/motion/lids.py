"""The upper lids: where each pixel of an eye comes from when the lid has come down.

Everything above the margin of the upper lid, skin and lashes, moves down with it. The strip along the margin keeps its
shape, as the lid's cartilage does; the fold between it and the brow is stretched; the brow stays. Below the margin the
eye stays as the photo has it. The lid's edge is a boundary between two layers and not a bend of one, so nothing smears.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talkface.motion.geometry import BROWS_LOWER, LOWER_LIDS, UPPER_LIDS, Axes, axes_between

SAMPLES = 65  # of the curves along an eye
MARGIN_DEGREE = 4  # of the polynomials through the margins' points
OVERLAP = 0.02  # of the eye's width, by which a closed lid covers the lower margin
ABOVE = 0.02  # of the eye's width, by which the boundary lies above the mesh's upper margin
BROW_SHARE = 0.85  # of the distance from the margin to the brow in which the skin is stretched
MIN_OPENING = 0.10  # of the eye's width; an eye that is open less does not blink
MAX_SLOPE = 0.9  # of the displacement over the stretched skin; at 1 it would fold
BESIDE = 0.25  # of the eye's width beside its corners that an eye's box includes


@dataclass(frozen=True)
class Eye:
    """One eye of a photo, in axes along the line between its corners."""

    axes: Axes
    width: float
    """px between the corners."""
    u: np.ndarray
    """float64 (65,): where the curves are sampled, px; from beside the left corner to beside the right one."""
    upper: np.ndarray
    """float64 (65,): v of the upper margin, px."""
    fall: np.ndarray
    """float64 (65,): how far the closed lid's margin is below the open one's, px; 0 beside the corners."""
    skin: np.ndarray
    """float64 (65,): height of the skin above the margin that follows it, px."""

    @property
    def opening(self) -> float:
        """Largest height of the eye over its width."""
        return float(self.fall.max() / self.width)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom in px of the photo of all pixels that a blink may change."""
        v = np.concatenate((self.upper - self.skin, self.upper + self.fall + 2))
        u = np.concatenate((self.u, self.u))
        points = self.axes.origin + u[:, None] * self.axes.along + v[:, None] * self.axes.across
        (left, top), (right, bottom) = points.min(0), points.max(0)
        return float(left), float(top), float(right), float(bottom)

    def lid(self, places: np.ndarray, closed: float) -> tuple[np.ndarray, np.ndarray]:
        """The lid when it has come down.

        Args:
            places: float32 (h, w, 2), px of the photo.
            closed: in [0, 1]; 1 is shut.

        Returns:
            source float32 (h, w, 2): where the photo has what the lid shows at each place;
            cover float32 (h, w) in [0, 1]: 1 above the lid's margin.
        """
        u, v = self.axes.of(places)
        upper, fall, skin = (self._along(u, curve) for curve in (self.upper, closed * self.fall, self.skin))
        height = np.clip((v - upper + skin) / np.maximum(skin + fall, 1e-3), 0, 1)
        follows = height * height * (3 - 2 * height)
        source = places - (fall * follows)[..., None] * self.axes.across.astype(np.float32)
        return source.astype(np.float32), np.clip(upper + fall - v + 0.5, 0, 1)

    def _along(self, u: np.ndarray, curve: np.ndarray) -> np.ndarray:
        return np.interp(u.ravel(), self.u, curve).reshape(u.shape).astype(np.float32)


def find_eyes(mesh: np.ndarray) -> list[Eye]:
    """The eyes of a face that can blink: those that are open.

    Args:
        mesh: float32 (468, 3), px of the photo.
    """
    eyes = [
        _eye(*(mesh[list(points), :2].astype(np.float64) for points in one))
        for one in zip(UPPER_LIDS, LOWER_LIDS, BROWS_LOWER, strict=True)
    ]
    return [eye for eye in eyes if eye.opening >= MIN_OPENING]


def _eye(upper: np.ndarray, lower: np.ndarray, brow: np.ndarray) -> Eye:
    """Make an eye of the points (9, 2), (9, 2) and (5, 2) of its margins and its brow."""
    axes = axes_between(upper[0], upper[-1])
    width = float(np.linalg.norm(upper[-1] - upper[0]))
    u = np.linspace(-(0.5 + BESIDE) * width, (0.5 + BESIDE) * width, SAMPLES)
    between = np.clip(u, -width / 2, width / 2)
    above, below = (_curve(axes, points, between, MARGIN_DEGREE) for points in (upper, lower))
    above = above - ABOVE * width
    taper = np.clip(1 - (2 * u / width) ** 2, 0, 1) ** 0.5  # the overlap ends at the corners
    fall = np.where(np.abs(u) < width / 2, np.maximum(below - above + (OVERLAP - ABOVE) * width * taper, 0), 0)
    fall = _smooth(fall)
    skin = np.maximum(BROW_SHARE * (above - _curve(axes, brow, np.clip(u, *_range(axes, brow)), 2)), 0.1 * width)
    fall = np.minimum(fall, skin * MAX_SLOPE / (1.5 - MAX_SLOPE))
    return Eye(axes, width, u, above, fall, skin)


def _curve(axes: Axes, points: np.ndarray, u: np.ndarray, degree: int) -> np.ndarray:
    """v at each u of the polynomial through the points (N, 2)."""
    along, across = axes.of(points)
    scale = np.abs(along).max()
    return np.polynomial.Polynomial.fit(along / scale, across, degree)(u / scale)


def _range(axes: Axes, points: np.ndarray) -> tuple[float, float]:
    u, _ = axes.of(points)
    return float(u.min()), float(u.max())


def _smooth(curve: np.ndarray) -> np.ndarray:
    kernel = np.hanning(7)[1:-1]
    return np.convolve(np.pad(curve, 2, "edge"), kernel / kernel.sum(), "valid")
