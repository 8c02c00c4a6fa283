import librosa
import numpy as np
import pytest
from scipy.spatial.distance import cosine

from talkface.metrics.sync import (
    LAG_FRAMES,
    correlations,
    energy_of_mfcc,
    lag_sums,
    mel_decibels,
    peak_correlation,
    peak_offset,
    steps_to_frames,
    without_running_mean,
)
from talkface.preprocess.sync import LAG_SECONDS, correlation_curve


def speechlike(frames, seed=0):
    noise = np.random.default_rng(seed).normal(size=frames + 8)
    return np.convolve(noise, np.hanning(9), "valid")


@pytest.mark.parametrize("shift", [-9, -1, 0, 3, 12])
def test_the_offset_is_the_time_by_which_the_sound_is_late(shift):
    curve = speechlike(300)
    opening, energy = curve[50:250], curve[50 - shift : 250 - shift]  # energy[i] = opening[i - shift]
    sums = lag_sums(opening, energy)
    assert peak_offset(sums) == shift / 25
    assert peak_correlation(sums) > 0.95


def test_a_late_mouth_has_a_negative_offset():
    curve = speechlike(200)
    assert peak_offset(lag_sums(curve[10:180], curve[14:184])) == -0.16  # the mouth follows the sound by 4 frames


@pytest.mark.parametrize("late", [-4, 2])
def test_the_offset_has_the_sign_of_preprocessing(late):
    opening = speechlike(200)
    loudness = np.repeat(np.roll(opening, late), 4)
    assert LAG_SECONDS[correlation_curve(opening, loudness).argmax()] == late / 25
    assert peak_offset(lag_sums(opening, steps_to_frames(loudness, 200))) == late / 25


def test_short_clips_pooled_give_the_offset_that_many_of_them_do_not_give_alone():
    rng = np.random.default_rng(3)
    clips = [speechlike(60, seed) for seed in range(60)]
    sums = [lag_sums(c[20:50] + 2 * rng.normal(size=30), c[22:52] + 2 * rng.normal(size=30)) for c in clips]
    assert peak_offset(sum(sums)) == -0.08
    assert np.mean([peak_offset(s) == -0.08 for s in sums]) < 0.7


def test_speech_of_another_person_does_not_correlate():
    assert peak_correlation(lag_sums(speechlike(1000, 1), speechlike(1000, 2))) < 0.25


def test_correlation_at_lag_zero_is_scipys_cosine_of_the_curves_without_their_running_mean():
    a, b = speechlike(80, 1), speechlike(80, 2)
    expected = 1 - cosine(without_running_mean(a), without_running_mean(b))
    assert correlations(lag_sums(a, b))[LAG_FRAMES == 0].item() == pytest.approx(expected)


def test_a_mouth_that_never_moves_has_no_peak_and_no_offset():
    sums = lag_sums(np.full(100, 0.2), speechlike(100))
    assert np.isnan(peak_correlation(sums))
    assert np.isnan(peak_offset(sums))


def test_clips_shorter_than_the_largest_lag_are_no_error():
    assert np.isfinite(peak_correlation(lag_sums(speechlike(6), speechlike(6, 1))))


def test_the_running_mean_is_over_51_frames_and_over_fewer_at_the_ends():
    curve = speechlike(200)
    rest = without_running_mean(curve)
    assert rest[100] == pytest.approx(curve[100] - curve[75:126].mean())
    assert rest[3] == pytest.approx(curve[3] - curve[:29].mean())


def test_the_energy_of_a_tone_can_be_computed_from_its_mfcc():
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


@pytest.mark.parametrize("coefficients", [13, 26])
def test_the_spectrum_of_mfcc_is_that_of_librosa(coefficients):
    mfcc = np.random.default_rng(1).normal(size=(5, coefficients))
    # librosa.feature.inverse.mfcc_to_mel returns power, 10 ** (dB / 10)
    expected = 10 * np.log10(librosa.feature.inverse.mfcc_to_mel(50 * mfcc.T, n_mels=26, ref=1.0)).T
    np.testing.assert_allclose(mel_decibels(mfcc), expected, atol=1e-6)


def test_the_energy_from_all_coefficients_is_the_energy_of_the_bands():
    decibels = np.random.default_rng(0).normal(size=(26, 7)) * 10
    mfcc = librosa.feature.mfcc(S=decibels, n_mfcc=26).T / 50
    centres = librosa.mel_frequencies(28, fmin=0, fmax=2500)[1:-1]
    expected = 10 * np.log10(np.power(10, decibels[centres >= 200] / 10).sum(0))
    np.testing.assert_allclose(energy_of_mfcc(mfcc), expected, atol=1e-5)


def test_a_frame_is_the_mean_of_four_steps_and_the_last_value_is_repeated():
    steps = np.arange(10.0)
    np.testing.assert_allclose(steps_to_frames(steps, 4), [1.5, 5.5, (8 + 9 + 9 + 9) / 4, 9])


def test_frames_shorter_than_a_step_have_a_value():
    assert steps_to_frames(np.arange(10.0), 30, fps=240).shape == (30,)
