"""Synthetic speech on disk, and the batches that are drawn from it."""

import numpy as np
import pytest
import torch

from talkface.data.visemes import SILENT, VISEMES, VisemeBatches, save_visemes
from talkface.errors import TalkfaceError

LENGTHS = np.array([60, 100, 35])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Synthetic speech in which every step holds the number of its utterance and its position in it."""
    folder = tmp_path_factory.mktemp("visemes") / "new"
    steps = np.zeros((LENGTHS.sum(), 13))
    steps[:, 0] = np.repeat(np.arange(3), LENGTHS)
    steps[:, 1] = np.concatenate([np.arange(n) for n in LENGTHS])
    save_visemes(folder, steps, (steps[:, 1] % 14).astype(int), LENGTHS)
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


def test_no_unfinished_file_is_left(folder):
    assert [path.name for path in folder.iterdir()] == ["visemes.npz"]


def test_a_full_disk_leaves_the_earlier_file(tmp_path, disk_limits):
    save_visemes(tmp_path, np.zeros((9, 13)), np.zeros(9), np.array([9]))
    before = (tmp_path / "visemes.npz").read_bytes()
    with disk_limits(1000), pytest.raises(TalkfaceError, match=r"visemes\.npz cannot be written"):
        save_visemes(tmp_path, np.zeros((900, 13)), np.zeros(900), np.array([900]))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("visemes.npz", before)]
