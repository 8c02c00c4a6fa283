"""The option --text of `talkface render`: spoken text in place of a recording."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer


@contextmanager
def speech_or_text(speech: Path | None, text: str | None, voice: str) -> Iterator[Path | None]:
    """Give the recording, if there is one, or a temporary one in which eSpeak NG speaks the text.

    It is deleted after the block.

    Raises:
        typer.BadParameter: both are given.
        TalkfaceError: eSpeak NG is not installed, it has no such voice, or the text has nothing to say.
    """
    if speech is not None and text is not None:
        raise typer.BadParameter("SPEECH and --text were given: give only one of them.", param_hint="--text")
    if text is None:
        yield speech
        return
    from talkface.media.espeak import write_speech

    with tempfile.TemporaryDirectory(prefix="talkface-") as folder:
        recording = Path(folder) / "text.wav"  # also in the name of the video: PHOTO_text.mp4
        write_speech(text, recording, voice)
        yield recording
