"""The video's own sound below the new one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ffmpeg

from talkface.errors import TalkfaceError
from talkface.media.ffmpeg import file_url, start
from talkface.media.tracks import select_track


@contextmanager
def mixed_sound(speech: Path, track: int, video: Path, gain: float | None) -> Iterator[tuple[Path, int]]:
    """The new sound with the video's own below it, in a temporary file, as long as the new one.

    Where the video is played a second time, backwards or not, its own sound is not repeated.

    Args:
        speech: the recording of the new sound.
        track: number of its track, from 1.
        video: whose own sound is kept.
        gain: dB on the own sound; None keeps nothing and gives the recording itself.

    Yields:
        A file and the number of number of its track, from 1.

    Raises:
        NoSound: the video has no sound.
        TalkfaceError: the sounds cannot be mixed.
    """
    if gain is None:
        yield speech, track
        return
    fresh_track, own = (select_track(path, number)[0] for path, number in ((speech, track), (video, None)))
    with tempfile.TemporaryDirectory(prefix="talkface-") as folder:
        mixed = Path(folder) / "sound.flac"
        fresh = ffmpeg.input(file_url(speech))[str(fresh_track.stream)].filter(
            "aresample", **{"async": 1, "first_pts": 0}
        )
        kept = ffmpeg.input(file_url(video))[str(own.stream)].filter("aresample", **{"async": 1, "first_pts": 0})
        kept = kept.filter("volume", f"{gain}dB")
        graph = ffmpeg.filter([fresh, kept], "amix", inputs=2, duration="first", normalize=0).output(
            file_url(mixed), acodec="flac", sample_fmt="s16"
        )
        with start(graph, read_stdout=False) as mixer:
            if mixer.finish():
                raise TalkfaceError(
                    f"The sounds of {speech.name} and {video.name} cannot be mixed: {mixer.reason()}.",
                    "Leave out --keep-sound, or convert the recording to wav.",
                )
        yield mixed, 1
