"""The option --text of `talkface render`: spoken text in place of a recording."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer


@contextmanager
def speech_or_text(speech: Path | None, text: str | None, voice: str) -> Iterator[Path]:
    """Give the recording, or a temporary one in which eSpeak NG speaks the text. It is deleted after the block.

    Raises:
        typer.BadParameter: neither or both are given.
        TalkfaceError: eSpeak NG is not installed, it has no such voice, or the text has nothing to say.
    """
    if speech is not None and text is not None:
        raise typer.BadParameter("SPEECH and --text were given: give only one of them.", param_hint="--text")
    if speech is not None:
        yield speech
        return
    if text is None:
        raise typer.BadParameter("give a recording, or a text with --text.", param_hint="SPEECH")
    from talkface.media.espeak import write_speech

    with tempfile.TemporaryDirectory(prefix="talkface-") as folder:
        recording = Path(folder) / "text.wav"  # also in the name of the video: PHOTO_text.mp4
        write_speech(text, recording, voice)
        yield recording
