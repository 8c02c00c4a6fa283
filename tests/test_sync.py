import librosa
import numpy as np
import pytest

from talkface.metrics.sync import (
    LAGS,
    correlations,
    energy_of_mfcc,
    lag_sums,
    peak,
    peak_lag,
    steps_to_frames,
    without_running_mean,
)


def speechlike(frames, seed=0):
    noise = np.random.default_rng(seed).normal(size=frames + 8)
    return np.convolve(noise, np.hanning(9), "valid")


@pytest.mark.parametrize("shift", [-9, -1, 0, 3, 12])
def test_a_sound_shifted_by_some_frames_moves_the_lag_by_exactly_that(shift):
    curve = speechlike(300)
    opening, energy = curve[50:250], curve[50 - shift : 250 - shift]  # energy[i] = opening[i - shift]
    sums = lag_sums(opening, energy)
    assert peak_lag(sums) == -shift
    assert peak(sums) > 0.95


def test_a_late_mouth_has_a_positive_lag():
    curve = speechlike(200)
    assert peak_lag(lag_sums(curve[10:180], curve[14:184])) == 4  # the mouth does now what the sound did 4 frames ago


def test_short_clips_pooled_find_the_lag_that_none_of_them_shows():
    rng = np.random.default_rng(3)
    clips = [speechlike(60, seed) for seed in range(60)]
    sums = [lag_sums(c[20:50] + 2 * rng.normal(size=30), c[22:52] + 2 * rng.normal(size=30)) for c in clips]
    assert peak_lag(sum(sums)) == 2
    assert np.mean([peak_lag(s) == 2 for s in sums]) < 0.7


def test_another_voice_does_not_correlate():
    assert peak(lag_sums(speechlike(1000, 1), speechlike(1000, 2))) < 0.25


def test_correlation_at_lag_zero_is_numpys():
    a, b = speechlike(80, 1), speechlike(80, 2)
    expected = np.sum(without_running_mean(a) * without_running_mean(b)) / np.sqrt(
        np.sum(without_running_mean(a) ** 2) * np.sum(without_running_mean(b) ** 2)
    )
    assert correlations(lag_sums(a, b))[LAGS == 0].item() == pytest.approx(expected)


def test_a_still_mouth_has_no_peak_and_no_lag():
    sums = lag_sums(np.full(100, 0.2), speechlike(100))
    assert np.isnan(peak(sums))
    assert np.isnan(peak_lag(sums))


def test_clips_shorter_than_the_largest_lag_are_no_error():
    assert np.isfinite(peak(lag_sums(speechlike(6), speechlike(6, 1))))


def test_the_running_mean_is_over_51_frames_and_over_what_there_is_at_the_ends():
    curve = speechlike(200)
    rest = without_running_mean(curve)
    assert rest[100] == pytest.approx(curve[100] - curve[75:126].mean())
    assert rest[3] == pytest.approx(curve[3] - curve[:29].mean())


def test_energy_comes_back_from_the_mfcc_of_a_tone():
    time = np.arange(5000) / 5000
    loudness = np.where(time < 0.5, 0.01, 0.5)
    tone = np.float32(loudness * (np.sin(2 * np.pi * 700 * time) + 0.3 * np.sin(2 * np.pi * 1500 * time)))
    power = librosa.feature.melspectrogram(
        y=tone, sr=5000, n_fft=256, hop_length=50, win_length=125, n_mels=26, power=2.0
    )
    decibels = librosa.power_to_db(power, top_db=None)
    energy = energy_of_mfcc(librosa.feature.mfcc(S=decibels, n_mfcc=13).T / 50)
    quiet, loud = energy[10:40].mean(), energy[60:90].mean()
    assert loud - quiet == pytest.approx(20 * np.log10(50), abs=1.0)


def test_energy_from_all_coefficients_is_the_bands_own_energy():
    decibels = np.random.default_rng(0).normal(size=(26, 7)) * 10
    mfcc = librosa.feature.mfcc(S=decibels, n_mfcc=26).T / 50
    centres = librosa.mel_frequencies(28, fmin=0, fmax=2500)[1:-1]
    expected = 10 * np.log10(np.power(10, decibels[centres >= 200] / 10).sum(0))
    np.testing.assert_allclose(energy_of_mfcc(mfcc), expected, atol=1e-5)


def test_four_steps_make_a_frame_and_the_end_is_held():
    steps = np.arange(10.0)
    np.testing.assert_allclose(steps_to_frames(steps, 4), [1.5, 5.5, (8 + 9 + 9 + 9) / 4, 9])


def test_frames_faster_than_the_steps_still_have_a_value():
    assert steps_to_frames(np.arange(10.0), 30, fps=240).shape == (30,)
