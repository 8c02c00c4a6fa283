"""Synthetic speech with viseme classes."""
# ruff: noqa: RUF001 (IPA symbols that look like Latin letters)

import ctypes
import ctypes.util

import numpy as np
import pytest

from talkface.data.visemes import SILENT, VISEMES, VisemeBatches, utterances
from talkface.errors import TalkfaceError
from talkface.preprocess import synthetic
from talkface.preprocess.synthetic import RATE, STEP, VisemeConfig, make_visemes, step_labels, viseme_of

CLASS = {name: number for number, (name, _) in enumerate(VISEMES)}


@pytest.fixture(scope="module")
def espeak():
    try:
        ctypes.CDLL(ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1")
    except OSError:
        pytest.skip("eSpeak NG's library is not installed")


@pytest.mark.parametrize(
    "symbol,name",
    [
        ("m", "p b m"),
        ("b", "p b m"),
        ("f", "f v"),
        ("θ", "th"),
        ("tʃ", "t d s z n l"),
        ("ʃ", "sh ch j"),
        ("iː", "i e"),
        ("ˈuː", "u"),
        ("ɑː", "a"),
        ("ə", "schwa"),
        ("sˤ", "t d s z n l"),
        ("w", "w"),
        ("", "silence"),
        ("_:", "silence"),
    ],
)
def test_phonemes_that_look_alike_have_the_same_class(symbol, name):
    assert viseme_of(symbol) == CLASS[name]


def test_each_step_has_the_class_of_the_current_phoneme():
    labels = step_labels([(0.02, "m"), (0.05, "u"), (0.051, "ʃ"), (0.1, "_")], 14)
    m, sh = CLASS["p b m"], CLASS["sh ch j"]
    assert labels.tolist() == [SILENT] * 2 + [m] * 3 + [sh] * 5 + [SILENT] * 4


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch, tmp_path):
    def absent(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    with pytest.raises(TalkfaceError, match=r"library of eSpeak NG, .* is not installed") as caught:
        make_visemes(VisemeConfig(utterances=1, out=tmp_path))
    assert "apt install libespeak-ng1" in caught.value.fix


def test_each_utterance_becomes_mfcc_and_classes_of_the_same_length(monkeypatch, tmp_path):
    """With a synthesizer that needs no library: half a second of noise with the phonemes m and a."""

    class Noise:
        rate = 22_050

        def speak(self, text, voice, rate, pitch):
            sound = np.random.default_rng(0).uniform(-0.5, 0.5, self.rate // 2).astype(np.float32)
            return sound, [(0.0, "m"), (0.25, "a")]

    monkeypatch.setattr(synthetic, "Synthesizer", Noise)
    speech = VisemeBatches(make_visemes(VisemeConfig(utterances=60, out=tmp_path)), seed=0)
    assert len(speech.lengths) == 60
    assert len(speech.steps) == len(speech.labels) == speech.lengths.sum()
    assert set(speech.labels.tolist()) == {SILENT, CLASS["p b m"], CLASS["a"]}
    for spoken in utterances(tmp_path, 60):
        assert len(spoken.waveform) == 160 * len(spoken.labels)
        voiced = np.repeat(spoken.labels != SILENT, 160)
        assert np.abs(spoken.waveform[voiced]).mean() > 5 * np.abs(spoken.waveform[~voiced]).mean()
    loudness = speech.steps[:, 0]
    assert loudness[speech.labels == CLASS["a"]].mean() > loudness[speech.labels == SILENT].mean() + 0.5


def test_utterances_have_a_class_for_every_step_and_silence_at_their_ends(espeak, tmp_path):
    progress = []
    folder = make_visemes(
        VisemeConfig(utterances=4, seed=3, out=tmp_path), lambda done, total: progress.append((done, total))
    )
    speech = VisemeBatches(folder, seed=0)
    assert progress == [(4, 4)]
    assert len(speech.lengths) == 4
    assert len(speech.steps) == len(speech.labels) == speech.lengths.sum()
    assert speech.steps.shape[1] == 13
    assert np.isfinite(speech.steps).all()
    assert RATE / STEP == 100
    assert len(set(speech.labels.tolist())) > 6
    for start, length in zip(speech.start, speech.lengths, strict=True):
        assert speech.labels[start] == SILENT
        assert speech.labels[start + length - 1] == SILENT
    loud = speech.steps[:, 0]
    assert loud[speech.labels != SILENT].mean() > loud[speech.labels == SILENT].mean() + 0.5


def test_the_same_seed_gives_the_same_words(espeak, tmp_path):
    """Not the same samples: eSpeak NG keeps some state of its voice from one utterance to the next."""
    one, other = (make_visemes(VisemeConfig(2, 5, tmp_path / name)) for name in ("a", "b"))
    a, b = (VisemeBatches(folder, 0) for folder in (one, other))
    assert np.abs(a.lengths - b.lengths).max() <= 2
    assert set(a.labels) == set(b.labels)
