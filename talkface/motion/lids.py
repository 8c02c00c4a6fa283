"""The lids: where each pixel of an eye comes from when the lids have closed.

Everything above the margin of the upper lid, skin and lashes, moves down with it. The strip along the margin keeps its
shape, as the lid's cartilage does; the fold between it and the brow is stretched; the brow stays. The lower lid rises a
little. Between the margins the eye stays as the photo has it. A lid's edge is a boundary between two layers and not a
bend of one, so nothing smears.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from talkface.motion.geometry import BROWS_LOWER, LOWER_LIDS, UPPER_LIDS, Axes, axes_between

SAMPLES = 65  # of the curves along an eye
MARGIN_DEGREE = 4  # of the polynomials through the margins' points
RISE = 0.2  # of the eye's height, by which the lower lid meets the upper one
BELOW = 0.45  # of the eye's width, within which the skin below the eye moves with the lower lid
OVERLAP = 0.02  # of the eye's width, by which a closed lid covers the lower margin
ABOVE = 0.035  # of the eye's width, by which the boundary lies above the mesh's upper margin
LASHES = 0.028  # of the eye's width: half of the height of the line of lashes along a closed lid
LASH_SHARE = 0.8  # of the lashes' colour in the middle of that line
LASH_PERCENTILE = 15  # of the luma along the upper margin, where lashes have their colour
BROW_SHARE = 0.85  # of the distance from the margin to the brow in which the skin is stretched
MIN_OPENING = 0.13  # of the eye's width; an eye that is open less does not blink
# Skin below an eye that is darker than this share of the cheek's lightness, or this far from the cheek's colour (in
# OpenCV's 8-bit Lab), is seen through a dark lens or covered.
MIN_LIGHTNESS = 0.3
MAX_COLOUR_SHIFT = 24.0
BELOW_EYES = ((230, 231, 229), (450, 451, 449))
CHEEKS = ((50, 205, 36), (280, 425, 266))
# The rim of glasses is searched in the middle of the eye, above this share of its width over the margin.
RIM_COLUMNS, RIM_LOWEST, RIM_ROWS = 0.38, 0.14, 24
RIM_STEP = 0.42  # of the luma per 0.03 of the eye's width; lids, lashes and brows have steps up to 0.39, rims from 0.52
LEAST_SKIN = 0.4  # of the fall; less skin would smear when it is stretched
MAX_SLOPE = 0.9  # of the displacement over the stretched skin; at 1 it would fold
SMOOTHING = 9  # samples over which the fall of the margin ends beside the corners
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
    lower: np.ndarray
    """float64 (65,): v of the lower margin, px."""
    rise: np.ndarray
    """float64 (65,): how far the lower margin is raised when the eye is closed, px."""
    lash_colour: np.ndarray
    """float32 (3,), RGB in [0, 255]."""

    @property
    def opening(self) -> float:
        """Largest height of the eye over its width."""
        return float((self.lower - self.upper).max() / self.width)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom in px of the photo of all pixels that a blink may change."""
        v = np.concatenate((self.upper - self.skin, self.lower + BELOW * self.width))
        u = np.concatenate((self.u, self.u))
        points = self.axes.origin + u[:, None] * self.axes.along + v[:, None] * self.axes.across
        (left, top), (right, bottom) = points.min(0), points.max(0)
        return float(left), float(top), float(right), float(bottom)

    def lid(self, places: np.ndarray, closed: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The lid when it has come down.

        Args:
            places: float32 (h, w, 2), px of the photo.
            closed: in [0, 1]; 1 is shut.

        Returns:
            source float32 (h, w, 2): where the photo has what the lid shows at each place;
            cover float32 (h, w) in [0, 1]: 1 above the lid's margin;
            lashes float32 (h, w) in [0, 1]: share of the lashes' colour in what covers.
        """
        u, v = self.axes.of(places)
        upper, fall, skin = (self._along(u, curve) for curve in (self.upper, closed * self.fall, self.skin))
        height = np.clip((v - upper + skin) / np.maximum(skin + fall, 1e-3), 0, 1)
        # The less skin there is, the more evenly it is stretched: its displacement never grows faster than its height.
        rigid = np.clip(2 * (MAX_SLOPE * (skin + fall) / np.maximum(fall, 1e-3) - 1), 0, 1)
        follows = height + rigid * (height * height * (3 - 2 * height) - height)
        source = places - (fall * follows)[..., None] * self.axes.across.astype(np.float32)
        above = upper + fall - v
        lashes = (
            LASH_SHARE
            * np.minimum(fall / (3 * LASHES * self.width), 1)
            * np.exp(-((above / (LASHES * self.width)) ** 2))
        )
        return source.astype(np.float32), np.clip(above + 0.5, 0, 1), lashes

    def lower_lid(self, places: np.ndarray, closed: float) -> tuple[np.ndarray, np.ndarray]:
        """The lower lid when it has risen: `source` and `cover` as of `lid`; it covers what is below its margin."""
        u, v = self.axes.of(places)
        lower, rise = (self._along(u, curve) for curve in (self.lower, closed * self.rise))
        below = v - lower + rise
        follows = np.clip(1 - below / (BELOW * self.width), 0, 1) ** 2
        source = places + (rise * follows)[..., None] * self.axes.across.astype(np.float32)
        return source.astype(np.float32), np.clip(below + 0.5, 0, 1)

    def close(self, picture: np.ndarray, photo: np.ndarray, places: np.ndarray, closed: float) -> None:
        """Draw the lid on a picture, in place.

        Args:
            picture: uint8 RGB (h, w, 3), which shows the photo at `places`.
            photo: uint8 RGB (H, W, 3).
            places: float32 (h, w, 2), px of the photo.
            closed: in (0, 1].
        """
        source, cover = self.lower_lid(places, closed)
        lid = _sampled(photo, source, cv2.INTER_CUBIC).astype(np.float32)
        shown = picture + cover[..., None] * (lid - picture)
        source, cover, lashes = self.lid(places, closed)
        skin = _sampled(photo, source, cv2.INTER_CUBIC)
        lid = skin + lashes[..., None] * np.minimum(self.lash_colour - skin, 0)
        picture[:] = np.round(shown + cover[..., None] * (lid - shown))

    def _along(self, u: np.ndarray, curve: np.ndarray) -> np.ndarray:
        return np.interp(u.ravel(), self.u, curve).reshape(u.shape).astype(np.float32)


def _sampled(picture: np.ndarray, places: np.ndarray, how: int) -> np.ndarray:
    """A picture at places (x, y) px, float32 (h, w, 2)."""
    return cv2.remap(  # type: ignore[call-overload]  # OpenCV's stubs demand map2, which a two-channel map does not need
        picture, places, None, how, borderMode=cv2.BORDER_REPLICATE
    )


def _rim(eye: Eye, grey: np.ndarray) -> tuple[float, float]:
    """How likely the rim of glasses lies between an eye and its brow, and where.

    Args:
        eye: of the photo.
        grey: float32 (H, W), luma of the photo.

    Returns:
        The sharpest step of the luma above the margin, as a share of the median luma per 0.03 of the eye's width, which
        three quarters of the columns reach; and the height of the lowest such step above the margin, px.
    """
    middle = np.abs(eye.u) < RIM_COLUMNS * eye.width
    lowest = RIM_LOWEST * eye.width
    highest = np.maximum(eye.skin[middle], 1.5 * lowest)
    above = lowest + (highest - lowest) * np.linspace(0, 1, RIM_ROWS)[:, None]
    u = np.broadcast_to(eye.u[middle], above.shape)[..., None]
    places = eye.axes.origin + u * eye.axes.along + (eye.upper[middle] - above)[..., None] * eye.axes.across
    blurred = cv2.GaussianBlur(grey, (0, 0), max(0.5, 0.012 * eye.width))
    luma = _sampled(blurred, places.astype(np.float32), cv2.INTER_LINEAR)
    per_step = (highest - lowest) / (RIM_ROWS - 1) / (0.03 * eye.width)
    steps = np.abs(np.diff(luma, axis=0)) / max(float(np.median(luma)), 1.0) / per_step
    found = steps > RIM_STEP
    first = np.where(found.any(0), above[np.argmax(found, 0), np.arange(found.shape[1])], highest)
    return float(np.percentile(steps.max(0), 25)), float(np.percentile(first, 25))


def find_eyes(mesh: np.ndarray, photo: np.ndarray) -> list[Eye]:
    """The eyes of a face that can blink: those that are open; none if one is covered, since no eye blinks alone.

    Args:
        mesh: float32 (468, 3), px of the photo.
        photo: uint8 RGB (H, W, 3).
    """
    eyes = []
    for upper, lower, brow, below, cheek in zip(UPPER_LIDS, LOWER_LIDS, BROWS_LOWER, BELOW_EYES, CHEEKS, strict=True):
        above, beneath, over = (mesh[list(points), :2].astype(np.float64) for points in (upper, lower, brow))
        eye = _eye(above, beneath, over, photo)
        radius = max(1, round(0.05 * eye.width))
        if _is_covered(*(_colour(photo, mesh[list(x)], radius) for x in (below, cheek))):
            return []
        if eye.opening >= MIN_OPENING:
            eyes.append(eye)
    return _below_glasses(eyes, photo)


def _below_glasses(eyes: list[Eye], photo: np.ndarray) -> list[Eye]:
    """The eyes, with the skin that moves limited to what is below the rims of glasses; none if that is too little."""
    if not eyes:
        return eyes
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32)
    rims = [_rim(eye, grey) for eye in eyes]
    if np.mean([step for step, _ in rims]) < RIM_STEP:
        return eyes
    limited = [
        replace(eye, skin=np.minimum(eye.skin, height - RIM_LOWEST / 2 * eye.width))
        for eye, (_, height) in zip(eyes, rims, strict=True)
    ]
    # One eye alone does not blink.
    return limited if all((eye.skin > LEAST_SKIN * eye.fall.max()).all() for eye in limited) else []


def _is_covered(skin: np.ndarray, cheek: np.ndarray) -> bool:
    """Whether the skin below an eye has another colour (Lab) than the cheek, as behind a dark lens."""
    return bool(skin[0] < MIN_LIGHTNESS * cheek[0] or np.linalg.norm((skin - cheek)[1:]) > MAX_COLOUR_SHIFT)


def _colour(photo: np.ndarray, points: np.ndarray, radius: int) -> np.ndarray:
    """Median colour of the squares around some points (N, 3) of the mesh, float64 (3,) in 8-bit Lab."""
    squares = [_around(photo, point[:2], radius).reshape(-1, 3) for point in points]
    found = np.concatenate(squares)
    if not len(found):
        return np.zeros(3)
    return np.median(cv2.cvtColor(found[None], cv2.COLOR_RGB2LAB)[0].astype(np.float64), 0)


def _around(photo: np.ndarray, point: np.ndarray, radius: int) -> np.ndarray:
    x, y = (round(float(value)) for value in point)
    return photo[max(y - radius, 0) : max(y + radius + 1, 0), max(x - radius, 0) : max(x + radius + 1, 0)]


def _lash_colour(photo: np.ndarray, margin: np.ndarray, radius: int) -> np.ndarray:
    """A dark colour of the pixels around the points (9, 2) of the upper margin, float32 (3,) RGB."""
    found = np.concatenate([_around(photo, point, radius).reshape(-1, 3) for point in margin[2:-2]])
    if not len(found):
        return np.zeros(3, np.float32)
    luma = cv2.cvtColor(found[None], cv2.COLOR_RGB2GRAY)[0]
    return found[luma <= np.percentile(luma, LASH_PERCENTILE)].mean(0).astype(np.float32)


def _eye(upper: np.ndarray, lower: np.ndarray, brow: np.ndarray, photo: np.ndarray) -> Eye:
    """Make an eye of the points (9, 2), (9, 2) and (5, 2) of its margins and its brow."""
    axes = axes_between(upper[0], upper[-1])
    width = float(np.linalg.norm(upper[-1] - upper[0]))
    u = np.linspace(-(0.5 + BESIDE) * width, (0.5 + BESIDE) * width, SAMPLES)
    between = np.clip(u, -width / 2, width / 2)
    above, below = (_curve(axes, points, between, MARGIN_DEGREE) for points in (upper, lower))
    above = above - ABOVE * width
    taper = np.clip(1 - (2 * u / width) ** 2, 0, 1) ** 0.5  # the overlap ends at the corners
    height = np.where(np.abs(u) < width / 2, np.maximum(below - above, 0), 0)
    rise = _smooth(RISE * height)
    fall = height - rise + (OVERLAP * taper * width)
    fall = np.where(np.abs(u) < width / 2, np.maximum(fall, 0), 0)
    fall = np.maximum(fall, _smooth(fall))
    skin = BROW_SHARE * (above - _curve(axes, brow, np.clip(u, *_range(axes, brow)), 2))
    skin = np.maximum(skin, LEAST_SKIN * fall.max())  # a very low brow comes down with the lid
    lashes = _lash_colour(photo, upper, max(1, round(0.04 * width)))
    return Eye(axes, width, u, above, fall, skin, below, rise, lashes)


def _curve(axes: Axes, points: np.ndarray, u: np.ndarray, degree: int) -> np.ndarray:
    """v at each u of the polynomial through the points (N, 2)."""
    along, across = axes.of(points)
    scale = np.abs(along).max()
    return np.polynomial.Polynomial.fit(along / scale, across, degree)(u / scale)


def _range(axes: Axes, points: np.ndarray) -> tuple[float, float]:
    u, _ = axes.of(points)
    return float(u.min()), float(u.max())


def _smooth(curve: np.ndarray) -> np.ndarray:
    kernel = np.hanning(2 * SMOOTHING + 3)[1:-1]
    return np.convolve(np.pad(curve, SMOOTHING, "edge"), kernel / kernel.sum(), "valid")
