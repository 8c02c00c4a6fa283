"""Speaks the lines of its input with eSpeak NG: raw sound for a live video, 16 bit, 22,050 Hz.

    python examples/say.py | talkface render examples/astronaut.jpg - --sound-format s16le:22050 -o - | ffplay -

Type a line, and the face says it. While nothing is typed, the video goes on in silence.
"""

from __future__ import annotations

import subprocess
import sys

WAV_HEADER = 44  # bytes


def main() -> None:
    """Write the sound of each line as soon as it is there."""
    for line in sys.stdin:
        if not line.strip():
            continue
        spoken = subprocess.run(["espeak-ng", "--stdout", line.strip()], stdout=subprocess.PIPE, check=True)
        sys.stdout.buffer.write(spoken.stdout[WAV_HEADER:])
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
