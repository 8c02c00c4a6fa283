import subprocess

import numpy as np
import pytest

from talkface.errors import TalkfaceError
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.media.subtitles import Cue, burning_filter, check_drawn, read_subtitles, until
from talkface.media.video import VideoWriter, read_frames

SRT = "1\n00:00:00,040 --> 00:00:00,200\nFirst\nline\n\n2\n00:00:00,300 --> 00:01:00,000\nLast\n"


@pytest.fixture
def srt(tmp_path):
    file = tmp_path / "it's [a], b;c.srt"
    file.write_text(SRT, encoding="utf-8")
    return file


def black_video(path, subtitles):
    with VideoWriter(path, 320, 240, 25, preset="ultrafast", subtitles=subtitles) as video:
        for _ in range(10):
            video.write(np.zeros((240, 320, 3), np.uint8))
    return path


def test_times_and_lines_are_read(srt):
    assert read_subtitles(srt) == [Cue(0.04, 0.2, "First\nline"), Cue(0.3, 60.0, "Last")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_common_encodings_are_recognised(tmp_path, encoding):
    file = tmp_path / "a.srt"
    file.write_bytes("1\r\n00:00:00,0 --> 00:00:01,0\r\ncafé\r\n".encode(encoding))
    assert read_subtitles(file) == [Cue(0, 1, "café")]


def test_webvtt_is_read_too(tmp_path):
    file = tmp_path / "a.vtt"
    file.write_text("WEBVTT\n\nintro\n00:01.500 --> 00:02.000 align:start\nHello\n")
    assert read_subtitles(file) == [Cue(1.5, 2.0, "Hello")]


@pytest.mark.parametrize(
    "text, problem",
    [
        ("just text", "has no subtitle"),
        ("1\n00:00:02,000 --> 00:00:01,000\nback\n", "line 2: the subtitle ends before it begins"),
        ("1\n00:00:01,000 --> 00:00:02,000\n\n", "has no subtitle"),
    ],
)
def test_a_file_without_usable_subtitles_is_an_error(tmp_path, text, problem):
    file = tmp_path / "a.srt"
    file.write_text(text)
    with pytest.raises(TalkfaceError, match=problem):
        read_subtitles(file)


def test_subtitles_end_with_the_video(srt):
    assert [cue.end for cue in until(0.4, srt, False).cues] == [0.2, 0.4]
    assert len(until(0.25, srt, False).cues) == 1
    with pytest.raises(TalkfaceError, match=r"begin after the end of the video \(0.02 s\)"):
        until(0.02, srt, False)


def test_a_track_of_subtitles_has_the_text_and_does_not_lengthen_the_video(srt, tmp_path):
    video = black_video(tmp_path / "a.mp4", until(0.4, srt, False))
    command = [ffmpeg_exe(), "-v", "error", "-i", video, "-map", "0:s:0", "-f", "srt", "-"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "00:00:00,040 --> 00:00:00,200\nFirst\nline" in shown
    assert "00:00:00,300 --> 00:00:00,400\nLast" in shown
    assert max(frame.max() for frame in read_frames(video)) < 20


def test_burned_subtitles_are_in_the_picture_at_their_times(srt, tmp_path):
    try:
        frames = list(read_frames(black_video(tmp_path / "a.mp4", until(0.4, srt, True))))
    except TalkfaceError:
        pytest.skip("ffmpeg finds no font: burned subtitles are NOT tested")
    bright = [bool(frame[120:].max() > 200) for frame in frames]
    assert bright == [False, *[True] * 4, False, False, False, True, True]


def test_special_characters_of_a_path_are_escaped_for_the_filter(tmp_path):
    assert burning_filter(tmp_path / "a:b'c,d").endswith(r"a\\:b\\\'c\,d")


def test_a_missing_font_is_an_error_and_a_substitute_is_not():
    check_drawn(["[Parsed_subtitles_0 @ 0x1] fontselect: (Arial, 400, 0) -> /usr/share/fonts/Sans.ttf"])
    with pytest.raises(TalkfaceError, match="found no font"):
        check_drawn(["[Parsed_subtitles_0 @ 0x1] fontselect: failed to find any fallback with glyph 0x46"])
