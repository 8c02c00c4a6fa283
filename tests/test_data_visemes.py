"""Synthetic speech on disk, and the batches drawn from it."""

import numpy as np
import pytest
import torch
from full_disk import files_no_larger_than

from talkface.data.visemes import SILENT, VISEMES, VisemeBatches, save_visemes
from talkface.errors import TalkfaceError

LENGTHS = np.array([60, 100, 35])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every step says who it is: utterance and place in it."""
    folder = tmp_path_factory.mktemp("visemes") / "new"
    steps = np.zeros((LENGTHS.sum(), 13))
    steps[:, 0] = np.repeat(np.arange(3), LENGTHS)
    steps[:, 1] = np.concatenate([np.arange(n) for n in LENGTHS])
    save_visemes(folder, steps, (steps[:, 1] % 14).astype(int), LENGTHS)
    return folder


def test_windows_are_around_the_moment_whose_class_is_asked(folder):
    windows, classes = VisemeBatches(folder, seed=0).batch(3, 200)
    assert windows.shape == (200, 20, 13)
    for window, label in zip(windows.numpy(), classes.tolist(), strict=True):
        utterance = window[0, 0]
        assert (window[..., 0] == utterance).all()  # never another utterance's sound
        centre = window[10, 1]
        assert centre % 14 == label
        expected = centre + np.arange(-10, 10)
        assert np.array_equal(window[..., 1], expected.clip(0, LENGTHS[int(utterance)] - 1))


def test_a_batch_follows_from_seed_and_step(folder):
    one, other = VisemeBatches(folder, seed=0), VisemeBatches(folder, seed=0)
    for step in (4, 1):
        assert all(torch.equal(a, b) for a, b in zip(one.batch(step, 8), other.batch(step, 8), strict=True))
    assert not torch.equal(one.batch(0, 8)[0], one.batch(1, 8)[0])
    assert not torch.equal(one.batch(0, 8)[0], VisemeBatches(folder, seed=1).batch(0, 8)[0])


def test_no_phoneme_is_in_two_classes():
    symbols = "".join(each for _, each in VISEMES)
    assert len(symbols) == len(set(symbols))
    assert VISEMES[SILENT][0] == "silence"


def test_missing_speech_is_told_with_the_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TALKFACE_DATA", str(tmp_path))
    with pytest.raises(TalkfaceError, match=str(tmp_path)) as told:
        VisemeBatches(None, 0)
    assert "talkface visemes" in told.value.fix
    assert "--lessons" in told.value.fix


def test_nothing_half_written_is_left(folder):
    assert [path.name for path in folder.iterdir()] == ["visemes.npz"]


def test_a_full_disk_leaves_what_was_there(tmp_path):
    save_visemes(tmp_path, np.zeros((9, 13)), np.zeros(9), np.array([9]))
    before = (tmp_path / "visemes.npz").read_bytes()
    with files_no_larger_than(1000), pytest.raises(TalkfaceError, match=r"visemes\.npz cannot be written"):
        save_visemes(tmp_path, np.zeros((900, 13)), np.zeros(900), np.array([900]))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("visemes.npz", before)]
