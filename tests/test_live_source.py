"""Sound as it comes: at once, at its own pace, and silence where none comes."""

import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from talkface.errors import TalkfaceError
from talkface.live.source import GRACE, HELD_SECONDS, SteadySource, array_blocks, open_sound, read_blocks
from talkface.media.pcm import SoundFormat

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SOUND = SoundFormat("s16le", 8_000)


def tone(seconds):
    return np.ones((round(seconds * SOUND.rate), 1), np.int16)


def seconds_of(blocks):
    return sum(len(block.samples) for block in blocks) / SOUND.rate


def test_sound_is_read_as_soon_as_it_has_been_written():
    ours, theirs = os.pipe()
    blocks = read_blocks(os.fdopen(ours, "rb"), SOUND)
    os.write(theirs, b"\1\0\2\0")
    np.testing.assert_array_equal(next(blocks), [[1], [2]])  # although the pipe is still open
    os.write(theirs, b"\3")
    threading.Timer(0.05, os.write, (theirs, b"\0\4")).start()
    np.testing.assert_array_equal(next(blocks), [[3]])  # a sample that came in two parts
    os.close(theirs)
    assert list(blocks) == []


def test_sound_that_comes_faster_than_it_plays_has_no_silence_in_it():
    source = SteadySource(itertools.repeat(tone(0.1), 40), SOUND, "-")
    assert seconds_of(source) == pytest.approx(4)
    assert source.silence == 0


def test_silence_keeps_real_time_while_no_sound_comes_and_the_sound_goes_on_after_it():
    go_on = threading.Event()

    def blocks():
        yield tone(0.1)
        go_on.wait(5)
        yield tone(0.2)

    source, started, passed = SteadySource(blocks(), SOUND, "-"), time.perf_counter(), []
    for block in source:
        passed.append(block)
        if time.perf_counter() - started > 0.6:
            break
    assert seconds_of(passed) == pytest.approx(time.perf_counter() - started - GRACE, abs=0.15)
    assert source.silence == pytest.approx(seconds_of(passed) - 0.1)
    assert not passed[-1].samples.any()


def test_a_pause_after_sound_in_a_rush_is_no_gap_until_that_sound_has_been_played():
    def blocks():
        yield tone(1.0)
        time.sleep(GRACE + 0.2)
        yield tone(0.1)

    source = SteadySource(blocks(), SOUND, "-")
    assert seconds_of(source) == pytest.approx(1.1)
    assert source.silence == 0


def test_a_source_is_read_ahead_by_some_seconds_only():
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield tone(0.5)

    source = SteadySource(endless(), SOUND, "-")
    first = next(iter(source))
    time.sleep(0.1)
    assert len(first.samples) == 0.5 * SOUND.rate
    assert source.outruns_time
    assert len(taken) * 0.5 <= HELD_SECONDS + 1.5


@pytest.mark.parametrize("backlog", [0.0, 3.0])
def test_a_source_in_real_time_does_not_outrun_time_though_nobody_has_taken_its_sound_for_long(backlog):
    now, seconds = [0.0], 2 * HELD_SECONDS

    def blocks():
        for number in range(round(seconds / 0.1)):
            now[0] = max(0.1 * number - backlog, 0)  # the backlog comes at once, as out of a pipe
            yield tone(0.1)

    source = SteadySource(blocks(), SOUND, "-", clock=lambda: now[0])
    deadline = time.monotonic() + 5
    while not source.ended and time.monotonic() < deadline:
        time.sleep(0.01)
    assert source.ended
    assert seconds_of(source) == pytest.approx(seconds)
    assert not source.outruns_time


def test_blocks_carry_the_time_at_which_they_came():
    def blocks():
        yield tone(0.1)
        time.sleep(0.15)
        yield tone(0.1)

    source = SteadySource(blocks(), SOUND, "-")
    time.sleep(0.3)
    first, second = source
    assert 0.14 < second.arrived - first.arrived < 0.3


def test_sound_that_came_early_can_be_left_out():
    release = threading.Event()

    def blocks():
        yield from itertools.repeat(tone(0.1), 3)
        release.wait(5)
        yield 2 * tone(0.1)

    source = SteadySource(blocks(), SOUND, "-")
    time.sleep(0.1)
    source.skip_held()
    release.set()
    (block,) = source
    assert (block.samples == 2).all()


@pytest.mark.parametrize("path, name", [("-", "Standard input"), ("a.fifo", "a.fifo")])
def test_a_source_that_ends_without_sound_is_an_error(path, name):
    with pytest.raises(TalkfaceError, match=rf"{name} is empty \(0 bytes\)"):
        list(SteadySource([], SOUND, path))


def test_an_error_of_the_source_reaches_who_takes_its_blocks():
    def blocks():
        yield tone(0.1)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(SteadySource(blocks(), SOUND, "-"))


def test_a_source_that_cannot_be_opened_is_an_error(tmp_path):
    with pytest.raises(TalkfaceError, match=r"missing\.raw cannot be opened: No such file"):
        open_sound(tmp_path / "missing.raw")


@pytest.mark.parametrize(
    "block",
    [np.array([0.5, -1], np.float64), np.array([2**14, -(2**15)], np.int16), np.array([[1, 0], [-1, -1]], np.float32)],
)
def test_blocks_of_python_are_floats_or_16_bit_with_any_channels(block):
    (found,) = array_blocks([block])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[0.5], [-1]])


@pytest.mark.parametrize("block", [np.zeros(3, np.int64), np.zeros((1, 2, 3), np.float32), b"abc"])
def test_other_blocks_are_refused(block):
    with pytest.raises(TalkfaceError, match="A block of sound has shape"):
        list(array_blocks([block]))


def test_the_example_speaks_line_by_line_without_the_headers_of_wav_files(tmp_path):
    program = tmp_path / "espeak-ng"
    program.write_text(f"#!{sys.executable}\nimport sys\nprint('R' * 44 + sys.argv[2], end='')\n")
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, EXAMPLES / "say.py"]
    run = subprocess.run(command, input=b"one\n\ntwo\n", capture_output=True, env=environment)
    assert run.stdout == b"onetwo", run.stderr
