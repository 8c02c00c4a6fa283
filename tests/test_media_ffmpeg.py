"""FFmpegProcess ffmpeg: which one, what it says, and that it never outlives its block."""

import re
import shutil
import sys
import time

import ffmpeg
import pytest

from talkface.errors import TalkfaceError
from talkface.media import ffmpeg as ours
from talkface.media.ffmpeg import channel_count, failure_reason, ffmpeg_exe, file_url, start


@pytest.fixture
def fake_ffmpeg(tmp_path, monkeypatch):
    """Put a Python script in the place of ffmpeg."""

    def put(code: str) -> None:
        script = tmp_path / "fake-ffmpeg"
        script.write_text(f"#!{sys.executable}\nimport os, sys, time\n{code}\n")
        script.chmod(0o755)
        monkeypatch.setattr(ours, "ffmpeg_exe", lambda: str(script))

    return put


def graph():
    return ffmpeg.input("pipe:0").output("pipe:1", format="null")


def test_the_ffmpeg_on_the_path_comes_first(tmp_path, monkeypatch):
    mine = tmp_path / "ffmpeg"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    ffmpeg_exe.cache_clear()
    try:
        assert ffmpeg_exe() == str(mine)
    finally:
        ffmpeg_exe.cache_clear()


def test_without_one_on_the_path_the_bundled_one_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    ffmpeg_exe.cache_clear()
    try:
        assert "imageio_ffmpeg" in ffmpeg_exe()
    finally:
        ffmpeg_exe.cache_clear()


def test_no_ffmpeg_at_all_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    ffmpeg_exe.cache_clear()
    try:
        with pytest.raises(TalkfaceError, match="No ffmpeg found") as error:
            ffmpeg_exe()
        assert "pip install imageio-ffmpeg" in error.value.fix
    finally:
        ffmpeg_exe.cache_clear()


def test_a_name_with_a_leading_dash_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert file_url("-y.wav") == f"file:{tmp_path}/-y.wav"


@pytest.mark.parametrize(
    "said,reason",
    [
        (["[out#0/mp4 @ 0x1] Error: No space left on device", "Conversion failed!"], "No space left on device"),
        (["[in#0 @ 0x1] moov atom not found", "Error opening input files: Invalid data"], "moov atom not found"),
        (["Error opening input file file:a.", "Error opening input files: Invalid data found"], "Invalid data found"),
        (["[mov @ 0x1] moov atom not found", "file:/a b): c.mp4: Invalid data found"], "moov atom not found"),
        (["file:/a b): c.mp4: Invalid data found"], "Invalid data found"),
        ([], ""),
    ],
)
def test_the_reason_of_a_failure_is_its_most_telling_line(said, reason):
    assert failure_reason(said) == reason


@pytest.mark.parametrize(
    "layout,channels", [("mono", 1), ("stereo", 2), ("5.1(side)", 6), ("7.1", 8), ("9 channels", 9), ("quad", 4)]
)
def test_channels_are_counted_from_the_name_of_the_layout(layout, channels):
    assert channel_count(layout) == channels


def test_an_ffmpeg_that_talks_without_end_does_not_stand_still(fake_ffmpeg):
    fake_ffmpeg("sys.stderr.write('x' * 80 + '\\n')\nfor i in range(100_000): print('packet', i, file=sys.stderr)")
    with start(graph()) as running:
        assert running.stdout.read() == b""
        assert running.finish() == 0
    assert len(running.stderr_lines) == 2 * ours.KEPT_LINES
    assert running.stderr_lines[-1] == "packet 99999"


def test_an_ffmpeg_that_was_ended_from_outside_says_so(fake_ffmpeg):
    fake_ffmpeg("os.kill(os.getpid(), 9)")
    with start(graph()) as running:
        assert running.finish() == -9
        assert running.reason() == "ffmpeg was ended by SIGKILL"


def test_an_ffmpeg_ends_with_its_block(fake_ffmpeg):
    fake_ffmpeg("time.sleep(60)")
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), start(graph(), write_stdin=True):
        raise KeyboardInterrupt
    assert time.monotonic() - began < 10


def test_an_ffmpeg_that_does_not_start_is_a_clear_error(tmp_path, monkeypatch):
    broken = tmp_path / "ffmpeg"
    broken.write_bytes(b"\x00not a program")
    broken.chmod(0o755)
    monkeypatch.setattr(ours, "ffmpeg_exe", lambda: str(broken))
    with pytest.raises(TalkfaceError, match=f"{re.escape(str(broken))} does not start"):
        start(graph())
