import numpy as np
import pytest

from talkface.media.strips import GAP, LABEL_WIDTH, TIME_HEIGHT, draw_strip


def flat(grey, side=64):
    return np.full((side, side, 3), grey, np.uint8)


def test_each_frame_is_at_the_place_of_its_row_and_column():
    sheet = draw_strip({"real": [flat(10), flat(20)], "model": [flat(30), flat(40)]}, [0.0, 0.52], side=64)
    step = 64 + GAP
    assert sheet.shape == (TIME_HEIGHT + 2 * step, LABEL_WIDTH + 2 * step, 3)
    assert sheet.dtype == np.uint8
    for row, column, grey in [(0, 0, 10), (0, 1, 20), (1, 0, 30), (1, 1, 40)]:
        top, left = TIME_HEIGHT + row * step, LABEL_WIDTH + column * step
        assert np.all(sheet[top : top + 64, left : left + 64] == grey)
        assert np.all(sheet[top : top + 64, left + 64 : left + step] == 255)


def test_rows_and_columns_have_labels():
    sheet = draw_strip({"real": [flat(10)], "wrong_sound": [flat(30)]}, [0.4], side=64)
    assert sheet[:TIME_HEIGHT, LABEL_WIDTH:].min() < 128
    for row in range(2):
        top = TIME_HEIGHT + row * (64 + GAP)
        assert sheet[top : top + 64, :LABEL_WIDTH].min() < 128


def test_frames_of_another_size_are_resized_and_frames_of_the_same_size_are_copied():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    same = draw_strip({"real": [noise]}, [0.0], side=64)
    np.testing.assert_array_equal(same[TIME_HEIGHT:, LABEL_WIDTH:][:64, :64], noise)
    small = draw_strip({"real": [flat(77, 256)]}, [0.0], side=64)
    assert np.all(small[TIME_HEIGHT:, LABEL_WIDTH:][:64, :64] == 77)


def test_each_column_needs_a_frame_in_each_row():
    with pytest.raises(ValueError, match="zip"):
        draw_strip({"real": [flat(10)]}, [0.0, 0.5], side=64)
