import shutil
from collections import namedtuple

import pytest

from talkface import doctor
from talkface.config import weights_dir
from talkface.media.ffmpeg import ffmpeg_exe

Usage = namedtuple("Usage", "total used free")


def run(check):
    return list(doctor._guarded(check))


@pytest.fixture
def other_ffmpeg():
    """ffmpeg_exe remembers the program of the process."""
    ffmpeg_exe.cache_clear()
    yield
    ffmpeg_exe.cache_clear()


def test_a_healthy_machine_passes_all_checks_and_makes_a_video(monkeypatch, tmp_path):
    monkeypatch.setenv("TALKFACE_CACHE", str(tmp_path))
    checks = list(doctor.examine())
    assert [check for check in checks if not check.ok] == []
    names = [check.name for check in checks]
    assert {"talkface", "python", "packages", "device", "ffmpeg", "weights", "cache", "disk"} <= set(names)
    assert names[-1] == "self-test"
    assert "frames/s" in checks[-1].found


def test_a_damaged_and_a_missing_weights_file_are_named(monkeypatch, tmp_path):
    copy = tmp_path / "weights"
    shutil.copytree(weights_dir(), copy)
    data = bytearray((copy / "face_mesh.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "face_mesh.safetensors").write_bytes(data)
    (copy / "vgg16_hed.safetensors").unlink()
    monkeypatch.setattr(doctor, "weights_dir", lambda: copy)
    (check,) = run(doctor._weights)
    assert not check.ok
    assert "face_mesh.safetensors is damaged" in check.found
    assert "vgg16_hed.safetensors is missing" in check.found
    assert "generator" not in check.found
    assert check.fix


def test_a_wrong_ffmpeg_is_a_problem_with_a_fix(monkeypatch, other_ffmpeg):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    (check,) = run(doctor._ffmpeg)
    assert not check.ok
    assert "/nowhere/ffmpeg" in check.found
    assert "unset it" in check.fix


def test_a_program_that_is_no_ffmpeg_is_a_problem(monkeypatch, other_ffmpeg):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", shutil.which("false"))
    (check,) = run(doctor._ffmpeg)
    assert not check.ok
    assert "does not run" in check.found


def test_a_cache_that_cannot_be_written_is_a_problem(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("TALKFACE_CACHE", str(tmp_path / "file" / "cache"))
    (check,) = run(doctor._cache)
    assert not check.ok
    assert "TALKFACE_CACHE" in check.fix


def test_a_full_disk_is_a_problem(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 10**6))
    (check,) = run(doctor._disk)
    assert not check.ok
    assert "500 MB" in check.fix


def test_an_unexpected_failure_of_a_check_becomes_a_line_of_the_report():
    def _strange_check():
        raise ZeroDivisionError("division by zero")
        yield

    (check,) = run(_strange_check)
    assert (check.name, check.ok) == ("strange-check", False)
    assert "ZeroDivisionError" in check.found
