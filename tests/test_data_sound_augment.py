"""Distortions of waveforms: against tones and impulses whose answers are known."""

import numpy as np
import pytest

from talkface.config import SOUND_RATE
from talkface.data.sound_augment import (
    SPEEDS,
    augmented,
    equalized,
    noise,
    resampled,
    resampled_lips,
    reverberant,
    telephone,
)


def tone(hertz, seconds=1.0):
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * SOUND_RATE)) / SOUND_RATE).astype(np.float32)


def loudest(sound):
    """Frequency of the largest peak, Hz."""
    return np.fft.rfftfreq(len(sound), 1 / SOUND_RATE)[np.abs(np.fft.rfft(sound)).argmax()]


@pytest.mark.parametrize("speed", [0.86, 1.0, 1.16])
def test_a_faster_voice_is_higher_and_shorter(speed):
    found = resampled(tone(400), speed)
    assert len(found) == int(SOUND_RATE / speed)
    assert loudest(found) == pytest.approx(400 * speed, abs=1.5)


@pytest.mark.parametrize("speed", [0.86, 1.0, 1.16])
def test_the_lips_of_a_faster_clip_are_those_of_the_same_moment(speed):
    """Lips that move at constant speed: frame k shows the moment (k + 0.5) / 25 s x speed of the original."""
    lips = np.arange(50, dtype=np.float32)[:, None, None] * np.ones((40, 2), np.float32)
    found = resampled_lips(lips, speed)
    assert found.shape == (int(50 / speed), 40, 2)
    wanted = (np.arange(len(found)) + 0.5) * speed - 0.5
    np.testing.assert_allclose(found[:, 7, 1], wanted.clip(0, 49), atol=1e-4)


def test_a_clip_of_one_frame_keeps_it():
    assert resampled_lips(np.ones((1, 40, 2), np.float32), 1.16).shape == (1, 40, 2)


def test_a_telephone_passes_its_band_alone():
    levels = {hertz: telephone(tone(hertz), 300, 3400).std() / tone(hertz).std() for hertz in (80, 1000, 6000)}
    assert levels[1000] == pytest.approx(1, abs=0.05)
    assert levels[80] < 0.02
    assert levels[6000] < 0.02


def test_an_equalizer_changes_the_loudness_of_a_tone_and_nothing_else():
    gains = []
    for seed in range(30):
        found = equalized(tone(1000), np.random.default_rng(seed))
        gains.append(found.std() / tone(1000).std())
        np.testing.assert_allclose(found, gains[-1] * tone(1000), atol=0.02 * gains[-1])
    decibels = 20 * np.log10(gains)
    assert np.abs(decibels).max() <= 12
    assert 2 < decibels.std() < 6  # drawn with 4 dB


def test_a_room_comes_after_the_sound_and_not_before_it():
    click = np.zeros(SOUND_RATE, np.float32)
    click[4000] = 1.0
    found = reverberant(click, np.random.default_rng(0))
    assert len(found) == len(click)
    assert np.abs(found[:4000]).max() < 1e-5
    assert found[4000] == pytest.approx(1, abs=1e-4)
    assert np.abs(found[4001:4016]).max() < 1e-5
    tail = found[4016:]
    assert 0.2 < np.sqrt((tail**2).sum()) < 0.71
    assert np.abs(tail[8000:]).max() < 1e-5  # over after half a second


def test_noise_has_a_standard_deviation_of_one_whatever_its_kind():
    others = [tone(200, 0.3), tone(300, 2.0)]
    kinds = set()
    for seed in range(12):
        random = np.random.default_rng(seed)
        kinds.add(int(np.random.default_rng(seed).integers(3)))
        found = noise(SOUND_RATE, random, others)
        assert len(found) == SOUND_RATE
        assert found.std() == pytest.approx(1, abs=1e-3)
    assert kinds == {0, 1, 2}


def test_pink_noise_is_louder_at_low_frequencies_and_white_noise_is_not():
    seeds = {int(np.random.default_rng(seed).integers(3)): seed for seed in range(20)}
    shares = {}
    for kind in (1, 2):
        power = np.abs(np.fft.rfft(noise(SOUND_RATE, np.random.default_rng(seeds[kind]), []))) ** 2
        shares[kind] = power[:1000].sum() / power.sum()
    assert shares[2] == pytest.approx(1000 / 8000, abs=0.02)
    assert shares[1] > 0.5


def test_the_same_draws_give_the_same_copy_and_others_another():
    copies = [augmented(tone(300), np.random.default_rng(seed), [tone(150)]) for seed in (3, 3, 4)]
    assert np.array_equal(copies[0][0], copies[1][0])
    assert copies[0][1] == copies[1][1]
    assert not np.array_equal(copies[0][0], copies[2][0][: len(copies[0][0])])


def test_a_copy_is_as_long_as_its_speed_says_and_finite():
    speeds = []
    for seed in range(40):
        sound, speed = augmented(tone(300, 0.5), np.random.default_rng(seed), [tone(150)])
        assert sound.dtype == np.float32
        assert len(sound) == int(SOUND_RATE / 2 / speed)
        assert np.isfinite(sound).all()
        speeds.append(speed)
    assert SPEEDS[0] <= min(speeds) < 0.95
    assert 1.05 < max(speeds) <= SPEEDS[1]
    assert 0.1 < np.mean(np.array(speeds) == 1) < 0.5  # a quarter keeps its speed


def test_silence_can_be_distorted():
    for seed in range(10):
        assert np.isfinite(augmented(np.zeros(8000, np.float32), np.random.default_rng(seed), [])[0]).all()
