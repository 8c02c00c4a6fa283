"""The layer of teeth: when there is one, where it lies, what it hides, and what stays of the photo."""

import cv2
import numpy as np
import pytest

from talkface.config import SIZE
from talkface.errors import TalkfaceError
from talkface.face import teeth
from talkface.face.mouth_colours import LUMA, Reference
from talkface.face.paste import Paster
from talkface.face.teeth import (
    EDGE_BELOW,
    INNER_LUMA,
    ROW_WIDTH,
    TeethLayer,
    lay_teeth,
    lip_depth,
    placed_row,
    teeth_layer,
    upper_row,
)
from talkface.model.frames import HEIGHT, WIDTH
from talkface.model.inference import OutputFrame, crop_corner

SKIN, LIP, TEETH = (200, 160, 140), (170, 60, 70), (225, 220, 205)
COLOURS = Reference(skin_luma=170.0, lip_redness=0.6, skin_redness=0.25)
FINE = 2  # px of the photo for a pixel of the aligned face


def face(lips, teeth_height=0):
    """An aligned face, twice as fine: skin, red lips, a dark mouth with teeth of so many px below its upper lip."""
    picture = np.full((SIZE * FINE, SIZE * FINE, 3), SKIN, np.uint8)
    points = (lips + 0.5) * FINE - 0.5
    for ring, colour in ((points[:20], LIP), (points[20:], (15, 8, 8))):
        cv2.fillPoly(picture, [np.round(ring * 16).astype(np.int32)], colour, shift=4)
    mouth = (picture == (15, 8, 8)).all(2)
    top = np.where(mouth.any(0), mouth.argmax(0), len(mouth))
    rows = np.arange(len(mouth))[:, None]
    picture[mouth & (rows < top + teeth_height * FINE)] = TEETH
    return picture


def transform(scale=1 / FINE):
    """Pixels of a photo to pixels of the aligned face, so that the face covers the photo."""
    return np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])


def layer_of(photo, lips, scale=1 / FINE):
    return teeth_layer(photo, transform(scale), lips, crop_corner(lips), (WIDTH, HEIGHT))


def frame(lips, paint):
    """A frame that paints one colour over the whole crop."""
    constant = np.ones((HEIGHT, WIDTH), np.float32)
    return OutputFrame(
        face=np.zeros((SIZE, SIZE, 3), np.uint8),
        paint=np.stack([constant * value for value in paint]),
        weights=np.stack([constant, 0 * constant, 0 * constant]),
        copy_flow=np.zeros((4, HEIGHT, WIDTH), np.float32),
        mask=constant,
        flow=np.zeros((2, HEIGHT, WIDTH), np.float32),
        region=(*crop_corner(lips), WIDTH, HEIGHT),
        corner=crop_corner(lips),
    )


def test_a_photo_as_coarse_as_the_aligned_face_has_no_layer(synthetic_clips):
    lips = synthetic_clips.lip_points(8.0)
    coarse = cv2.resize(face(lips, 6), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    assert layer_of(coarse, lips, scale=1.0) is None
    assert layer_of(face(lips, 6), lips) is not None


def test_between_fine_and_coarse_the_layer_fades(synthetic_clips):
    lips = synthetic_clips.lip_points(8.0)
    scale = (teeth.FINE_SCALE + teeth.COARSE_SCALE) / 2
    size = round(SIZE / scale)
    between = cv2.resize(face(lips, 6), (size, size), interpolation=cv2.INTER_AREA)
    assert layer_of(between, lips, SIZE / size).picture[..., 3].max() == pytest.approx(0.5, abs=0.03)


def test_teeth_that_the_photo_shows_are_its_own(synthetic_clips):
    lips = synthetic_clips.lip_points(8.0)
    photo = face(lips, teeth_height=6)
    layer = layer_of(photo, lips)
    x, y = crop_corner(lips)
    cut = photo[y * FINE : (y + HEIGHT) * FINE, x * FINE : (x + WIDTH) * FINE]
    opaque = layer.picture[..., 3] > 0.9
    bright, dark = (cut == TEETH).all(2), (cut == (15, 8, 8)).all(2)
    assert (opaque & bright).sum() > 0.8 * bright.sum()
    assert (layer.picture[..., 3] * dark).sum() < 0.2 * dark.sum()  # below the tips the generator paints
    inside = cv2.erode((opaque & bright).astype(np.uint8), np.ones((5, 5))) > 0
    assert np.abs(layer.picture[inside][:, :3] - TEETH).max() < 3


def test_a_closed_mouth_gets_the_row_just_below_its_lip(synthetic_clips):
    lips = synthetic_clips.lip_points(0.2)
    layer = layer_of(face(lips), lips)
    rows, columns = np.where(layer.picture[..., 3] > 0.5)
    x, y = crop_corner(lips)
    width = lips[30, 0] - lips[20, 0]
    middle = (x * FINE + columns.max() / 2 + columns.min() / 2) / FINE
    assert y + rows.max() / FINE == pytest.approx(lips[[25, 35], 1].mean() + EDGE_BELOW, abs=1.5)
    assert (columns.max() - columns.min()) / FINE == pytest.approx(ROW_WIDTH * width, rel=0.1)
    assert middle == pytest.approx(lips[:, 0].mean(), abs=1.5)


def test_paint_keeps_off_the_lips_unless_the_photo_shows_teeth(synthetic_clips):
    closed, open_ = synthetic_clips.lip_points(0.2), synthetic_clips.lip_points(8.0)
    white = frame(closed, (1, 1, 1))
    faint = white._replace(mask=np.full_like(white.mask, 0.6))
    for lips, height, painted in ((closed, 0, False), (open_, 6, True)):
        photo = face(lips, height)
        result = Paster(photo, transform(), layer_of(photo, lips)).paste_frame(faint)
        assert (result != photo).any() == painted
    coarse = cv2.resize(face(closed), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    assert (Paster(coarse, transform(1.0), layer_of(coarse, closed, 1.0)).paste_frame(faint) != coarse).any()


def test_the_row_turns_with_the_lips_and_is_narrower_on_the_far_side(synthetic_clips):
    lips = synthetic_clips.lip_points(0.2)
    centre, (c, s) = lips.mean(0), (np.cos(0.3), np.sin(0.3))
    turned = (lips - centre) @ np.array([[c, s], [-s, c]], np.float32) + centre
    aligned = np.full((SIZE, SIZE, 3), SKIN, np.uint8)
    opacity = placed_row(turned, COLOURS, aligned, 2)[..., 3]
    points = np.argwhere(opacity > 0.5)[:, ::-1].astype(np.float32)
    axis = np.linalg.svd(points - points.mean(0), full_matrices=False)[2][0]
    assert abs(np.arctan2(axis[1], axis[0]) % np.pi) == pytest.approx(0.3, abs=0.05)
    far = lips.copy()
    far[[25, 35], 0] -= 8  # the middle of the lips is nearer to the left corner
    columns = np.flatnonzero((placed_row(far, COLOURS, aligned, 2)[..., 3] > 0.5).any(0)) / 2
    middle = far[25, 0]
    assert middle - columns.min() < 0.75 * (columns.max() - middle)


def laid(paint, depth=0.5, layer=(0, 0, 0, 0), shade=0.0, size=(40, 60)):
    """The colour at the middle of a mouth of one paint, at one depth, under a layer of one colour and opacity."""
    whole = np.ones((*size, 4), np.float32)
    colour, over = (whole * np.float32(values) for values in ((*paint, 0), layer))
    teeth = TeethLayer(over, 1, COLOURS, shade, bare=0.0)
    return lay_teeth(colour, whole, over, depth * whole, teeth)[size[0] // 2, size[1] // 2, :3]


@pytest.mark.parametrize("paint, stays", [((230, 225, 210), False), ((150, 70, 75), True), ((20, 10, 10), True)])
def test_paint_as_bright_as_teeth_gives_way_to_the_dark_beside_the_row(paint, stays):
    result = laid(paint)
    if stays:
        assert np.abs(result - paint).max() < 20
    else:
        assert result.max() < 40


def test_deep_inside_the_mouth_red_paint_keeps_its_hue_but_not_its_brightness():
    lip, inside = laid((190, 80, 85)), laid((190, 80, 85), depth=1.0)
    assert np.abs(lip - (190, 80, 85)).max() < 1
    assert inside @ LUMA == pytest.approx(INNER_LUMA * COLOURS.skin_luma, rel=0.02)
    assert np.allclose(inside / inside[0], lip / lip[0], atol=0.02)


def test_the_layer_covers_the_paint_and_is_darker_beside_the_lips():
    teeth = (200, 200, 200, 1)
    assert np.allclose(laid((0, 0, 0), 1.0, teeth, shade=0.4), 200)
    assert np.allclose(laid((0, 0, 0), 0.5, teeth, shade=0.4), 160)
    open_half = np.repeat(np.float32([[0.0] * 30 + [1.0] * 30]), 40, 0)
    depth = lip_depth(open_half)
    assert depth[20, 55] == pytest.approx(1.0, abs=0.01)
    assert depth[20, 30] == pytest.approx(0.55, abs=0.1)


def test_pixels_outside_the_crop_stay_and_teeth_stand_still_while_the_paint_changes(synthetic_clips):
    lips = synthetic_clips.lip_points(8.0)
    photo = face(lips, teeth_height=6)
    layer = layer_of(photo, lips)
    paster = Paster(photo, transform(), layer)
    dark, red = (paster.paste_frame(frame(lips, paint)) for paint in ((0.05, 0.03, 0.03), (0.6, 0.25, 0.28)))
    x, y = crop_corner(lips)
    outside = np.ones(photo.shape[:2], bool)
    outside[y * FINE - 1 : (y + HEIGHT) * FINE + 1, x * FINE - 1 : (x + WIDTH) * FINE + 1] = False
    assert np.array_equal(dark[outside], photo[outside])
    shown = np.zeros(photo.shape[:2], bool)
    opaque = cv2.erode((layer.picture[..., 3] > 0.99).astype(np.uint8), np.ones((3, 3))) > 0
    shown[y * FINE : (y + HEIGHT) * FINE, x * FINE : (x + WIDTH) * FINE] = opaque
    assert shown.any()
    assert np.abs(dark[shown].astype(int) - red[shown]).max() <= 3
    assert np.abs(dark.astype(int) - red).max() > 50


def test_a_missing_row_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(teeth, "weights_dir", lambda: tmp_path)
    upper_row.cache_clear()
    with pytest.raises(TalkfaceError, match=r"upper_teeth\.png is missing or damaged"):
        upper_row()
    upper_row.cache_clear()
