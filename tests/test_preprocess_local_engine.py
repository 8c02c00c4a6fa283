"""The engine of one machine: a worker's death costs one video."""

import films
import pytest
from deadly import DEADLY_FRAMES, DeadlyGates

from talkface.data.layouts import find_sources
from talkface.data.shards import read_lines, shard_indexes
from talkface.errors import TalkfaceError
from talkface.preprocess.local_engine import run_local
from talkface.preprocess.plan import shards_to_do
from talkface.preprocess.worker import RunSpec, ShardAttempt


def test_a_worker_that_dies_costs_one_video(tmp_path):
    for name, frames in (("a", 12), ("b", DEADLY_FRAMES), ("c", 14)):
        films.write_talk(tmp_path / "films" / f"{name}.mp4", frames)
    (tmp_path / "splits.txt").write_text(". train\n")
    sources = find_sources("folder", tmp_path / "films", split_list=tmp_path / "splits.txt")
    told = []
    run_local(shards_to_do(sources, tmp_path, 3), RunSpec(tmp_path, "films", DeadlyGates()), 1, told.append)
    (index,) = shard_indexes(tmp_path)
    lines = {line["name"]: line for line in read_lines(index)}
    assert {name: line["status"] for name, line in lines.items()} == {"a": "kept", "b": "crashed", "c": "kept"}
    assert lines["b"]["facts"] == {"detail": "the worker process died"}
    assert {progress.name: progress.frames for progress in told if progress.frames is not None} == {
        "a": 12,
        "b": 0,
        "c": 14,
    }
    assert [path.name for path in (tmp_path / "shards").iterdir() if ".part" in path.name] == []


def test_who_dies_is_found_by_decoding_one_video_at_a_time():
    first = ShardAttempt(unit=None)
    again = first.after_death("b")
    assert (again.prefetch, again.crashed) == (False, ())
    assert again.after_death("c").crashed == ("c",)
    assert again.after_death("c").after_death("d").crashed == ("c", "d")
    with pytest.raises(TalkfaceError, match="die before they begin"):
        again.after_death("")


def test_what_the_user_can_mend_ends_the_run_with_its_words(tmp_path):
    films.write_talk(tmp_path / "films" / "a.mp4", 10)
    units = shards_to_do(find_sources("folder", tmp_path / "films"), tmp_path, 1)
    (tmp_path / "file").touch()
    with pytest.raises(TalkfaceError, match="cannot be written") as caught:
        run_local(units, RunSpec(tmp_path / "file" / "out", "films", DeadlyGates()), 1, lambda progress: None)
    assert caught.value.fix


def test_no_work_needs_no_worker(tmp_path):
    assert run_local([], RunSpec(tmp_path, "films", DeadlyGates()), 4, lambda progress: None) == 0
