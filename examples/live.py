"""Animates a photo while the sound is still coming, from Python.

    python examples/live.py examples/astronaut.jpg examples/speech.wav live.mp4

The recording stands for a microphone: it comes in blocks of 20 ms, at the pace at which it plays. Any other iterator of
blocks will do, such as one that reads a sound card or the answer of a speech service.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from talkface import stream
from talkface.media.audio import load_waveform
from talkface.media.video import VideoWriter

RATE = 16_000  # Hz
BLOCK = 320  # samples
LOOK_AHEAD = 240  # ms


def microphone(recording: Path) -> Iterator[np.ndarray]:
    """Yield the recording in blocks, float32 (320,), each when it would have been spoken."""
    sound = load_waveform(recording, RATE)
    started = time.perf_counter()
    for first in range(0, len(sound), BLOCK):
        block = sound[first : first + BLOCK]
        time.sleep(max(started + (first + len(block)) / RATE - time.perf_counter(), 0))
        yield block


def main(photo: Path, recording: Path, out: Path) -> None:
    """Render live, and print how long after its sound each second of the picture was ready."""
    frames = stream(photo, microphone(recording), sound_rate=RATE, look_ahead=LOOK_AHEAD)
    first = next(frames)  # the sound begins with the first frame that is asked for
    started = time.perf_counter() - LOOK_AHEAD / 1000
    height, width, _ = first.shape
    with VideoWriter(out, width, height, audio=recording) as video:
        video.write(first)
        for number, frame in enumerate(frames, start=1):
            if number % 25 == 0:
                delay = time.perf_counter() - started - number / 25
                print(f"{number // 25} s: {1000 * delay:.0f} ms after its sound")
            video.write(frame)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
