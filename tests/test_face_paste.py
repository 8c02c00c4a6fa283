"""Paste-back: what the photo keeps, what the frame replaces, at the photo's own resolution."""

import cv2
import numpy as np
import pytest
import skimage.data

from talkface.config import SIZE
from talkface.face import align
from talkface.face.paste import Paster
from talkface.model.inference import OutputFrame

WHOLE = (0, 0, SIZE, SIZE)


def similarity(scale, degrees, shift):
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def constant(values, width, height):
    return np.stack([np.full((height, width), value, np.float32) for value in values])


def generated(paint=(0, 0, 0), mask=0.0, flow=(0, 0), region=WHOLE, crop=WHOLE, weights=(1, 0, 0), copies=(0,) * 4):
    """A frame of constant paint, mask, mixture and flows; `paint` may be a picture, float (3, H, W)."""
    size = crop[2:]
    return OutputFrame(
        face=np.zeros((SIZE, SIZE, 3), np.uint8),  # of no matter: paste-back starts from the photo
        paint=paint if isinstance(paint, np.ndarray) else constant(paint, *size),
        weights=constant(weights, *size),
        copy_flow=constant(copies, *size),
        mask=constant([mask], *size)[0],
        flow=constant(flow, *region[2:]),
        region=region,
        corner=crop[:2],
    )


@pytest.fixture
def photo():
    return skimage.data.astronaut()


def test_pixels_outside_the_pasted_region_are_those_of_the_photo(photo):
    M = similarity(1.7, 12, (-200, -60))
    frame = generated((1, 0, 0), 1.0, (3, 4), region=(80, 140, 96, 72), crop=(90, 150, 80, 48))
    result = Paster(photo, M).paste_frame(frame)
    y, x = np.mgrid[:512, :512]
    aligned = align.apply(M, np.stack((x, y), 2).astype(float))
    margin = 0.5 + 1.7  # to the outer edge of the region's pixels, and one pixel of the photo
    inside = ((aligned > (80 - margin, 140 - margin)) & (aligned < (175 + margin, 211 + margin))).all(2)
    assert np.array_equal(result[~inside], photo[~inside])
    assert (result[inside] != photo[inside]).any()


def test_without_mask_and_flow_the_photo_stays_bit_identical(photo):
    paint = np.random.default_rng(0).random((3, SIZE, SIZE), dtype=np.float32)
    for M in (similarity(0.6, 33, (10, 20)), similarity(2.5, -8, (-400, -200))):
        assert np.array_equal(Paster(photo, M).paste_frame(generated(paint)), photo)


def test_the_photo_is_not_modified_and_each_frame_is_a_new_array(photo):
    before = photo.copy()
    paster = Paster(photo, similarity(1, 0, (-100, 0)))
    first = paster.paste_frame(generated((1, 1, 1), mask=1.0))
    kept = first.copy()
    second = paster.paste_frame(generated())
    assert np.array_equal(photo, before)
    assert np.array_equal(first, kept)
    assert np.array_equal(second, before)


def test_a_full_mask_with_the_identity_alignment_gives_the_paint(photo):
    paint = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    frame = generated(paint.transpose(2, 0, 1).astype(np.float32) / 255, 1.0, crop=(100, 60, 40, 30))
    result = Paster(photo, similarity(1, 0, (0, 0))).paste_frame(frame)
    assert np.array_equal(result[60:90, 100:140], paint)
    result[60:90, 100:140] = photo[60:90, 100:140]
    assert np.array_equal(result, photo)


def test_a_mask_of_one_half_gives_the_mean_of_paint_and_photo(photo):
    result = Paster(photo, similarity(1, 0, (0, 0))).paste_frame(generated((1, 1, 1), mask=0.5))
    expected = (photo[:SIZE, :SIZE].astype(float) + 255) / 2
    assert np.abs(result[:SIZE, :SIZE] - expected).max() <= 0.5


def test_the_flow_is_backward_and_in_pixels_of_the_aligned_face(photo):
    # Two photo pixels to an aligned one, turned by 90 degrees: 3 aligned px to the right are 6 photo px upwards.
    M = similarity(0.5, 90, (256, 0))
    result = Paster(photo, M).paste_frame(generated(flow=(3, 0)))
    assert np.array_equal(result[100:400, 100:400], photo[94:394, 100:400])


@pytest.mark.parametrize("copy", [1, 2])
def test_copies_show_the_photo_at_its_own_resolution_moved_by_their_flow(copy):
    photo = cv2.resize(skimage.data.astronaut(), (1024, 1024), interpolation=cv2.INTER_CUBIC)
    photo[::2, ::2] //= 2  # detail that no 256-px frame can hold
    weights = [0, 0, 0]
    weights[copy] = 1
    copies = [9.0] * 4  # of the copy that has no share
    copies[2 * copy - 2 : 2 * copy] = 0.5, -1.0  # px of the aligned face: 2 and -4 photo pixels
    result = Paster(photo, similarity(0.25, 0, (0, 0))).paste_frame(
        generated((1, 1, 1), 1.0, weights=weights, copies=copies)
    )
    assert np.array_equal(result[100:900, 100:900], photo[96:896, 102:902])


def test_paint_and_copies_are_mixed_by_their_shares_over_the_carried_photo(photo):
    frame = generated((1, 0.5, 0), 0.8, flow=(2, 0), weights=(0.5, 0.3, 0.2), copies=(0, 3, -4, 0))
    result = Paster(photo, similarity(1, 0, (0, 0))).paste_frame(frame)
    part = np.s_[20:200, 20:200]
    skull, jaw, carried = photo[23:203, 20:200], photo[20:200, 16:196], photo[20:200, 22:202]
    colour = 0.5 * np.array([255, 127.5, 0]) + 0.3 * skull + 0.2 * jaw
    assert np.abs(result[part] - (0.8 * colour + 0.2 * carried)).max() <= 1


def test_for_a_small_face_the_networks_pixels_are_averaged(photo):
    # Eight network pixels to a photo pixel: a checkerboard must come out gray, not aliased.
    board = (np.indices((SIZE, SIZE)).sum(0) % 2).astype(np.float32)
    frame = generated(np.stack([board] * 3), mask=1.0)
    result = Paster(photo, similarity(8, 0, (0, 0))).paste_frame(frame)
    assert np.abs(result[2:30, 2:30].astype(int) - 128).max() <= 1


def test_a_face_at_the_photos_edge_or_beyond_it_is_clipped(photo):
    frame = generated((1, 0, 0), mask=1.0, flow=(5, 5))
    cornered = Paster(photo, similarity(1, 0, (200, 200))).paste_frame(frame)
    assert (cornered[:50, :50] == (255, 0, 0)).all()
    assert np.array_equal(cornered[60:], photo[60:])
    outside = Paster(photo, similarity(1, 0, (5000, 0))).paste_frame(frame)
    assert np.array_equal(outside, photo)


def test_a_large_photo_keeps_its_detail_under_a_warped_mouth():
    photo = cv2.resize(skimage.data.astronaut(), (2000, 2000), interpolation=cv2.INTER_CUBIC)
    photo[::2, ::2] //= 2  # detail that no 256-px frame can hold
    M = similarity(0.2, 0, (0, 0))
    result = Paster(photo, M).paste_frame(generated(flow=(0.4, 0)))  # two photo pixels
    assert np.array_equal(result[100:1200, 100:1200], photo[100:1200, 102:1202])
