"""The log-mel spectrogram is Whisper's: against librosa's filters and torch's Fourier transform."""

import librosa
import numpy as np
import pytest
import torch

from talkface.model.logmel import BANDS, HOP, log_mel, mel_filters

SECOND = 16_000


def reference(sound):
    """openai/whisper's `log_mel_spectrogram`, with librosa's filters."""
    window = torch.hann_window(400)
    spectrum = torch.stft(torch.from_numpy(sound), 400, HOP, window=window, return_complex=True)
    power = spectrum[..., :-1].abs() ** 2
    filters = torch.from_numpy(librosa.filters.mel(sr=SECOND, n_fft=400, n_mels=80))
    logarithm = (filters @ power).clamp(min=1e-10).log10()
    logarithm = torch.maximum(logarithm, logarithm.max() - 8.0)
    return ((logarithm + 4.0) / 4.0).numpy()


def test_the_mel_filters_are_librosas():
    expected = librosa.filters.mel(sr=SECOND, n_fft=400, n_mels=BANDS)
    np.testing.assert_allclose(mel_filters(), expected, atol=1e-7)


@pytest.mark.parametrize("samples", [SECOND, SECOND + 79, 5 * HOP])
@pytest.mark.parametrize("kind", ["noise", "tone", "quiet"])
def test_the_spectrogram_is_whispers(samples, kind):
    time = np.arange(samples) / SECOND
    noise = np.random.default_rng(0).standard_normal(samples)
    sound = {"noise": 0.1 * noise, "tone": 0.3 * np.sin(2 * np.pi * 440 * time), "quiet": 1e-6 * noise}[kind]
    sound = sound.astype(np.float32)
    found = log_mel(sound)
    assert found.dtype == np.float32
    assert found.shape == (BANDS, samples // HOP)
    np.testing.assert_allclose(found, reference(sound), atol=1e-4)


def test_a_tone_is_loudest_in_the_band_that_holds_its_frequency():
    sound = np.sin(2 * np.pi * 1000 * np.arange(SECOND) / SECOND).astype(np.float32)
    band = int(log_mel(sound)[:, 50].argmax())
    frequencies = librosa.mel_frequencies(BANDS + 2, fmin=0, fmax=SECOND / 2)
    assert frequencies[band] < 1000 < frequencies[band + 2]


@pytest.mark.parametrize("samples", [0, 1, HOP - 1])
def test_less_than_one_step_of_sound_has_no_columns(samples):
    assert log_mel(np.ones(samples, np.float32)).shape == (BANDS, 0)


@pytest.mark.parametrize("samples", [HOP, 200, 201])
def test_a_sound_of_about_one_window_has_finite_values(samples):
    assert np.isfinite(log_mel(np.random.default_rng(0).random(samples).astype(np.float32))).all()


def test_silence_is_the_smallest_value():
    assert np.allclose(log_mel(np.zeros(SECOND, np.float32)), (-10 + 4) / 4)
