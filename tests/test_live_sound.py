"""The last seconds of a sound: the right samples at the right time and rate."""

import numpy as np
import pytest

from talkface.live.sound import KEPT_SECONDS, LiveSound
from talkface.live.source import Block
from talkface.media.pcm import SoundFormat


def ramp(rate=16_000, seconds=10.0, size=777):
    """A sound whose samples tell their own number, in blocks that come one a second."""
    numbers = np.arange(round(seconds * rate), dtype=np.float32)[:, None] / 2**20
    blocks = (Block(numbers[at : at + size], float(at)) for at in range(0, len(numbers), size))
    return LiveSound(blocks, SoundFormat("f32le", rate))


def test_no_more_sound_is_taken_than_is_needed():
    sound = ramp()
    assert sound.wait_until(0.1)
    assert 1600 <= sound.samples < 1600 + 777


def test_a_window_has_the_samples_of_its_time_and_silence_before_and_after_the_sound():
    sound = ramp(seconds=1.0)
    assert sound.wait_until(1.0)
    assert not sound.wait_until(1.1)
    np.testing.assert_array_equal(sound.window(0.5, 0.51, 16_000) * 2**20, np.arange(8000, 8160))
    np.testing.assert_array_equal(sound.window(-0.001, 0.001, 16_000) * 2**20, [0] * 16 + [*range(16)])
    np.testing.assert_array_equal(sound.window(0.999, 1.001, 16_000) * 2**20, [*range(15984, 16000)] + [0] * 16)


def test_old_sound_is_forgotten():
    sound = ramp()
    sound.wait_until(10)
    assert len(sound.window(10 - KEPT_SECONDS, 10, 16_000).nonzero()[0]) == KEPT_SECONDS * 16_000
    assert not sound.window(0, 10 - KEPT_SECONDS, 16_000).any()


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_a_window_has_the_rate_that_is_asked_for(rate):
    times = np.arange(rate) / rate
    tone = np.sin(2 * np.pi * 1000 * times).astype(np.float32)[:, None]
    sound = LiveSound(iter([Block(tone, 0.0)]), SoundFormat("f32le", rate))
    sound.wait_until(1.0)
    window = sound.window(0.25, 0.75, 16_000)
    wanted = np.sin(2 * np.pi * 1000 * (round(0.25 * rate) / rate + np.arange(8000) / 16_000))
    assert len(window) == 8000
    np.testing.assert_allclose(window[100:-100], wanted[100:-100], atol=0.02)


def test_a_sample_came_with_its_block():
    sound = ramp()
    sound.wait_until(1.0)
    assert sound.arrival(1554 / 16_000) == 1554
    assert sound.arrival(1553.5 / 16_000) == 777


def test_blocks_are_passed_on_whole():
    passed = []
    block = np.arange(20_000, dtype=np.int16)[:, None]
    sound = LiveSound(iter([Block(block, 0.0)]), SoundFormat(), passed.append)
    assert not sound.wait_until(9)
    np.testing.assert_array_equal(np.concatenate(passed), block)
