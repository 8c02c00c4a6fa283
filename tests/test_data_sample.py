import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from talkface.data import sample
from talkface.data.layouts import GRID_TEST
from talkface.data.reader import open_dataset
from talkface.evaluate.conditions import open_clips

SHORT = ("s2/pwij3p", "s26/bwaq8s", "s26/srizza")  # one of each split


@pytest.fixture(scope="module")
def short_source(tmp_path_factory):
    """The folder of the packaged clips with one clip of each split."""
    folder = tmp_path_factory.mktemp("source")
    about = [facts for facts in json.loads((sample.SOURCE / sample.CLIPS).read_text()) if facts["name"] in SHORT]
    (folder / sample.CLIPS).write_text(json.dumps(about))
    shutil.copy(sample.SOURCE / sample.LANDMARKS, folder)
    for name in SHORT:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(sample.SOURCE / f"{name}.mp4", folder / f"{name}.mp4")
    return folder


@pytest.fixture
def short_sample(short_source, monkeypatch, tmp_path):
    """Only three clips, and a cache of its own."""
    monkeypatch.setattr(sample, "SOURCE", short_source)
    monkeypatch.setenv("TALKFACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TALKFACE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    sample.sample_root.cache_clear()
    yield tmp_path
    sample.sample_root.cache_clear()


def test_the_packaged_clips_landmarks_and_descriptions_belong_together():
    about = json.loads((sample.SOURCE / sample.CLIPS).read_text(encoding="utf-8"))
    names = [facts["name"] for facts in about]
    assert sorted(names) == sorted(
        p.relative_to(sample.SOURCE).with_suffix("").as_posix() for p in sample.SOURCE.rglob("*.mp4")
    )
    with np.load(sample.SOURCE / sample.LANDMARKS) as stored:
        assert {key.rpartition(".")[0] for key in stored} == set(names)
    people = {split: {facts["speaker"] for facts in about if facts["split"] == split} for split in ("train", "test")}
    assert people["test"] <= GRID_TEST
    assert not people["train"] & people["test"]


def test_the_data_set_sample_opens_without_preprocessing(short_sample):
    clips = open_dataset("sample", "test")
    assert clips.names == ["s2/pwij3p"]
    clip = clips[0]
    assert clip.frame(0).shape == (256, 256, 3)
    assert len(clip) == len(clip.lips) == len(clip.mfcc) == 75
    assert len(clip.waveform) == pytest.approx(3 * 16_000, abs=800)
    assert clip.av_offset == pytest.approx(-0.03, abs=0.01)
    centre = clip.lips.mean((0, 1))
    assert np.abs(centre - (128, 187)).max() < 6  # where the lips of an aligned face are


def test_a_data_set_of_the_user_called_sample_comes_first(short_sample, write_dataset, clip_factory):
    write_dataset(short_sample / "data" / "sample", [clip_factory(name="mine/a")])
    assert open_dataset("sample").names == ["mine/a"]


def test_landmarks_are_stored_to_within_a_hundredth_of_a_pixel(synthetic_clips):
    clip = synthetic_clips.one()
    stored = sample.pack_landmarks([clip])[f"{clip.name}.lips"]
    restored = np.cumsum(stored, axis=0, dtype=np.int16) / sample.STEPS_PER_PX
    assert np.abs(restored - clip.lips).max() < 0.01


def test_two_unpackings_at_once_leave_one_complete_copy(short_sample):
    with ThreadPoolExecutor(2) as pool:
        roots = [one.result() for one in [pool.submit(sample.sample_root.__wrapped__) for _ in range(2)]]
    assert roots[0] == roots[1]
    assert [path.name for path in roots[0].parent.iterdir()] == ["sample"]
    assert len(open_dataset(roots[0])) == 3


def test_a_cache_of_which_a_file_was_deleted_is_made_again(short_sample):
    root = sample.sample_root.__wrapped__()
    (root / "shards/test-00000.tar").unlink()
    assert sample.sample_root.__wrapped__() == root
    assert open_dataset(root, "test")[0].frame(0).any()


def test_without_a_cache_the_sample_is_in_a_temporary_folder_that_is_deleted_at_the_end(short_sample):
    (short_sample / "cache").write_text("a file, so that no folder can be made here")
    code = (
        "import pathlib; from talkface.data import sample; "
        f"sample.SOURCE = pathlib.Path({str(sample.SOURCE)!r}); root = sample.sample_root(); "
        "print(root, (root / 'dataset.json').is_file())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    root, complete = result.stdout.split()
    assert complete == "True"
    assert not Path(root).exists()


def test_eval_without_data_takes_the_sample_and_says_how_to_get_the_others(short_sample):
    notes = []
    name, clips = open_clips(None, "test", None, notes.append)
    assert (name, clips.names) == ("sample", ["s2/pwij3p"])
    assert notes[0] == "--data is not given: sample, split test."
    assert any("talkface preprocess --data lrw" in note for note in notes)
    assert any("talkface preprocess --data grid" in note for note in notes)
