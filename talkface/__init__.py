"""Talking faces: one photo and one recording make a video in which the face says what is in the sound.

from talkface import render
render("photo.jpg", "speech.wav", "out.mp4")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from talkface._version import __version__

if TYPE_CHECKING:
    from talkface.live.render import render_live, stream
    from talkface.rendering import render

__all__ = ["__version__", "render", "render_live", "stream"]


def __getattr__(name: str) -> Any:
    """`render` and the others are loaded on first use, so that `--help` imports nothing heavy."""
    if name == "render":
        from talkface.rendering import render

        return render
    if name in ("render_live", "stream"):
        from talkface.live import render as live

        return getattr(live, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
