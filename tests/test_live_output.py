"""Live videos: exact times, in step with the sound, playable while they grow."""

import os
import subprocess
import threading
from fractions import Fraction

import numpy as np
import pytest

from talkface.errors import TalkfaceError
from talkface.live.output import FragmentedVideo, OutputClosed, RawVideo, Target
from talkface.media.audio import load_waveform
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.media.pcm import SoundFormat
from talkface.media.video import read_frames

SIZE = 32
MONO = SoundFormat("s16le", 16_000)


def picture(number):
    """A frame whose grey tells its number."""
    return np.full((SIZE, SIZE, 3), 16 + number % 200, np.uint8)


def open_video(target, fps=Fraction(25), sound=MONO, mark=True, on_left=lambda number: None):
    return FragmentedVideo(target, SIZE, SIZE, fps, sound, crf=18, mark=mark, on_left=on_left)


def packets(path, stream):
    """The start and duration of each packet in ticks, and the ticks of a second."""
    command = [ffmpeg_exe(), "-v", "error", "-i", path, "-map", f"0:{stream}", "-c", "copy", "-f", "framecrc", "-"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    base = next(line.split("/")[1] for line in lines if line.startswith("#tb"))
    return np.array([[int(part) for part in line.split(",")[2:4]] for line in lines if line[0] != "#"]), int(base)


def write(path, seconds, fps=Fraction(25), sound=MONO, clicks=()):
    """A video with a sound that clicks at these seconds; the sound is 0.24 s ahead, as in live use."""
    samples = np.zeros((round(seconds * sound.rate), sound.channels), "<i2")
    for click in clicks:
        samples[round(click * sound.rate) :][:16] = 30_000
    given, left = 0, []
    with open_video(Target(path), fps, sound, on_left=left.append) as video:
        for number in range(round(seconds * fps)):
            end = round((number / fps + 0.24) * sound.rate)
            video.write_sound(samples[given:end])
            given = end
            video.write(picture(number))
    assert left == list(range(video.frames))
    return path


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001), Fraction(60)])
@pytest.mark.parametrize("sound", [SoundFormat(), SoundFormat("s16le", 44_100, 2)], ids=str)
def test_frame_k_is_shown_at_k_over_fps_and_no_sound_is_missing(tmp_path, fps, sound):
    path = write(tmp_path / "a.mp4", 2, fps, sound)
    frames, base = packets(path, "v")
    np.testing.assert_allclose(frames[:, 0] / base, np.arange(round(2 * fps)) / float(fps), atol=1e-4)
    heard, base = packets(path, "a")
    assert (np.diff(heard[:, 0]) == 1024).all()
    assert (heard[-1].sum()) / base == pytest.approx(2, abs=0.001)


def test_picture_and_sound_are_in_step_after_ten_minutes(tmp_path):
    clicks = [1.0, 300.0, 599.0]
    path = write(tmp_path / "a.mp4", 600, Fraction(4), SoundFormat("s16le", 8_000), clicks)
    frames, base = packets(path, "v")
    assert frames[-1, 0] / base == pytest.approx(599.75, abs=1e-3)
    waveform = load_waveform(path, 8_000)
    for click in clicks:
        around = np.abs(waveform[round((click - 0.5) * 8_000) : round((click + 0.5) * 8_000)])
        assert abs(int(around.argmax()) / 8_000 - 0.5) < 0.005


def test_a_file_plays_while_it_grows(tmp_path):
    path, left = tmp_path / "a.mp4", threading.Semaphore(0)
    with open_video(Target(path), on_left=lambda number: left.release()) as video:
        video.write_sound(np.zeros((32_000, 1), "<i2"))
        for number in range(12):
            video.write(picture(number))
        for _ in range(10):
            assert left.acquire(timeout=10)
        shown = [int(frame.mean()) for frame in read_frames(path, fps=None)]
    assert shown[:10] == pytest.approx([16 + number for number in range(10)], abs=2)


def test_the_video_says_that_it_is_synthetic_unless_told_otherwise(tmp_path):
    for mark, name in ((True, "a.mp4"), (False, "b.mp4")):
        with open_video(Target(tmp_path / name), mark=mark) as video:
            video.write_sound(np.zeros((16_000, 1), "<i2"))
            video.write(picture(0))
        about = subprocess.run([ffmpeg_exe(), "-i", tmp_path / name], capture_output=True, text=True).stderr
        assert ("Synthetic" in about) == mark


def test_an_existing_file_is_never_overwritten(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("mine")
    with pytest.raises(TalkfaceError, match="exists") as error:
        Target(path)
    assert "another name" in error.value.fix
    assert path.read_text() == "mine"


def test_a_file_in_a_folder_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(TalkfaceError, match=r"a\.mp4 cannot be written: No such file"):
        Target(tmp_path / "missing" / "a.mp4")


@pytest.fixture
def closed_pipe(monkeypatch):
    """Standard output that nobody reads."""
    ours, theirs = os.pipe()
    os.close(ours)
    monkeypatch.setattr(os, "dup", lambda number: theirs)
    return Target("-")


def write_noise(video, frames):
    with video:
        video.write_sound(np.zeros((320_000, 1), "<i2"))
        for number in range(frames):
            video.write(np.random.default_rng(number).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["mp4", "raw"])
def test_a_closed_pipe_ends_the_video(closed_pipe, kind):
    video = open_video(closed_pipe) if kind == "mp4" else RawVideo(closed_pipe, lambda number: None)
    with pytest.raises(OutputClosed):
        write_noise(video, 10_000)
    assert video.frames < 10_000


def test_a_full_disk_is_one_error(tmp_path, disk_limits):
    video = open_video(Target(tmp_path / "a.mp4"))
    with disk_limits(20_000), pytest.raises(TalkfaceError, match="cannot be written: File too large"):
        write_noise(video, 2000)
