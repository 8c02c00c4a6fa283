"""Many videos from Python: one photo speaks every recording of a folder. The generator is loaded once.

    python examples/many_videos.py examples/astronaut.jpg recordings/ videos/

A recording that cannot be used is reported, and the others go on.
"""

import sys
from pathlib import Path

from talkface import render
from talkface.errors import TalkfaceError
from talkface.model.checkpoint import load_generator

SUFFIXES = {".wav", ".mp3", ".m4a", ".flac", ".ogg", ".mp4"}


def main(photo: str, recordings: str, videos: str) -> int:
    """Render all videos and return the number of failures."""
    out, failed = Path(videos), 0
    out.mkdir(parents=True, exist_ok=True)
    generator = load_generator()
    for speech in sorted(path for path in Path(recordings).iterdir() if path.suffix.lower() in SUFFIXES):
        try:
            report = render(photo, speech, out / f"{speech.stem}.mp4", weights=generator)
            print(f"{report.out}: {report.frames} frames, {report.frames_per_second:.1f} frames/s")
        except TalkfaceError as error:
            failed += 1
            print(f"{speech}: {error} {error.fix}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(*sys.argv[1:4]) else 0)
