"""Opening data sets by name and reading their clips."""

import json
import subprocess
import sys

import numpy as np
import pytest

from talkface.data.clip import encode_sound, pack
from talkface.data.reader import evenly_spaced, open_dataset
from talkface.data.shards import DATASET, FORMAT, INDEX, ShardWriter, read_lines
from talkface.errors import TalkfaceError
from talkface.files import write_lines


def test_reading_a_shard_gives_the_clips_that_were_written(tmp_path, clip_factory, write_dataset):
    clips = [clip_factory("s1/a", 3), clip_factory("s1/b", 12), clip_factory("s2/" + "long" * 60, 1)]
    write_dataset(tmp_path, clips)
    dataset = open_dataset(tmp_path)
    assert dataset.names == [clip.name for clip in clips]
    assert dataset.lengths == [3, 12, 1]
    for read, written in zip(dataset, clips, strict=True):
        assert pack(read) == pack(written)
        assert read.lips.dtype == np.float32
        assert read.transforms.dtype == np.float64
    assert pack(dataset.select([1])[0]) == pack(clips[1])


def test_a_clip_is_read_without_its_pictures_with_sound_points_and_offset(tmp_path, clip_factory, write_dataset):
    with_sound = clip_factory("s1/a", 4)
    with_sound.sound, with_sound.sound_lead = encode_sound(np.linspace(-0.5, 0.5, 640, dtype=np.float32)), 0.2
    write_dataset(tmp_path, [with_sound, clip_factory("s1/b", 3)])
    write_lines(tmp_path / INDEX, [line | {"av_offset": 0.06} for line in read_lines(tmp_path / INDEX)])
    dataset = open_dataset(tmp_path)
    for i, length in enumerate((4, 3)):
        whole, light = dataset[i], dataset.without_pictures(i)
        assert light.encoded == [b""] * length
        assert pack(light)[:-length] == pack(whole)[:-length]
        assert light.av_offset == 0.06


def test_a_shard_that_ends_inside_a_clip_is_a_clear_error_for_every_way_to_read_it(
    tmp_path, clip_factory, write_dataset
):
    write_dataset(tmp_path, [clip_factory("s1/a", 4)])
    shard = tmp_path / "shards/train-00000.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    dataset = open_dataset(tmp_path)
    for read in (dataset.__getitem__, dataset.without_pictures, dataset.arrays, lambda i: dataset.frames(i, [0])):
        with pytest.raises(TalkfaceError, match=r"train-00000\.tar ends at byte 2000, inside clip s1/a"):
            read(0)


def test_a_split_is_selected_and_the_error_of_an_empty_one_names_it(tmp_path, clip_factory, write_dataset):
    write_dataset(tmp_path, [clip_factory("s1/a"), clip_factory("s3/b", split="test", speaker="s3")])
    assert open_dataset(tmp_path, "test").speakers == ["s3"]
    with pytest.raises(TalkfaceError, match=r"no clips of split 'val' .*train 1, val 0, test 1"):
        open_dataset(tmp_path, "val")


def test_a_data_set_is_found_by_its_name(tmp_path, monkeypatch, clip_factory, write_dataset):
    monkeypatch.setenv("TALKFACE_DATA", str(tmp_path))
    write_dataset(tmp_path / "grid", [clip_factory()])
    assert len(open_dataset("grid")) == 1


@pytest.mark.parametrize("name, hint", [("lrw", "robots.ox.ac.uk"), ("grid", "zenodo"), ("mine", "--data folder")])
def test_the_error_of_a_missing_data_set_says_where_to_get_it_and_what_to_run(tmp_path, monkeypatch, name, hint):
    monkeypatch.setenv("TALKFACE_DATA", str(tmp_path))
    with pytest.raises(TalkfaceError, match=f"'{name}'") as caught:
        open_dataset(name)
    assert hint in caught.value.fix
    assert "talkface preprocess --data" in caught.value.fix


def test_the_error_of_an_unfinished_data_set_asks_for_the_same_command_again(tmp_path, clip_factory):
    with ShardWriter(tmp_path, "train-00000") as writer:
        writer.add(clip_factory(), status="kept")
    with pytest.raises(TalkfaceError, match="has not finished"):
        open_dataset(tmp_path)


def test_a_newer_format_is_refused(tmp_path, clip_factory, write_dataset):
    write_dataset(tmp_path, [clip_factory()])
    (tmp_path / DATASET).write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(TalkfaceError, match="newer talkface"):
        open_dataset(tmp_path)


def test_a_data_set_of_format_1_is_read(tmp_path, clip_factory, write_dataset):
    """Its index does not say which clips have sound, and its clips do not have a sound_lead."""
    write_dataset(tmp_path, [clip_factory()])
    (line,) = read_lines(tmp_path / INDEX)
    del line["sound"]
    write_lines(tmp_path / INDEX, [line])
    shard = tmp_path / line["shard"]
    field, content = b', "sound_lead": 0.0', shard.read_bytes()
    assert field in content
    shard.write_bytes(content.replace(field, b" " * len(field)))
    (tmp_path / DATASET).write_text(json.dumps({"format": 1, "name": "grid"}))
    (clip,) = open_dataset(tmp_path)
    assert (len(clip), clip.sound, clip.sound_lead) == (7, b"", 0.0)


@pytest.mark.parametrize(
    "count, wanted, chosen",
    [(0, 3, []), (1, 3, [0]), (5, 1, [0]), (3, 8, [0, 1, 2]), (9, 3, [0, 4, 8]), (10, 4, [0, 3, 6, 9])],
)
def test_chosen_numbers_are_evenly_spaced_from_first_to_last(count, wanted, chosen):
    assert evenly_spaced(count, wanted) == chosen


def test_no_number_is_chosen_twice():
    for count in range(1, 60):
        for wanted in range(1, 60):
            assert len(set(evenly_spaced(count, wanted))) == min(count, wanted)


def test_reading_needs_neither_librosa_nor_ffmpeg_nor_torch(tmp_path, clip_factory, write_dataset):
    write_dataset(tmp_path, [clip_factory()])
    code = f"""
import sys
for name in ("librosa", "ffmpeg", "imageio_ffmpeg", "face_alignment", "torch", "soundfile", "webdataset"):
    sys.modules[name] = None
from talkface.data.reader import open_dataset
clip = open_dataset({str(tmp_path)!r})[0]
assert clip.mfcc.shape == (7, 20, 13) and clip.frame(0).shape == (256, 256, 3)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
