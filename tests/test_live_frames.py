"""Frames while the sound comes: at once, all of them, and in time."""

from fractions import Fraction

import numpy as np
import pytest

from talkface.config import ALIGNED_LIPS, ALIGNED_NOSE
from talkface.live.frames import Latency, LiveFrames
from talkface.live.sound import LiveSound
from talkface.live.source import Block
from talkface.media.pcm import SoundFormat
from talkface.model.inference import AlignedFace
from talkface.model.paper import PaperConfig, PaperGenerator

pytestmark = pytest.mark.usefixtures("one_thread")
SOUND = SoundFormat("f32le", 16_000)


def sound_of(seconds, period=0.02, pace=1.0, taken=None):
    """Noise in blocks of `period` seconds; each comes when it has been spoken, or faster by the factor `pace`."""
    noise = 0.2 * np.random.default_rng(0).standard_normal((round(seconds * SOUND.rate), 1)).astype(np.float32)
    size = round(period * SOUND.rate)

    def blocks():
        for start in range(0, len(noise), size):
            if taken is not None:
                taken.append(start + size)
            yield Block(noise[start : start + size], (start + size) / SOUND.rate / pace)

    return LiveSound(blocks(), SOUND)


def frames_of(generator, sound, fps=25, look_ahead=0.24, **others):
    picture = np.random.default_rng(1).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    face = AlignedFace(picture, np.float32(ALIGNED_LIPS), np.float32(ALIGNED_NOSE))
    return LiveFrames(generator, face, lambda frame: frame.face, sound, Fraction(fps), look_ahead, **others)


@pytest.mark.parametrize("seconds, fps, wanted", [(0.05, 25, 2), (0.28, 25, 7), (0.5, Fraction(30000, 1001), 15)])
def test_a_video_has_ceil_of_duration_times_fps_frames(make_generator, seconds, fps, wanted):
    assert sum(1 for _ in frames_of(make_generator(), sound_of(seconds), fps)) == wanted


def test_a_frame_comes_as_soon_as_its_look_ahead_is_there(make_generator):
    taken = []
    frames = frames_of(make_generator(), sound_of(1, taken=taken))
    for number, _ in zip(range(10), frames, strict=False):
        assert taken[-1] / SOUND.rate == pytest.approx(number / 25 + 0.24)


@pytest.mark.parametrize("generator", ["mfcc", "paper"])
def test_frames_do_not_depend_on_how_the_sound_is_cut_into_blocks(make_generator, generator):
    network = (
        make_generator()
        if generator == "mfcc"
        else PaperGenerator(PaperConfig(widths=(2, 2, 2, 2, 2), audio_features=4)).eval()
    )
    one, other = (list(frames_of(network, sound_of(0.4, period))) for period in (0.02, 0.33))
    assert len(one) == 10
    np.testing.assert_array_equal(one, other)
    assert (one[0] != one[9]).any()


def test_frames_that_are_too_late_are_repetitions_of_the_one_before(make_generator):
    asked = []

    def is_late(due):
        asked.append(due)
        return len(asked) in (3, 4, 9)  # of frames 1, 2, ...: the first one is made in any case

    frames = frames_of(make_generator(), sound_of(0.6), is_late=is_late)
    pictures = list(frames)
    assert len(pictures) == 15
    assert frames.repeated == 3
    same = [k for k in range(1, 15) if pictures[k] is pictures[k - 1]]
    assert same == [3, 4, 9]


def test_a_frame_is_due_when_its_look_ahead_has_come(make_generator):
    due = []
    list(frames_of(make_generator(), sound_of(0.6), is_late=lambda when: due.append(when)))
    np.testing.assert_allclose(due, (np.arange(1, 10) / 25 + 0.24), atol=1e-6)


def test_sound_in_a_rush_makes_no_frame_late(make_generator):
    """Frames are due at most 0.7 / fps after one another, however fast their sound came."""
    due = []
    frames = frames_of(make_generator(), sound_of(0.6, pace=1000), is_late=lambda when: due.append(when), due=5.0)
    list(frames)
    np.testing.assert_allclose(due, 5 + 0.7 / 25 * np.arange(2, 11), atol=1e-3)


def latency_of(pace, ready=-np.inf):
    sound, latency = sound_of(4, pace=pace), Latency(ready)
    for number in range(75):
        sound.wait_until(number / 25 + 0.24)
        latency.expect(number, number / 25, sound)
        latency.left(number, number / 25 + 0.3)
    return latency


def test_latency_is_from_the_arrival_of_the_sound_until_the_frame_has_left():
    latency = latency_of(1.0)
    assert len(latency.seconds) == 50  # not those of the first second
    # The sound at the start of a frame comes with the block of 20 ms that it begins.
    assert latency.percentile(50) == pytest.approx(0.28)


def test_sound_that_comes_faster_than_it_plays_does_not_count_for_the_latency():
    assert latency_of(2.0).percentile(50) is None


def test_sound_from_before_the_start_does_not_count_for_the_latency():
    assert len(latency_of(1.0, ready=2.0).seconds) == pytest.approx(25, abs=1)
