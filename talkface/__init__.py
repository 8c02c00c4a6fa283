"""Talking faces: one photo and one recording make a video in which the face says what is in the sound.

from talkface import render
render("photo.jpg", "speech.wav", "out.mp4")
"""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from talkface.render import render, stream

__version__ = "0.1.0"
__all__ = ["__version__", "render", "stream"]


class _Package(types.ModuleType):
    """`talkface.render` and `talkface.stream` are the functions, loaded on first use: `--help` needs no PyTorch.

    They are properties because the import system binds a submodule to its package's attribute of the same name: after
    an `import talkface.render` anywhere, a plain attribute (or a module's `__getattr__`) would give the module.
    """

    @property
    def render(self) -> Any:
        from talkface.render import render

        return render

    @render.setter
    def render(self, module: types.ModuleType) -> None:
        """The import system's binding of the submodule; the function keeps the name."""

    @property
    def stream(self) -> Any:
        from talkface.render import stream

        return stream


sys.modules[__name__].__class__ = _Package
