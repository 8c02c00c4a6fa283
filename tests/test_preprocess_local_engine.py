"""The engine for one machine: the crash of a worker process costs one video."""

import pytest

from talkface.data.layouts import find_sources
from talkface.data.shards import read_lines, shard_indexes
from talkface.errors import TalkfaceError
from talkface.preprocess.local_engine import run_local
from talkface.preprocess.plan import shards_to_do
from talkface.preprocess.worker import RunSpec, ShardAttempt


def test_the_crash_of_a_worker_process_costs_one_video(tmp_path, video_factory, crashing_limits):
    for name, frames in (("a", 12), ("b", crashing_limits.fatal_frames), ("c", 14)):
        video_factory.write_talking(tmp_path / "videos" / f"{name}.mp4", frames)
    (tmp_path / "splits.txt").write_text(". train\n")
    sources = find_sources("folder", tmp_path / "videos", split_list=tmp_path / "splits.txt")
    reports = []
    run_local(shards_to_do(sources, tmp_path, 3), RunSpec(tmp_path, "videos", crashing_limits), 1, reports.append)
    (index,) = shard_indexes(tmp_path)
    lines = {line["name"]: line for line in read_lines(index)}
    assert {name: line["status"] for name, line in lines.items()} == {"a": "kept", "b": "crashed", "c": "kept"}
    assert lines["b"]["facts"] == {"detail": "the worker process crashed"}
    assert {progress.name: progress.frames for progress in reports if progress.frames is not None} == {
        "a": 12,
        "b": 0,
        "c": 14,
    }
    assert [path.name for path in (tmp_path / "shards").iterdir() if ".part" in path.name] == []


def test_after_a_crash_one_video_at_a_time_is_decoded_and_after_the_next_crash_the_last_video_is_skipped():
    first = ShardAttempt(shard=None)
    again = first.after_crash("b")
    assert (again.prefetch, again.crashed) == (False, ())
    assert again.after_crash("c").crashed == ("c",)
    assert again.after_crash("c").after_crash("d").crashed == ("c", "d")
    with pytest.raises(TalkfaceError, match="crash before they begin the first video"):
        again.after_crash("")


def test_an_error_that_the_user_can_fix_ends_the_run_with_its_message(tmp_path, video_factory, crashing_limits):
    video_factory.write_talking(tmp_path / "videos" / "a.mp4", 10)
    shards = shards_to_do(find_sources("folder", tmp_path / "videos"), tmp_path, 1)
    (tmp_path / "file").touch()
    with pytest.raises(TalkfaceError, match="cannot be written") as caught:
        run_local(shards, RunSpec(tmp_path / "file" / "out", "videos", crashing_limits), 1, lambda progress: None)
    assert caught.value.fix


def test_a_run_without_shards_starts_no_worker(tmp_path, crashing_limits):
    assert run_local([], RunSpec(tmp_path, "videos", crashing_limits), 4, lambda progress: None) == 0
