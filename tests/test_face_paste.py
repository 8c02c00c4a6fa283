import cv2
import numpy as np
import pytest
import skimage.data

from talkface.config import SIZE
from talkface.face import align
from talkface.face.paste import Paster

WHOLE = (0, 0, SIZE)


def similarity(scale, degrees, shift):
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def generated(size=SIZE, colour=(0.0, 0.0, 0.0), mask=0.0, flow=(0.0, 0.0)):
    """Constant colour, mask and flow."""
    full = [np.full((size, size), value, np.float32) for value in (*colour, mask, *flow)]
    return np.stack(full[:3]), full[3], np.stack(full[4:])


@pytest.fixture
def photo():
    return skimage.data.astronaut()


def test_pixels_outside_the_pasted_face_are_those_of_the_photo(photo):
    M = similarity(1.7, 12, (-200, -60))
    result = Paster(photo, M).paste(*generated(96, (1, 0, 0), 1.0, (3, 4)), (80, 140, 96))
    y, x = np.mgrid[:512, :512]
    aligned = align.apply(M, np.stack((x, y), 2).astype(float))
    margin = 0.5 + 1.7  # to the outer edge of the window's pixels, and one pixel of the photo
    inside = ((aligned > (80 - margin, 140 - margin)) & (aligned < (175 + margin, 235 + margin))).all(2)
    assert np.array_equal(result[~inside], photo[~inside])
    assert (result[inside] != photo[inside]).any()


def test_without_mask_and_flow_the_photo_stays_bit_identical(photo):
    for M in (similarity(0.6, 33, (10, 20)), similarity(2.5, -8, (-400, -200))):
        colour = np.random.default_rng(0).random((3, SIZE, SIZE), dtype=np.float32)
        assert np.array_equal(Paster(photo, M).paste(colour, *generated()[1:], WHOLE), photo)


def test_the_photo_is_not_modified_and_each_frame_is_a_new_array(photo):
    before = photo.copy()
    paster = Paster(photo, similarity(1, 0, (-100, 0)))
    first = paster.paste(*generated(colour=(1, 1, 1), mask=1.0), WHOLE)
    kept = first.copy()
    second = paster.paste(*generated(), WHOLE)
    assert np.array_equal(photo, before)
    assert np.array_equal(first, kept)
    assert np.array_equal(second, before)


def test_a_full_mask_with_the_identity_alignment_gives_the_colour(photo):
    colour = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    _, mask, flow = generated(40, mask=1.0)
    window = (100, 60, 40)
    result = Paster(photo, similarity(1, 0, (0, 0))).paste(
        colour.transpose(2, 0, 1).astype(np.float32) / 255, mask, flow, window
    )
    assert np.array_equal(result[60:100, 100:140], colour)


def test_a_mask_of_one_half_gives_the_mean_of_colour_and_photo(photo):
    result = Paster(photo, similarity(1, 0, (0, 0))).paste(*generated(colour=(1, 1, 1), mask=0.5), WHOLE)
    expected = (photo[:SIZE, :SIZE].astype(float) + 255) / 2
    assert np.abs(result[:SIZE, :SIZE] - expected).max() <= 0.5


def test_the_flow_is_backward_and_in_pixels_of_the_aligned_face(photo):
    # Two photo pixels to an aligned one, turned by 90 degrees: 3 aligned px to the right are 6 photo px upwards.
    M = similarity(0.5, 90, (256, 0))
    result = Paster(photo, M).paste(*generated(flow=(3, 0)), WHOLE)
    assert np.array_equal(result[100:400, 100:400], photo[94:394, 100:400])


def test_a_window_with_finer_pixels_covers_the_same_area(photo):
    # A ramp across a window of 64 aligned px, given at 64 and at 128 pixels.
    M = similarity(1, 0, (0, 0))
    window = (96, 128, 64)
    results = []
    for pixels in (64, 128):
        ramp = ((np.arange(pixels) + 0.5) / pixels).astype(np.float32)
        colour = np.broadcast_to(ramp, (3, pixels, pixels))
        mask, flow = np.ones((pixels, pixels), np.float32), np.zeros((2, pixels, pixels), np.float32)
        results.append(Paster(photo, M).paste(colour, mask, flow, window).astype(int))
    assert np.abs(results[0] - results[1])[128:192, 96:160].max() <= 1


def test_for_a_small_face_the_networks_pixels_are_averaged(photo):
    # Eight network pixels to a photo pixel: a checkerboard must come out gray, not aliased.
    board = (np.indices((SIZE, SIZE)).sum(0) % 2).astype(np.float32)
    colour = np.broadcast_to(board, (3, SIZE, SIZE))
    result = Paster(photo, similarity(8, 0, (0, 0))).paste(colour, *generated(mask=1.0)[1:], WHOLE)
    assert np.abs(result[2:30, 2:30].astype(int) - 128).max() <= 1


def test_a_face_at_the_photos_edge_or_beyond_it_is_clipped(photo):
    frame = generated(colour=(1, 0, 0), mask=1.0, flow=(5, 5))
    cornered = Paster(photo, similarity(1, 0, (200, 200))).paste(*frame, WHOLE)
    assert (cornered[:50, :50] == (255, 0, 0)).all()
    assert np.array_equal(cornered[60:], photo[60:])
    outside = Paster(photo, similarity(1, 0, (5000, 0))).paste(*frame, WHOLE)
    assert np.array_equal(outside, photo)


def test_a_large_photo_keeps_its_detail_under_a_warped_mouth():
    photo = cv2.resize(skimage.data.astronaut(), (2000, 2000), interpolation=cv2.INTER_CUBIC)
    photo[::2, ::2] //= 2  # detail that no 256-px frame can hold
    M = similarity(0.2, 0, (0, 0))
    result = Paster(photo, M).paste(*generated(flow=(0.4, 0)), WHOLE)  # two photo pixels
    assert np.array_equal(result[100:1200, 100:1200], photo[100:1200, 102:1202])
