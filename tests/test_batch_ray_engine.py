"""Batches on a local Ray cluster with two workers."""

import importlib
import logging
import os
from pathlib import Path

import pytest

from talkface.batch.ray_engine import run_ray
from talkface.errors import TalkfaceError
from talkface.workers import Failed, Finished

ROOT = Path(__file__).resolve().parent.parent
TASKS = '''
import os
import signal
from pathlib import Path

from talkface.errors import TalkfaceError


def work(number, report):
    """Task 1 kills its process, task 2 finds an error of the user; the others return their number and folder."""
    report(number)
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 2:
        raise TalkfaceError("bad", "do")
    return number, str(Path.cwd())
'''


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A task in a module that the actors can import, and the cluster."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: --engine ray is NOT tested here")
    (tmp_path / "tasks_of_ray.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(tmp_path)]))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.chdir(tmp_path)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield importlib.import_module("tasks_of_ray").work
    ray.shutdown()


def test_tasks_run_in_the_folder_of_the_driver_and_a_crash_or_an_error_costs_one_of_them(work, tmp_path):
    outcomes = {}
    assert run_ray(work, [(number,) for number in range(4)], 0, outcomes.__setitem__) == 2
    assert outcomes[0] == Finished((0, str(tmp_path)))
    assert outcomes[3] == Finished((3, str(tmp_path)))
    assert outcomes[2] == Failed("bad", "do")
    assert "crashed" in outcomes[1].problem


def test_ray_writes_no_log_between_the_lines_of_a_batch_and_its_failure_is_an_error_of_the_user(monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is not installed: --engine ray is NOT tested here")
    given = {}

    def init(**options):
        given.update(options)
        raise Exception("The node did not start.\nA long explanation.")  # as Ray does

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(TalkfaceError, match=r"The Ray cluster cannot be used: The node did not start\.$"):
        run_ray(print, [()], 0, print)
    assert given["logging_level"] == logging.ERROR
    assert not given["log_to_driver"]
