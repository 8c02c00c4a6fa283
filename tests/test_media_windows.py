"""The MFCC windows of video frames: centred, silent beyond the recording, the same piece by piece."""

from fractions import Fraction

import numpy as np
import pytest

from talkface.media.windows import SILENCE, iterate_windows, mfcc_windows


@pytest.mark.parametrize("fps", [25, Fraction(30_000, 1001), 30, 12.5, 50, 60])
@pytest.mark.parametrize("offset", [0.0, 0.04, -0.1])
def test_a_window_is_centred_on_the_middle_of_its_frame(fps, offset):
    mfcc = np.arange(500, dtype=np.float32)[:, None] * np.ones(13, np.float32)
    windows = mfcc_windows(mfcc, 100, fps, offset)
    middle = 100 * ((np.arange(100) + 0.5) / float(fps) + offset)
    whole = (middle > 10) & (middle < 489)
    assert windows.shape == (100, 20, 13)
    assert np.abs(windows[whole, 10, 0] - middle[whole]).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(np.diff(windows[whole], axis=1), 1)


def test_windows_before_and_after_the_recording_are_silence():
    windows = mfcc_windows(np.ones((8, 13), np.float32), 10)
    np.testing.assert_array_equal(windows[0, :8], np.tile(SILENCE, (8, 1)))  # frame 0 is centred on step 2
    np.testing.assert_array_equal(windows[0, 8:16], 1)
    np.testing.assert_array_equal(windows[9], np.tile(SILENCE, (20, 1)))


@pytest.mark.parametrize("fps", [25, 29.97, Fraction(30_000, 1001), 12.5])
def test_windows_computed_in_batches_are_the_same(fps):
    mfcc = np.random.default_rng(0).normal(size=(300, 13)).astype(np.float32)
    pieces = np.stack(list(iterate_windows(mfcc, 77, fps, batch=10)))
    np.testing.assert_array_equal(pieces, mfcc_windows(mfcc, 77, fps))


def test_windows_of_later_frames_alone_are_the_same():
    mfcc = np.random.default_rng(0).normal(size=(300, 13)).astype(np.float32)
    np.testing.assert_array_equal(mfcc_windows(mfcc, 5, 30, first=40), mfcc_windows(mfcc, 45, 30)[40:])


def test_no_frames_have_no_windows():
    assert mfcc_windows(np.ones((8, 13), np.float32), 0).shape == (0, 20, 13)
    assert list(iterate_windows(np.ones((8, 13), np.float32), 0)) == []
