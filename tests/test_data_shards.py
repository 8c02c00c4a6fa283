"""Clips on disk: what is written is read back, whole or not at all."""

import json
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from talkface.data.clip import Clip, decode_frame, encode_frame, pack, unpack
from talkface.data.reader import open_dataset
from talkface.data.shards import DATASET, FORMAT, INDEX, ShardWriter, read_lines, shard_indexes, write_lines
from talkface.errors import TalkfaceError
from talkface.media.windows import SILENCE


def a_clip(name="s1/bbaf2n", frames=7, split="train", speaker="s1"):
    rng = np.random.default_rng(len(name) + frames)
    picture = np.linspace(0, 255, 256 * 256 * 3).reshape(256, 256, 3).astype(np.uint8)
    return Clip(
        name=name,
        dataset="grid",
        split=split,
        speaker=speaker,
        source=f"{name}.mpg",
        lips=rng.random((frames, 40, 2), np.float32),
        points68=rng.random((frames, 68, 2), np.float32),
        eyes=rng.random((frames, 2, 2), np.float32),
        transforms=rng.random((frames, 2, 3)),
        mfcc_steps=rng.random((4 * frames, 13), np.float32),
        encoded=[encode_frame(np.roll(picture, i, 0)) for i in range(frames)],
        quality={"eye_distance": 40.5},
    )


def write_dataset(root, clips, shard="train-00000"):
    with ShardWriter(root, shard) as writer:
        for clip in clips:
            writer.add(clip, status="kept")
    lines = [line for part in shard_indexes(root) for line in read_lines(part) if line["status"] == "kept"]
    write_lines(root / INDEX, lines)
    (root / DATASET).write_text(json.dumps({"format": FORMAT, "name": "grid"}))


def assert_same(a, b):
    assert pack(a) == pack(b)


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


def test_frames_survive_compression_with_45_db():
    ramp = np.linspace(0, 255, 256)
    smooth = np.stack(
        [np.add.outer(ramp, ramp) / 2, np.subtract.outer(ramp, ramp) / 2 + 128, ramp[None] + 0 * ramp[:, None]]
    )
    picture = smooth.transpose(1, 2, 0).clip(0, 255).astype(np.uint8)
    error = decode_frame(encode_frame(picture)).astype(float) - picture
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 45


def test_the_window_of_a_frame_lies_about_its_middle_and_follows_the_sound_offset():
    clip = a_clip(frames=30)
    clip.mfcc_steps[:] = np.arange(120, dtype=np.float32)[:, None]
    assert clip.mfcc.shape == (30, 20, 13)
    assert clip.mfcc[10, :, 0].tolist() == list(range(32, 52))  # middle of frame 10: 0.42 s
    clip.av_offset = 0.06
    assert clip.mfcc[10, :, 0].tolist() == list(range(38, 58))
    assert np.array_equal(clip.mfcc[0, 0], SILENCE) == (2 + 6 - 10 < 0)
    assert np.array_equal(clip.mfcc[29, -1], SILENCE)


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


def test_a_cut_shard_names_the_clip(tmp_path):
    write_dataset(tmp_path, [a_clip("s1/a"), a_clip("s1/b")])
    shard = tmp_path / "shards/train-00000.tar"
    shard.write_bytes(shard.read_bytes()[:-40000])
    with pytest.raises(TalkfaceError, match="inside clip s1/b"):
        open_dataset(tmp_path)[1]


def test_a_newer_format_is_refused(tmp_path):
    write_dataset(tmp_path, [a_clip()])
    (tmp_path / DATASET).write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(TalkfaceError, match="newer talkface"):
        open_dataset(tmp_path)


def test_members_unpack_to_the_clip_they_came_from():
    clip = a_clip()
    assert_same(unpack([content for _, content in pack(clip)]), clip)


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
