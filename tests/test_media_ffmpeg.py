"""Which ffmpeg is run, how its failures are reported, and that it never outlives its block."""

import re
import signal
import sys

import ffmpeg
import pytest

from talkface.errors import TalkfaceError
from talkface.media import ffmpeg as ours
from talkface.media.ffmpeg import channel_count, failure_reason, ffmpeg_exe, file_url, start


@pytest.fixture
def fake_ffmpeg(tmp_path, monkeypatch):
    """Replaces ffmpeg by a Python script."""

    def put(code: str) -> None:
        script = tmp_path / "fake-ffmpeg"
        script.write_text(f"#!{sys.executable}\nimport os, sys, time\n{code}\n")
        script.chmod(0o755)
        monkeypatch.setattr(ours, "ffmpeg_exe", lambda: str(script))

    return put


def graph():
    return ffmpeg.input("pipe:0").output("pipe:1", format="null")


@pytest.fixture
def installed_ffmpeg(tmp_path, monkeypatch):
    """An ffmpeg on PATH and no choice in the environment; the cached path is forgotten before and after."""
    executable = tmp_path / "ffmpeg"
    executable.write_text("#!/bin/sh\n")
    executable.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE", raising=False)
    ffmpeg_exe.cache_clear()
    yield executable
    ffmpeg_exe.cache_clear()


def test_the_pinned_ffmpeg_is_preferred_to_the_one_on_path(installed_ffmpeg):
    assert "imageio_ffmpeg" in ffmpeg_exe()


def test_the_ffmpeg_named_in_the_environment_is_preferred_to_both(installed_ffmpeg, monkeypatch):
    mine = installed_ffmpeg.rename(installed_ffmpeg.with_name("my-ffmpeg"))
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(mine))
    assert ffmpeg_exe() == str(mine)


def test_an_ffmpeg_named_in_the_environment_that_is_missing_is_a_clear_error(installed_ffmpeg, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(installed_ffmpeg.with_name("none")))
    with pytest.raises(TalkfaceError, match=r"IMAGEIO_FFMPEG_EXE is set to .*none, which") as error:
        ffmpeg_exe()
    assert "unset it" in error.value.fix


def test_without_the_pinned_ffmpeg_the_one_on_path_is_used(installed_ffmpeg, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert ffmpeg_exe() == str(installed_ffmpeg)


def test_without_any_ffmpeg_the_error_says_how_to_get_one(installed_ffmpeg, monkeypatch):
    installed_ffmpeg.unlink()
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(TalkfaceError, match="No ffmpeg found") as error:
        ffmpeg_exe()
    assert "pip install imageio-ffmpeg" in error.value.fix


def test_a_name_with_a_leading_dash_is_passed_as_a_file(tmp_path, monkeypatch):
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
def test_the_reason_of_a_failure_is_the_most_informative_line(said, reason):
    assert failure_reason(said) == reason


@pytest.mark.parametrize(
    "layout,channels", [("mono", 1), ("stereo", 2), ("5.1(side)", 6), ("7.1", 8), ("9 channels", 9), ("quad", 4)]
)
def test_channels_are_counted_by_the_name_of_the_layout(layout, channels):
    assert channel_count(layout) == channels


def test_endless_messages_on_stderr_do_not_block_ffmpeg(fake_ffmpeg):
    fake_ffmpeg("sys.stderr.write('x' * 80 + '\\n')\nfor i in range(100_000): print('packet', i, file=sys.stderr)")
    with start(graph()) as running:
        assert running.stdout.read() == b""
        assert running.finish() == 0
    assert len(running.stderr_lines) == 2 * ours.KEPT_LINES
    assert running.stderr_lines[-1] == "packet 99999"


def test_the_reason_of_a_killed_ffmpeg_is_the_signal(fake_ffmpeg):
    fake_ffmpeg("os.kill(os.getpid(), 9)")
    with start(graph()) as running:
        assert running.finish() == -9
        assert running.reason() == "ffmpeg was ended by SIGKILL"


def test_ffmpeg_is_killed_at_the_end_of_its_block(fake_ffmpeg):
    fake_ffmpeg("time.sleep(60)")
    with pytest.raises(KeyboardInterrupt), start(graph(), write_stdin=True) as running:
        raise KeyboardInterrupt
    assert running.finish() == -signal.SIGKILL


def test_an_ffmpeg_that_cannot_be_started_is_a_clear_error(tmp_path, monkeypatch):
    broken = tmp_path / "ffmpeg"
    broken.write_bytes(b"\x00not a program")
    broken.chmod(0o755)
    monkeypatch.setattr(ours, "ffmpeg_exe", lambda: str(broken))
    with pytest.raises(TalkfaceError, match=f"{re.escape(str(broken))} does not start"):
        start(graph())
