"""Live video from the command line and from Python."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from talkface import render_live, stream
from talkface.cli import app
from talkface.errors import TalkfaceError
from talkface.live.write import LiveReport
from talkface.media.video import probe, read_frames
from talkface.render_options import RenderOptions

ROOT = Path(__file__).resolve().parent.parent
ASTRONAUT = ROOT / "examples" / "astronaut.jpg"
RATE = 16_000
LIVE = {"sound_format": "s16le:16000", "crop": True}


@pytest.fixture(scope="module")
def weights(tiny_weights):
    return tiny_weights


@pytest.fixture(autouse=True)
def folder(empty_folder):
    return empty_folder


def samples(seconds):
    """Syllables of noise, int16."""
    count = round(seconds * RATE)
    sound = np.random.default_rng(0).normal(0, 0.2, count) * (np.sin(np.arange(count) * 12 / RATE) > 0)
    return (np.clip(sound, -1, 1) * 32767).astype("<i2")


@pytest.fixture
def raw(folder):
    """0.6 s of raw sound."""
    path = folder / "speech.raw"
    path.write_bytes(samples(0.6).tobytes())
    return path


def shell(words, folder):
    command = f"set -o pipefail; {words.replace('| talkface ', f'| {sys.executable} -m talkface ')}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(["bash", "-c", command], capture_output=True, cwd=folder, env=environment, timeout=120)


def test_sound_from_a_pipe_becomes_a_video_in_a_pipe(folder, raw, weights):
    words = f"render {ASTRONAUT} - --sound-format s16le:16000 --weights {weights} --crop"
    result = shell(f"cat speech.raw | talkface {words} -o - --json a.json | cat > a.mp4", folder)
    assert result.returncode == 0, result.stderr
    assert sum(1 for _ in read_frames("a.mp4", fps=None)) == 15
    assert probe("a.mp4").audio_duration == pytest.approx(0.6, abs=0.03)
    assert re.search(rb"^-: 15 frames, 256x256, look-ahead 240 ms, sound to frame ", result.stderr)
    described = json.loads(Path("a.json").read_text())
    assert described["live"]["frames"] == 15
    assert described["speech"] == {"path": "-", "format": "s16le:16000", "seconds": 0.6}
    assert "sha256" not in described["out"]


def test_a_reader_that_closes_its_pipe_ends_the_command_quietly(folder, weights):
    words = f"render {ASTRONAUT} - --sound-format s16le:16000 --weights {weights} --crop --video-format rgb24"
    result = shell(f"head -c 3200000 /dev/zero | talkface {words} -o - -q | head -c 400000 | wc -c", folder)
    assert result.stdout.strip() == b"400000"
    assert result.stderr == b""


def test_no_sound_is_an_error_that_leaves_no_file(folder, weights):
    Path("empty.raw").touch()
    with pytest.raises(TalkfaceError, match=r"empty.raw is empty \(0 bytes\)"):
        render_live(ASTRONAUT, "empty.raw", "a.mp4", weights=weights, **LIVE)
    assert [path.name for path in folder.iterdir()] == ["empty.raw"]


def test_options_of_live_sound_reach_the_function_under_their_own_names(monkeypatch, raw):
    calls = []

    def call(photo, source, out, options, *, on_note):
        calls.append((str(photo), source.sound, str(out), options))
        return LiveReport("c.rgb", 100, 50, 2, 2, 2.0, 0.5, 1, 40, 150.0, 170.4, stopped=False)

    monkeypatch.setitem(sys.modules, "talkface.live.render", types.SimpleNamespace(render_live=call))
    words = [
        *["render", "a.jpg", "speech.raw", "-o", "c.rgb", "--sound-format", "f32le:48000:2", "--look-ahead", "100"],
        "--skip-early",
    ]
    result = CliRunner().invoke(app, [*words, "--video-format", "rgb24"])
    assert result.exit_code == 0, result.stderr
    ((photo, sound, out, options),) = calls
    assert (photo, str(sound), out) == ("a.jpg", "f32le:48000:2", "c.rgb")
    assert (options.look_ahead, options.video_format, options.skip_early) == (100, "rgb24", True)
    wanted = "c.rgb: 50 frames, 2x2, look-ahead 100 ms, sound to frame 150 ms (median), 170 ms (95th percentile), "
    wanted += "0.5 s of silence inserted, 1 frame repeated, because this machine was too slow\n"
    assert result.stderr == wanted


def test_ctrl_c_ends_the_video_properly(folder, weights):
    words = [ASTRONAUT, "-", "--sound-format", "s16le:16000", "--weights", weights, "--crop", "-o", "a.mp4"]
    command = [sys.executable, "-m", "talkface", "render", *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as running:
        running.stdin.write(samples(1).tobytes())  # then nothing: silence goes on
        running.stdin.flush()
        ending = time.monotonic() + 60
        while time.monotonic() < ending and not (Path("a.mp4").is_file() and Path("a.mp4").stat().st_size > 60_000):
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        shown = running.stderr.read()
    assert running.returncode == 130, shown
    assert b"The video is complete up to then." in shown
    frames = int(re.search(rb"a\.mp4: (\d+) frames", shown)[1])
    assert sum(1 for _ in read_frames("a.mp4", fps=None)) == frames


def test_raw_frames_are_those_of_the_stream(folder, raw, weights):
    report = render_live(ASTRONAUT, raw, "a.rgb", weights=weights, video_format="rgb24", **LIVE)
    frames = np.fromfile("a.rgb", np.uint8).reshape(-1, 256, 256, 3)
    assert report.frames == len(frames) == 15
    wanted = list(stream(ASTRONAUT, [samples(0.6)], sound_rate=RATE, weights=weights, crop=True))
    np.testing.assert_array_equal(frames, wanted)


def test_a_stream_of_blocks_is_the_photo_at_first_and_moves_its_mouth(weights):
    blocks = (samples(1)[start : start + 320].astype(np.float32) / 32768 for start in range(0, RATE, 320))
    first, *others = stream(ASTRONAUT, blocks, sound_rate=RATE, weights=weights)
    assert first.shape == (512, 512, 3)
    assert len(others) == 24
    assert max(np.abs(frame.astype(int) - first).max() for frame in others) > 0


def test_the_bundled_generator_speaks_live_nearly_as_it_does_with_the_whole_recording(folder):
    """Both see the same sound but for what lies after the look-ahead."""
    import soundfile

    sound, rate = soundfile.read(ROOT / "examples" / "speech.wav", dtype="float32")
    soundfile.write("a.wav", sound[: 2 * rate], rate)
    whole = list(stream(ASTRONAUT, "a.wav", crop=True))
    live = list(stream(ASTRONAUT, [sound[: 2 * rate]], sound_rate=rate, crop=True))
    assert len(live) == len(whole) == 50
    mouth = np.s_[160:220, 90:166]
    one, other, photo = (
        np.stack([frame[mouth].astype(float) for frame in frames]) for frames in (live, whole, [whole[0]] * 50)
    )
    assert np.abs(one - other).mean() < 0.35 * np.abs(other - photo).mean()


@pytest.mark.parametrize(
    "options, problem",
    [
        ({"look_ahead": 401}, "--look-ahead 401 is not valid: expected 20 to 400 ms"),
        ({"look_ahead": 10}, "--look-ahead 10"),
        ({"sound_format": "mp3"}, "--sound-format mp3 is not valid"),
        ({"sound_format": "s16le:16000", "fps": 5, "look_ahead": 240}, "--fps 5 is not valid: expected at least 10"),
        ({"video_format": "avi", "sound_format": "s16le:16000"}, "--video-format avi"),
        ({"video_format": "rgb24"}, "--video-format is for live sound"),
        ({"skip_early": True}, "--skip-early is for live sound"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, problem):
    with pytest.raises(TalkfaceError, match=re.escape(problem)):
        RenderOptions(**options)


def test_the_rate_of_blocks_and_the_format_of_raw_sound_must_be_given(raw):
    with pytest.raises(TalkfaceError, match="The rate of the blocks of sound is not known"):
        stream(ASTRONAUT, [samples(1)])
    with pytest.raises(TalkfaceError, match="The format of the live sound is not known"):
        render_live(ASTRONAUT, raw)


def test_photo_and_sound_cannot_both_be_standard_input():
    with pytest.raises(TalkfaceError, match="Photo and sound are both standard input"):
        render_live("-", "-", **LIVE)


def test_an_existing_video_is_kept(folder, raw, weights):
    Path("a.mp4").write_text("mine")
    with pytest.raises(TalkfaceError, match="a\\.mp4 exists"):
        render_live(ASTRONAUT, raw, "a.mp4", weights=weights, **LIVE)
    assert Path("a.mp4").read_text() == "mine"
