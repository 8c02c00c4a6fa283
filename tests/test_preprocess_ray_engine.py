"""The engine of many machines, on a Ray cluster of two workers that runs here: the same clips as without it."""

import sys
from pathlib import Path

import films
import pytest
from deadly import DEADLY_FRAMES, DeadlyGates

from talkface.data.layouts import find_sources
from talkface.data.shards import read_lines, shard_indexes
from talkface.errors import TalkfaceError
from talkface.preprocess import PreprocessConfig, preprocess
from talkface.preprocess.plan import shards_to_do
from talkface.preprocess.worker import RunSpec, ShardAttempt, work_on

HERE = Path(__file__).resolve().parent


def test_ray_that_is_not_installed_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    (tmp_path / "films").mkdir()
    (tmp_path / "films/a.mp4").write_text("no film")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TalkfaceError, match="needs Ray") as caught:
        preprocess(PreprocessConfig(data="folder", source=tmp_path / "films", out=tmp_path / "out", engine="ray"))
    assert "talkface[ray]" in caught.value.fix


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray", reason="Ray is not installed: --engine ray is NOT tested here")
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", f"{HERE.parent}:{HERE}")
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()
    patch.undo()


def test_a_cluster_of_two_workers_makes_the_shards_of_this_process_and_loses_one_video_to_a_crash(tmp_path, cluster):
    for name, frames in (("a", 12), ("b", 10), ("c", DEADLY_FRAMES), ("d", 11)):
        films.write_talk(tmp_path / "films" / f"{name}.mp4", frames)
    (tmp_path / "splits.txt").write_text(". train\n")
    told = []
    report = preprocess(
        PreprocessConfig(
            data="folder",
            source=tmp_path / "films",
            out=tmp_path / "ray",
            engine="ray",
            clips_per_shard=2,
            split_list=tmp_path / "splits.txt",
            gates=DeadlyGates(),
        ),
        lambda done, total: told.append((done, total)),
    )
    assert (report.workers, report.videos, report.frames, told[-1]) == (2, 4, 33, (4, 4))
    assert report.rows() == [
        ("kept", {"train": 3, "val": 0, "test": 0}),
        ("crashed", {"train": 1, "val": 0, "test": 0}),
    ]
    sources = find_sources("folder", tmp_path / "films", split_list=tmp_path / "splits.txt")
    for unit in shards_to_do(sources, tmp_path / "here", 2):
        work_on(ShardAttempt(unit, crashed=("c",)), RunSpec(tmp_path / "here", "films", DeadlyGates()))
    for ours, theirs in zip(shard_indexes(tmp_path / "here"), shard_indexes(tmp_path / "ray"), strict=True):
        assert read_lines(ours) == read_lines(theirs)
        assert ours.with_suffix(".tar").read_bytes() == theirs.with_suffix(".tar").read_bytes()


def test_what_the_user_can_mend_comes_back_from_a_task_with_its_words(tmp_path, cluster):
    from talkface.preprocess.ray_engine import run_ray

    films.write_talk(tmp_path / "films" / "a.mp4", 10)
    units = shards_to_do(find_sources("folder", tmp_path / "films"), tmp_path, 1)
    (tmp_path / "file").touch()
    with pytest.raises(TalkfaceError, match="cannot be written") as caught:
        run_ray(units, RunSpec(tmp_path / "file" / "out", "films", DeadlyGates()), 1, lambda progress: None)
    assert caught.value.fix == (
        "Choose a folder that exists, may be written and has space. What was written before is whole."
    )
