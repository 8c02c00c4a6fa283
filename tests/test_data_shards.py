"""Shards: what is written is whole or not there."""

import json
import subprocess
import sys
import tarfile

import pytest
from full_disk import files_no_larger_than
from packed import a_clip, write_dataset

from talkface.data.reader import open_dataset
from talkface.data.shards import ShardWriter
from talkface.errors import TalkfaceError


def test_a_shard_is_a_tar_of_samples_in_the_sense_of_webdataset(tmp_path):
    write_dataset(tmp_path, [a_clip("s1/a", 2), a_clip("s1/b", 3)])
    with tarfile.open(tmp_path / "shards/train-00000.tar") as tar:
        names = tar.getnames()
        assert json.loads(tar.extractfile("s1/b.json").read())["speaker"] == "s1"
    assert names[:4] == ["s1/a.json", "s1/a.npz", "s1/a.000.jpg", "s1/a.001.jpg"]
    webdataset = pytest.importorskip("webdataset")
    samples = list(webdataset.WebDataset(str(tmp_path / "shards/train-00000.tar"), shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in samples] == ["s1/a", "s1/b"]
    assert samples[1]["002.jpg"].shape == (256, 256, 3)
    assert samples[1]["npz"]["lips"].shape == (3, 40, 2)


def test_the_same_clips_give_the_same_bytes(tmp_path):
    for run in "ab":
        write_dataset(tmp_path / run, [a_clip("s1/a"), a_clip("s1/b")])
    a, b = ((tmp_path / run / "shards/train-00000.tar").read_bytes() for run in "ab")
    assert a == b


def test_a_shard_left_by_an_exception_leaves_nothing_behind(tmp_path):
    def interrupted():
        with ShardWriter(tmp_path, "train-00000") as writer:
            writer.add(a_clip())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list((tmp_path / "shards").iterdir()) == []


def test_a_full_disk_is_one_clear_error_and_leaves_nothing_behind(tmp_path):
    with files_no_larger_than(10_000), pytest.raises(TalkfaceError, match=r"train-00000\.tar cannot be written"):
        write_dataset(tmp_path, [a_clip("s1/a", 9)])
    assert list((tmp_path / "shards").iterdir()) == []


def test_what_a_killed_worker_has_left_goes_when_its_shard_is_made_again(tmp_path):
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    code = f"from talkface.data.shards import ShardWriter\nwith ShardWriter({str(tmp_path)!r}, 'train-00000'): {kill}"
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list((tmp_path / "shards").iterdir())) == 1
    write_dataset(tmp_path, [a_clip("s1/a")])
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == ["train-00000.jsonl", "train-00000.tar"]


def test_a_cut_shard_names_the_clip(tmp_path):
    write_dataset(tmp_path, [a_clip("s1/a"), a_clip("s1/b")])
    shard = tmp_path / "shards/train-00000.tar"
    shard.write_bytes(shard.read_bytes()[:-40000])
    with pytest.raises(TalkfaceError, match="inside clip s1/b"):
        open_dataset(tmp_path)[1]
