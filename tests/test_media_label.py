import numpy as np
import pytest

from talkface.errors import TalkfaceError
from talkface.media.label import Label


def test_the_label_is_white_on_a_darker_box_in_the_lower_left_corner():
    frame = np.full((240, 320, 3), 200, np.uint8)
    drawn = Label("AI-generated", 320, 240).draw(frame)
    changed = np.argwhere((drawn != frame).any(-1))
    (top, left), (bottom, right) = changed.min(0), changed.max(0)
    assert top > 200
    assert left < 10
    assert bottom > 230
    assert right < 160
    inside = drawn[top : bottom + 1, left : right + 1]
    assert inside.max() == 255
    assert 80 <= np.median(inside) <= 100  # 45 % of 200


def test_drawing_leaves_the_frame_as_it_was():
    frame = np.zeros((64, 200, 3), np.uint8)
    Label("AI", 200, 64).draw(frame)
    assert not frame.any()


def test_a_long_label_becomes_smaller_and_a_longer_one_is_an_error():
    Label("An AI made this video", 128, 128)
    with pytest.raises(TalkfaceError, match="too long for a frame 128 pixels wide"):
        Label("word " * 40, 128, 128)


def test_letters_that_the_font_lacks_are_an_error():
    with pytest.raises(TalkfaceError, match="no letter '生'"):
        Label("AI 生", 512, 512)
