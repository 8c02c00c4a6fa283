"""Talking faces: one photo and one recording make a video in which the face says what is in the sound.

    from talkface import render
    render("photo.jpg", "speech.wav", "out.mp4")
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "render", "stream"]


def __getattr__(name: str) -> Any:
    """`render` and `stream` are imported on first use, so that `talkface --help` need not load PyTorch."""
    if name in ("render", "stream"):
        from talkface import render as module

        return getattr(module, name)
    raise AttributeError(f"module 'talkface' has no attribute {name!r}")
