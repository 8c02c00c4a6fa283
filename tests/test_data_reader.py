"""Data sets by name: what was written is read back, and what is missing is said."""

import json
import subprocess
import sys

import numpy as np
import pytest
from packed import a_clip, assert_same, write_dataset

from talkface.data.reader import evenly_spaced, open_dataset
from talkface.data.shards import DATASET, FORMAT, ShardWriter
from talkface.errors import TalkfaceError


def test_a_clip_read_from_a_shard_is_the_clip_that_was_written(tmp_path):
    clips = [a_clip("s1/a", 3), a_clip("s1/b", 12), a_clip("s2/" + "long" * 60, 1)]
    write_dataset(tmp_path, clips)
    dataset = open_dataset(tmp_path)
    assert dataset.names == [clip.name for clip in clips]
    assert dataset.lengths == [3, 12, 1]
    for read, written in zip(dataset, clips, strict=True):
        assert_same(read, written)
        assert read.lips.dtype == np.float32
        assert read.transforms.dtype == np.float64
    assert_same(dataset.select([1])[0], clips[1])


def test_a_split_is_selected_and_an_empty_one_named(tmp_path):
    write_dataset(tmp_path, [a_clip("s1/a"), a_clip("s3/b", split="test", speaker="s3")])
    assert open_dataset(tmp_path, "test").speakers == ["s3"]
    with pytest.raises(TalkfaceError, match=r"no clips of split 'val' .*train 1, val 0, test 1"):
        open_dataset(tmp_path, "val")


def test_a_data_set_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("TALKFACE_DATA", str(tmp_path))
    write_dataset(tmp_path / "grid", [a_clip()])
    assert len(open_dataset("grid")) == 1


@pytest.mark.parametrize("name, hint", [("lrw", "robots.ox.ac.uk"), ("grid", "zenodo"), ("mine", "--data folder")])
def test_a_missing_data_set_tells_where_to_get_it_and_which_command_to_run(tmp_path, monkeypatch, name, hint):
    monkeypatch.setenv("TALKFACE_DATA", str(tmp_path))
    with pytest.raises(TalkfaceError, match=f"'{name}'") as caught:
        open_dataset(name)
    assert hint in caught.value.fix
    assert "talkface preprocess --data" in caught.value.fix


def test_an_interrupted_data_set_asks_for_the_same_command_again(tmp_path):
    with ShardWriter(tmp_path, "train-00000") as writer:
        writer.add(a_clip(), status="kept")
    with pytest.raises(TalkfaceError, match="has not finished"):
        open_dataset(tmp_path)


def test_a_newer_format_is_refused(tmp_path):
    write_dataset(tmp_path, [a_clip()])
    (tmp_path / DATASET).write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(TalkfaceError, match="newer talkface"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    "count, wanted, chosen",
    [(0, 3, []), (1, 3, [0]), (5, 1, [0]), (3, 8, [0, 1, 2]), (9, 3, [0, 4, 8]), (10, 4, [0, 3, 6, 9])],
)
def test_a_few_of_many_are_evenly_spread_from_first_to_last(count, wanted, chosen):
    assert evenly_spaced(count, wanted) == chosen


def test_nothing_is_chosen_twice():
    for count in range(1, 60):
        for wanted in range(1, 60):
            assert len(set(evenly_spaced(count, wanted))) == min(count, wanted)


def test_reading_needs_neither_librosa_nor_ffmpeg_nor_torch(tmp_path):
    write_dataset(tmp_path, [a_clip()])
    code = f"""
import sys
for name in ("librosa", "ffmpeg", "imageio_ffmpeg", "face_alignment", "torch", "soundfile", "webdataset"):
    sys.modules[name] = None
from talkface.data.reader import open_dataset
clip = open_dataset({str(tmp_path)!r})[0]
assert clip.mfcc.shape == (7, 20, 13) and clip.frame(0).shape == (256, 256, 3)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
