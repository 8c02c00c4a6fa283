"""The engine for many machines, on a local Ray cluster with two workers: it writes the same clips as this process."""

import os
import sys
from pathlib import Path

import pytest

from talkface.data.layouts import find_sources
from talkface.data.shards import read_lines, shard_indexes
from talkface.errors import TalkfaceError
from talkface.preprocess import PreprocessConfig, preprocess
from talkface.preprocess.plan import shards_to_do
from talkface.preprocess.worker import RunSpec, ShardAttempt, build_shard

ROOT = Path(__file__).resolve().parent.parent


def test_without_ray_the_error_gives_the_command_that_installs_it(tmp_path, monkeypatch):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/a.mp4").write_text("not a video")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TalkfaceError, match="needs Ray") as caught:
        preprocess(PreprocessConfig(data="folder", source=tmp_path / "videos", out=tmp_path / "out", engine="ray"))
    assert "talkface[ray]" in caught.value.fix


@pytest.fixture(scope="module")
def cluster(crashing_limits):
    ray = pytest.importorskip("ray", reason="Ray is not installed: --engine ray is NOT tested here")
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()
    patch.undo()


def test_a_cluster_of_two_workers_writes_the_shards_of_this_process_and_a_crash_costs_one_video(
    tmp_path, cluster, video_factory, crashing_limits
):
    for name, frames in (("a", 12), ("b", 10), ("c", crashing_limits.fatal_frames), ("d", 11)):
        video_factory.write_talking(tmp_path / "videos" / f"{name}.mp4", frames)
    (tmp_path / "splits.txt").write_text(". train\n")
    steps = []
    report = preprocess(
        PreprocessConfig(
            data="folder",
            source=tmp_path / "videos",
            out=tmp_path / "ray",
            engine="ray",
            clips_per_shard=2,
            split_list=tmp_path / "splits.txt",
            limits=crashing_limits,
        ),
        lambda done, total: steps.append((done, total)),
    )
    assert (report.workers, report.videos, report.frames, steps[-1]) == (2, 4, 33, (4, 4))
    assert report.rows() == [
        ("kept", {"train": 3, "val": 0, "test": 0}),
        ("crashed", {"train": 1, "val": 0, "test": 0}),
    ]
    sources = find_sources("folder", tmp_path / "videos", split_list=tmp_path / "splits.txt")
    for shard in shards_to_do(sources, tmp_path / "here", 2):
        build_shard(ShardAttempt(shard, crashed=("c",)), RunSpec(tmp_path / "here", "videos", crashing_limits))
    for ours, theirs in zip(shard_indexes(tmp_path / "here"), shard_indexes(tmp_path / "ray"), strict=True):
        assert read_lines(ours) == read_lines(theirs)
        assert ours.with_suffix(".tar").read_bytes() == theirs.with_suffix(".tar").read_bytes()


def test_an_error_that_the_user_can_fix_comes_back_from_a_task_with_its_message(
    tmp_path, cluster, video_factory, crashing_limits
):
    from talkface.preprocess.ray_engine import run_ray

    video_factory.write_talking(tmp_path / "videos" / "a.mp4", 10)
    shards = shards_to_do(find_sources("folder", tmp_path / "videos"), tmp_path, 1)
    (tmp_path / "file").touch()
    with pytest.raises(TalkfaceError, match="cannot be written") as caught:
        run_ray(shards, RunSpec(tmp_path / "file" / "out", "videos", crashing_limits), 1, lambda progress: None)
    assert caught.value.fix == (
        "Choose a folder that exists, may be written to and has space. Files that were written before are complete."
    )
