"""The plan of a run: it depends only on the videos and the finished shards."""

from itertools import chain

import pytest

from talkface.data.layouts import Source
from talkface.data.shards import ShardWriter
from talkface.errors import TalkfaceError
from talkface.preprocess import plan
from talkface.preprocess.plan import parse_part, part_of, shards_to_do


def videos(folder, count, split="train", size=10):
    folder.mkdir(exist_ok=True)
    for i in range(count):
        (folder / f"{split}{i:02d}.mp4").write_bytes(b"x" * size)
    return [Source(split, p.stem, "", p, p.name) for p in sorted(folder.glob(f"{split}*.mp4"))]


def finish(root, shard):
    with ShardWriter(root, shard.stem) as writer:
        for source in shard.sources:
            writer.skip(name=source.name, split=source.split, status="no face")


def test_every_video_is_in_one_shard_and_no_shard_has_two_splits(tmp_path):
    sources = videos(tmp_path / "v", 7) + videos(tmp_path / "v", 2, "val")
    shards = shards_to_do(sorted(sources), tmp_path / "out", 3)
    assert [(shard.stem, len(shard.sources)) for shard in shards] == [
        ("train-00000", 3),
        ("train-00001", 3),
        ("train-00002", 1),
        ("val-00000", 2),
    ]
    assert [source for shard in shards for source in shard.sources] == sorted(sources)


def test_finishing_a_shard_leaves_the_others_as_they_were(tmp_path):
    sources = videos(tmp_path / "v", 11)
    shards = shards_to_do(sources, tmp_path / "out", 2)
    for done in (3, 0):
        finish(tmp_path / "out", shards.pop(done))
        assert shards_to_do(sources, tmp_path / "out", 2) == shards


def test_videos_that_were_added_later_go_into_new_shards(tmp_path):
    sources = videos(tmp_path / "v", 5)
    first, *_ = shards_to_do(sources[1:4], tmp_path / "out", 3)
    finish(tmp_path / "out", first)
    (shard,) = shards_to_do(sources, tmp_path / "out", 3)
    assert shard.stem == "train-00001"
    assert shard.sources == (sources[0], sources[4])


def test_a_video_with_finished_pieces_is_done(tmp_path):
    sources = videos(tmp_path / "v", 1)
    with ShardWriter(tmp_path / "out", "train-00000") as writer:
        writer.skip(name="train00+000", split="train", status="no face")
    assert shards_to_do(sources, tmp_path / "out", 3) == []


def test_long_videos_fill_a_shard_sooner(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "SHARD_BYTES", 100)
    sources = videos(tmp_path / "v", 5, size=40)
    assert [len(shard.sources) for shard in shards_to_do(sources, tmp_path / "out", 64)] == [3, 2]


def test_the_parts_of_an_array_job_are_disjoint_and_complete_even_if_some_started_earlier(tmp_path):
    sources = videos(tmp_path / "v", 20)
    shards = shards_to_do(sources, tmp_path / "out", 2)
    parts = [part_of(shards, (i, 3)) for i in (1, 2, 3)]
    assert sorted(chain.from_iterable(parts), key=lambda shard: shard.number) == shards
    for shard in parts[1]:
        finish(tmp_path / "out", shard)
    later = shards_to_do(sources, tmp_path / "out", 2)
    assert [part_of(later, (i, 3)) for i in (1, 2, 3)] == [parts[0], [], parts[2]]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/2"])
def test_a_part_that_is_not_i_of_n_is_refused(text):
    with pytest.raises(TalkfaceError, match=f"--shard {text}"):
        parse_part(text)


def test_parts_are_numbered_from_one():
    assert parse_part("4/4") == (4, 4)
    assert parse_part(None) == (1, 1)
