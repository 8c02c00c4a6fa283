"""Shards: they are written completely or not at all, and WebDataset can read them."""

import json
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from talkface.data.clip import encode_sound
from talkface.data.reader import open_dataset
from talkface.data.shards import INDEX, ShardWriter, read_lines
from talkface.errors import TalkfaceError


def test_a_shard_is_a_tar_file_that_webdataset_reads(tmp_path, clip_factory, write_dataset):
    clips = [clip_factory("s1/a", 2), clip_factory("s1/b", 3)]
    clips[1].sound = encode_sound(np.linspace(-1, 1, 1000, dtype=np.float32))
    write_dataset(tmp_path, clips)
    with tarfile.open(tmp_path / "shards/train-00000.tar") as tar:
        names = tar.getnames()
        assert json.loads(tar.extractfile("s1/b.json").read())["speaker"] == "s1"
    assert names[:4] == ["s1/a.json", "s1/a.npz", "s1/a.000.jpg", "s1/a.001.jpg"]
    assert names[4:7] == ["s1/b.json", "s1/b.npz", "s1/b.wav"]
    webdataset = pytest.importorskip("webdataset")
    samples = list(webdataset.WebDataset(str(tmp_path / "shards/train-00000.tar"), shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in samples] == ["s1/a", "s1/b"]
    assert samples[1]["002.jpg"].shape == (256, 256, 3)
    assert samples[1]["npz"]["lips"].shape == (3, 40, 2)
    assert samples[1]["wav"] == clips[1].sound


def test_the_index_says_which_clips_have_sound(tmp_path, clip_factory, write_dataset):
    clips = [clip_factory("s1/a"), clip_factory("s1/b")]
    clips[1].sound = encode_sound(np.linspace(-1, 1, 1000, dtype=np.float32))
    write_dataset(tmp_path, clips)
    assert [line["sound"] for line in read_lines(tmp_path / INDEX)] == [False, True]
    assert [len(clip.waveform) for clip in open_dataset(tmp_path)] == [0, 1000]
    assert np.array_equal(open_dataset(tmp_path)[1].frame(0), clips[1].frame(0))


def test_the_same_clips_give_the_same_bytes(tmp_path, clip_factory, write_dataset):
    for run in "ab":
        write_dataset(tmp_path / run, [clip_factory("s1/a"), clip_factory("s1/b")])
    a, b = ((tmp_path / run / "shards/train-00000.tar").read_bytes() for run in "ab")
    assert a == b


def test_an_exception_in_the_block_leaves_no_file(tmp_path, clip_factory):
    def interrupted():
        with ShardWriter(tmp_path, "train-00000") as writer:
            writer.add(clip_factory())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list((tmp_path / "shards").iterdir()) == []


def test_a_full_disk_is_one_clear_error_and_leaves_no_file(tmp_path, clip_factory, write_dataset, disk_limits):
    with disk_limits(10_000), pytest.raises(TalkfaceError, match=r"train-00000\.tar cannot be written"):
        write_dataset(tmp_path, [clip_factory("s1/a", 9)])
    assert list((tmp_path / "shards").iterdir()) == []


def test_the_file_of_a_killed_worker_is_deleted_when_its_shard_is_written_again(tmp_path, clip_factory, write_dataset):
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    code = f"from talkface.data.shards import ShardWriter\nwith ShardWriter({str(tmp_path)!r}, 'train-00000'): {kill}"
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list((tmp_path / "shards").iterdir())) == 1
    write_dataset(tmp_path, [clip_factory("s1/a")])
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == ["train-00000.jsonl", "train-00000.tar"]


def test_the_error_of_a_truncated_shard_names_the_clip(tmp_path, clip_factory, write_dataset):
    write_dataset(tmp_path, [clip_factory("s1/a"), clip_factory("s1/b")])
    shard = tmp_path / "shards/train-00000.tar"
    shard.write_bytes(shard.read_bytes()[:-40000])
    with pytest.raises(TalkfaceError, match="inside clip s1/b"):
        open_dataset(tmp_path)[1]
