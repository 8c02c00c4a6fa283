"""Upper teeth at the photo's own resolution, for faces that are finer than the aligned face.

Upper teeth stand still with the skull while the lips open and close in front of them. Where the photo shows teeth, the
layer is cut out of the photo. Otherwise it is a row of teeth from another portrait (weights/NOTICE), as wide as this
mouth allows, in the tone of this face. The generator's paint shows through below and beside the row; what it paints as
bright as teeth there is darkened, because one row of teeth is enough.

Shapes: H x W is the generator's crop around the mouth; the layer has `density` times as many pixels each way.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import cv2
import numpy as np

from talkface.config import EYE_DISTANCE, SIZE, weights_dir
from talkface.errors import TalkfaceError
from talkface.face import align
from talkface.face.landmarks import mouth_opening
from talkface.face.mouth_colours import (
    LUMA,
    Reference,
    inner_mask,
    luma_and_redness,
    reference,
    skin_mask,
    tooth_mask,
)

FINE_SCALE, COARSE_SCALE = 0.7, 0.85  # aligned px per photo px: the layer is whole, or left out
MAX_DENSITY = 4
OPEN_PHOTO = 0.03  # opening of the photo's mouth, and
SHOWN_TEETH = 40  # px of teeth in the aligned face from which the photo's own are taken
BEHIND_LIP = 8  # px by which the photo's own teeth are continued upward ...
GUM_LINE = 1.5  # ... from so far below the lip
TOOTH_HEIGHT = 0.24  # of the mouth's width; lower teeth begin below
ROW_FILE = "upper_teeth.png"
ROW_WIDTH = 0.8  # of the mouth's width
EDGE_BELOW = 2.6  # px by which the upper teeth are longer than the closed lip
OWN_SHADE, ROW_SHADE = 0.12, 0.35  # light that the lips take from the teeth beside them
BARE_LIPS = 0.7  # of the mask, up to which lips are not painted where the photo shows no teeth
SHADE_REACH = 2.2  # px, standard deviation
GHOST_LUMA = 0.3  # of the skin's luma, from which paint counts as teeth; twice as bright, it does so wholly
DARK = np.array([0.2, 0.1, 0.1], np.float32)  # of the skin's luma: the colour that takes the place of such paint
PALE_RAMP = 0.15  # of redness, over which paint counts less and less as a tooth
COARSE = 0.5  # resolution at which paint is judged
EDGE_DEPTH, INNER_DEPTH = 0.6, 0.92  # of `lip_depth`, between which paint may be less and less bright
INNER_LUMA = 0.36  # of the skin's luma: the brightest that paint may be inside


class TeethLayer(NamedTuple):
    """Upper teeth, and the colours that tell them from other paint."""

    picture: np.ndarray
    """float32 (density * H, density * W, 4): RGB in [0, 255] and opacity in [0, 1]."""
    density: int
    colours: Reference
    shade: float
    """In [0, 1]: light that the lips take from the teeth beside them."""
    bare: float
    """In [0, 1): of the painted area's mask, up to which the lips keep their own pixels, sharper than the paint. Where
    the photo shows teeth they need the soft edge, which hides what is cut there with them."""


def teeth_layer(
    photo: np.ndarray, M: np.ndarray, lips: np.ndarray, corner: tuple[int, int], size: tuple[int, int]
) -> TeethLayer | None:
    """The layer of a photo; None where the photo is no finer than the aligned face.

    Args:
        photo: uint8 RGB (H, W, 3).
        M: float64 (2, 3), pixels of the photo to pixels of the aligned face.
        lips: float (40, 2) px of the aligned face.
        corner: x, y of the generator's crop in the aligned face.
        size: width, height of that crop, px.
    """
    strength = float(np.clip((COARSE_SCALE - align.scale(M)) / (COARSE_SCALE - FINE_SCALE), 0, 1))
    if strength == 0:
        return None
    density = min(MAX_DENSITY, int(np.ceil(1 / align.scale(M))))
    aligned = align.warp(photo, M)
    colours = reference(aligned, lips)
    inside = inner_mask(lips, aligned.shape)
    teeth = tooth_mask(*luma_and_redness(aligned), inside, colours)
    if teeth.sum() >= SHOWN_TEETH and mouth_opening(lips, EYE_DISTANCE) >= OPEN_PHOTO:
        layer = own_row(align.warp(photo, M, SIZE * density), upper_part(teeth, inside, lips), density)
        shade, bare = OWN_SHADE, 0.0
    else:
        layer = placed_row(lips, colours, aligned, density)
        shade, bare = ROW_SHADE, BARE_LIPS * strength
    (x, y), (width, height) = corner, size
    part = layer[y * density : (y + height) * density, x * density : (x + width) * density].astype(np.float32)
    part[..., 3] *= strength
    return TeethLayer(part, density, colours, shade, bare)


def own_row(face: np.ndarray, shown: np.ndarray, density: int) -> np.ndarray:
    """The photo's own teeth, continued upward behind the lip: float32 (density * 256, density * 256, 4).

    Args:
        face: uint8 (density * 256, density * 256, 3), the aligned face.
        shown: bool (256, 256), of `upper_part`.
        density: pixels of the result in a pixel of the aligned face.
    """
    columns = np.flatnonzero(shown.any(0))
    top = np.interp(np.arange(SIZE), columns, shown.argmax(0)[columns]).astype(np.float32)
    rows = np.arange(SIZE)[:, None]
    behind = shown.any(0) & (rows < top) & (rows > top - BEHIND_LIP)
    opacity = cv2.resize((shown | behind).astype(np.float32), None, fx=density, fy=density)
    size = SIZE * density
    gum = cv2.GaussianBlur(cv2.resize(top[None], (size, 1)), (0, 0), 2.0 * density) * density + GUM_LINE * density
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    colour = cv2.remap(face, x, np.maximum(y, gum), cv2.INTER_LINEAR)
    return np.dstack([colour, cv2.GaussianBlur(opacity, (0, 0), 0.5 * density)]).astype(np.float32)


def upper_part(teeth: np.ndarray, inside: np.ndarray, lips: np.ndarray) -> np.ndarray:
    """From the upper lip to the tips of the upper teeth: bool (H, W).

    Args:
        teeth: bool (H, W), pixels of teeth.
        inside: bool (H, W), pixels between the lips.
        lips: float (40, 2) px.
    """
    width = float(np.linalg.norm(lips[30] - lips[20]))
    closed = cv2.morphologyEx(teeth.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    first = np.where(closed.any(0), closed.argmax(0), len(closed))
    rows = np.arange(len(closed))[:, None]
    run = np.where(rows >= first, closed, 1).cumprod(0)  # from the first tooth of a column to its first gap
    upper = (run > 0) & (rows >= first) & (rows < first + TOOTH_HEIGHT * width)
    columns = np.flatnonzero(upper.any(0))
    if not len(columns):
        return upper
    tips = len(closed) - 1 - upper[::-1].argmax(0)
    line = np.interp(np.arange(len(tips)), columns, tips[columns])
    line = np.maximum(line, cv2.GaussianBlur(line[None], (0, 0), 2.0)[0])  # gaps between teeth belong to the row
    within = (np.arange(len(tips)) >= columns[0]) & (np.arange(len(tips)) <= columns[-1])
    return inside & within & (rows <= line)


def placed_row(lips: np.ndarray, colours: Reference, aligned: np.ndarray, density: int) -> np.ndarray:
    """The portrait's row of teeth at the place of these lips: float32 (density * 256, density * 256, 4).

    Args:
        lips: float (40, 2) px of the aligned face.
        colours: of the face.
        aligned: uint8 (256, 256, 3), the face.
        density: pixels of the result in a pixel of the aligned face.
    """
    row = upper_row()
    middle, height = lips[[25, 35]].mean(0), row.shape[0]  # where the lips meet
    axis = (lips[30] - lips[20]) / np.linalg.norm(lips[30] - lips[20])
    down = np.array([-axis[1], axis[0]])
    wide = np.linalg.norm(lips[30] - lips[20])
    edge = middle + EDGE_BELOW * down
    tall = down * ROW_WIDTH * wide / row.shape[1]  # aligned px of a pixel of the row
    half = row.shape[1] // 2
    laid = np.zeros((SIZE * density, SIZE * density, 4), np.float32)
    for part, corner, first in ((row[:, :half], lips[20], 0), (row[:, half:], lips[30], half)):
        # The far side of a turned head is the narrower one.
        step = axis * ROW_WIDTH * abs((corner - middle) @ axis) / half
        origin = edge + step * (first - half + 0.5) - tall * (height - 0.5)
        matrix = align.resized(np.column_stack((step, tall, origin)), density)
        laid += cv2.warpAffine(part, matrix, laid.shape[1::-1], flags=cv2.INTER_LINEAR)
    opacity = laid[..., 3:]
    colour = laid[..., :3] / np.maximum(opacity, 1e-3)  # the row is premultiplied
    return np.dstack([colour * tooth_tone(colours, aligned, lips), opacity])


def tooth_tone(colours: Reference, aligned: np.ndarray, lips: np.ndarray) -> np.ndarray:
    """Factor (3,) on a row of mean luma 1: as bright as teeth are beside such a skin, and partly in its light."""
    skin = np.median(aligned[skin_mask(lips, aligned.shape)], 0)
    light = (skin / max(float(skin @ LUMA), 1.0)) ** 0.5
    return (0.45 * colours.skin_luma + 75.0) * light / float(light @ LUMA)


def lip_depth(mask: np.ndarray) -> np.ndarray:
    """How far a pixel lies inside the open mouth: about 0.5 at the lips, 1 some px away from them. float32 (H, W).

    Args:
        mask: float32 (H, W) in [0, 1], where the mouth is open.
    """
    return cv2.GaussianBlur(mask, (0, 0), SHADE_REACH)


def lay_teeth(
    paint: np.ndarray, mask: np.ndarray, layer: np.ndarray, depth: np.ndarray, teeth: TeethLayer
) -> np.ndarray:
    """Teeth over the generator's paint, which is darkened where it is bright: float32 (h, w, 4).

    Args:
        paint: float32 (h, w, 4), mask * colour in [0, 255].
        mask: float32 (h, w, 4) in [0, 1].
        layer: float32 (h, w, 4): RGB in [0, 255] and opacity, of `teeth`.
        depth: float32 (h, w, 4), of `lip_depth`.
        teeth: the layer, for its colours and its shade.
    """
    colours = teeth.colours
    small = cv2.resize(np.dstack([paint[..., :3], mask[..., 0], depth[..., 0]]), None, fx=COARSE, fy=COARSE)
    small = cv2.blur(small, (5, 5))
    skin = np.maximum(colours.skin_luma * small[..., 3], 1)
    luma, redness = luma_and_redness(small[..., :3])
    pale = np.clip((colours.tooth_redness - redness) / PALE_RAMP + 0.5, 0, 1)
    ghost = np.clip(luma / skin / GHOST_LUMA - 1, 0, 1) * pale
    inner = np.clip((small[..., 4] - EDGE_DEPTH) / (INNER_DEPTH - EDGE_DEPTH), 0, 1)
    left = np.minimum(1, (1 - (1 - INNER_LUMA) * inner) * skin / np.maximum(luma, 1))
    size = paint.shape[1::-1]
    ghost, left = (cv2.resize(cv2.blur(one, (3, 3)), size)[..., None] for one in (ghost, left))
    behind = paint * left * (1 - ghost) + mask * ghost * np.append(colours.skin_luma * DARK, 0).astype(np.float32)
    opacity, light = layer[..., 3:], 1 - teeth.shade * (1 - depth)
    return behind * (1 - opacity) + mask * light * opacity * layer


@functools.cache
def upper_row() -> np.ndarray:
    """The bundled row of upper teeth, its lower edge the tips: float32 (h, w, 4), premultiplied, mean luma 1.

    Raises:
        TalkfaceError: its file is missing or damaged.
    """
    path = weights_dir() / ROW_FILE
    row = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if row is None:
        raise TalkfaceError(f"The row of teeth {path} is missing or damaged.", "Reinstall talkface.")
    colour, opacity = row[..., 2::-1].astype(np.float32), row[..., 3:].astype(np.float32) / 255
    mean = float((colour @ LUMA * opacity[..., 0]).sum() / opacity.sum())
    return np.dstack([colour * opacity / mean, opacity])
