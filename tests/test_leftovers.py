"""Temporary files: deleted by their process, or by a later one if their process was killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from talkface.files import atomic_write, write_bytes
from talkface.leftovers import create_held, release, remove_abandoned, unique_tag

ROOT = Path(__file__).resolve().parent.parent


def hold(code, *arguments):
    """A process that runs `code` with talkface imported, and then says "ready" and waits."""
    code = f"import sys, time; from pathlib import Path; {code}; print('ready', flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_deleted_with_its_release_and_a_second_release_does_nothing(tmp_path):
    path = tmp_path / "a"
    create_held(path)
    assert path.exists()
    release(path)
    assert not path.exists()
    path.write_text("of somebody else")
    release(path)
    assert path.exists()


def test_a_folder_is_deleted_with_its_content(tmp_path):
    create_held(tmp_path / "folder", folder=True)
    (tmp_path / "folder" / "file").write_text("x")
    release(tmp_path / "folder")
    assert names(tmp_path) == []


def test_a_part_of_a_living_process_stays_and_one_of_a_killed_process_is_deleted_by_the_next_write(tmp_path):
    code = "from talkface.files import atomic_write; w = atomic_write(sys.argv[1]); w.__enter__().write_text('half')"
    with hold(code, tmp_path / "out.mp4") as process:
        try:
            write_bytes(tmp_path / "out.mp4", b"whole")
            assert len(names(tmp_path)) == 2
        finally:
            process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(names(tmp_path)) == 2
    write_bytes(tmp_path / "other.mp4", b"whole")
    assert len(names(tmp_path)) == 3
    write_bytes(tmp_path / "out.mp4", b"whole again")
    assert names(tmp_path) == ["other.mp4", "out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"whole again"


def test_files_of_this_process_of_other_names_and_of_other_machines_stay(tmp_path, monkeypatch):
    kept = [f".out.{unique_tag()[:4]}x.part.mp4", f".other.{unique_tag()}.part.mp4", "out.mp4"]
    monkeypatch.setattr("platform.node", lambda: "another machine")
    kept.append(f".out.{unique_tag()}.part.mp4")
    monkeypatch.undo()
    for name in kept:
        (tmp_path / name).write_text("x")
    with atomic_write(tmp_path / "out.mp4") as beside:
        remove_abandoned(tmp_path, ".out.", ".part.mp4")
        assert names(tmp_path) == sorted([*kept, beside.name])
        beside.write_text("new")


def test_what_an_exception_at_an_unlucky_moment_leaves_is_deleted_at_the_end_of_the_process(tmp_path):
    code = "import sys; from pathlib import Path; from talkface.leftovers import create_held;"
    code += "create_held(Path(sys.argv[1])); raise SystemExit(3)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    status = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], env=environment).returncode
    assert status == 3
    assert names(tmp_path) == []


def test_a_forked_process_does_not_delete_the_files_of_its_parent(tmp_path):
    create_held(tmp_path / "a")
    code = "import os, sys; from pathlib import Path; from talkface.leftovers import create_held;"
    code += "create_held(Path(sys.argv[1])); child = os.fork(); child or sys.exit();"
    code += "os.waitpid(child, 0); print(Path(sys.argv[1]).exists())"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "b")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "True\n"
    release(tmp_path / "a")
    assert names(tmp_path) == []


def test_a_folder_that_does_not_exist_has_no_leftovers(tmp_path):
    remove_abandoned(tmp_path / "nowhere", "talkface-")
    with pytest.raises(FileNotFoundError):
        create_held(tmp_path / "nowhere" / "a")
