"""Synthetic speech on disk, and the batches that are drawn from it."""

import numpy as np
import pytest
import torch

from talkface.data.visemes import (
    SILENT,
    VISEMES,
    VisemeBatches,
    closures,
    find_visemes,
    save_visemes,
    utterances,
)
from talkface.errors import TalkfaceError

LENGTHS = np.array([60, 100, 35])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Synthetic speech in which every step holds the number of its utterance and its position in it."""
    folder = tmp_path_factory.mktemp("visemes") / "new"
    steps = np.zeros((LENGTHS.sum(), 13))
    steps[:, 0] = np.repeat(np.arange(3), LENGTHS)
    steps[:, 1] = np.concatenate([np.arange(n) for n in LENGTHS])
    sound = np.repeat(steps[:, 0] / 4, 160)
    save_visemes(folder, steps, (steps[:, 1] % 14).astype(int), LENGTHS, sound)
    return folder


def test_windows_are_centred_on_the_step_whose_class_is_returned(folder):
    windows, classes = VisemeBatches(folder, seed=0).batch(3, 200)
    assert windows.shape == (200, 20, 13)
    for window, label in zip(windows.numpy(), classes.tolist(), strict=True):
        utterance = window[0, 0]
        assert (window[..., 0] == utterance).all()  # no step of another utterance
        centre = window[10, 1]
        assert centre % 14 == label
        expected = centre + np.arange(-10, 10)
        assert np.array_equal(window[..., 1], expected.clip(0, LENGTHS[int(utterance)] - 1))


def test_a_batch_depends_on_seed_and_step_alone(folder):
    one, other = VisemeBatches(folder, seed=0), VisemeBatches(folder, seed=0)
    for step in (4, 1):
        assert all(torch.equal(a, b) for a, b in zip(one.batch(step, 8), other.batch(step, 8), strict=True))
    assert not torch.equal(one.batch(0, 8)[0], one.batch(1, 8)[0])
    assert not torch.equal(one.batch(0, 8)[0], VisemeBatches(folder, seed=1).batch(0, 8)[0])


def test_no_phoneme_is_in_two_classes():
    symbols = "".join(each for _, each in VISEMES)
    assert len(symbols) == len(set(symbols))
    assert VISEMES[SILENT][0] == "silence"


def test_the_error_of_missing_speech_gives_the_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TALKFACE_DATA", str(tmp_path))
    with pytest.raises(TalkfaceError, match=str(tmp_path)) as caught:
        VisemeBatches(None, 0)
    assert "talkface visemes" in caught.value.fix
    assert "--stages" in caught.value.fix


def test_an_utterance_keeps_its_own_steps_classes_and_sound(folder):
    found = utterances(folder, limit=2)
    assert [len(one.labels) for one in found] == [60, 100]
    for number, one in enumerate(found):
        assert (one.steps[:, 0] == number).all()
        assert one.labels.tolist() == [step % 14 for step in range(len(one.labels))]
        assert len(one.waveform) == 160 * len(one.labels)
        assert one.waveform == pytest.approx(np.full(len(one.waveform), number / 4), abs=1e-4)


def test_synthetic_speech_without_sound_must_be_made_again(tmp_path):
    np.savez(tmp_path / "visemes.npz", steps=np.zeros((9, 13)), labels=np.zeros(9), lengths=np.array([9]))
    with pytest.raises(TalkfaceError, match="keeps no sound") as told:
        utterances(tmp_path, 5)
    assert "talkface visemes" in told.value.fix


def test_synthetic_speech_is_found_by_its_name_or_its_folder(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("TALKFACE_DATA", str(folder.parent))
    assert find_visemes(folder.name) == folder
    assert find_visemes(folder) == folder
    assert find_visemes(tmp_path) is None


def test_the_mouth_is_shut_at_p_b_and_m_and_open_in_the_middle_of_vowels():
    silence, a, p, t = SILENT, 9, 0, 3
    labels = np.repeat([silence, p, a, t, a, p, silence], [20, 12, 40, 12, 16, 2, 18])
    shut, known = closures(labels, 30)  # frame i shows step 4 i + 2
    assert np.flatnonzero(shut).tolist() == [5, 6, 25]  # of a long p its first 90 ms; a short one for 40 ms
    opened = np.flatnonzero(known & ~shut)
    assert opened.tolist() == [*range(10, 17), *range(18, 21), 22]  # 70 ms from p on, and within the vowels
    assert not known[:5].any()  # silence says nothing


def test_no_unfinished_file_is_left(folder):
    assert [path.name for path in folder.iterdir()] == ["visemes.npz"]


def test_a_full_disk_leaves_the_earlier_file(tmp_path, disk_limits):
    save_visemes(tmp_path, np.zeros((9, 13)), np.zeros(9), np.array([9]), np.zeros(9 * 160))
    before = (tmp_path / "visemes.npz").read_bytes()
    with disk_limits(1000), pytest.raises(TalkfaceError, match=r"visemes\.npz cannot be written"):
        save_visemes(tmp_path, np.zeros((900, 13)), np.zeros(900), np.array([900]), np.zeros(900 * 160))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("visemes.npz", before)]
