"""One video from Python: with a visible label, a mark for machines, and a description of the result.

python examples/one_video.py examples/astronaut.jpg examples/speech.wav out.mp4
"""

import sys

from talkface import render
from talkface.errors import TalkfaceError
from talkface.verify import verify


def main(photo: str, speech: str, out: str) -> None:
    """Render a video, and show how fast that was and what the mark says."""
    report = render(photo, speech, out, label="AI-generated", json=f"{out}.json", on_note=print)
    print(f"{report.out}: {report.frames} frames, {report.frames_per_second:.1f} frames/s")
    print(verify(report.out).conclusion)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:4])
    except TalkfaceError as error:
        sys.exit(f"{error}\n{error.fix}")
