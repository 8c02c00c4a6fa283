"""The faces in an uploaded photo or at the start of a video, and a preview to show them on.

A process of its own decodes the file.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from talkface.batch.work import kept_in_this_process
from talkface.errors import TalkfaceError
from talkface.workers import Failed, Finished, Worker, messages

PREVIEW_SIZE = 1024  # px, longer side
PREVIEW_QUALITY = 85
MAX_WAITING = 4  # requests
TIMEOUT = 60.0  # seconds for one photo


def find_faces(photo: Path, report: Callable[[Any], None]) -> dict[str, Any]:
    """Return what a page needs to let its user select a face.

    Returns:
        width, height of the upright picture in px; faces: x, y, width, height in px, from left to right, the first has
        number 1; preview: the picture as a data URL of a JPEG of at most PREVIEW_SIZE px.

    Raises:
        TalkfaceError: the file is neither a photo nor a video.
    """
    import cv2

    from talkface.face.find import FaceFinder
    from talkface.media.image import load_photo
    from talkface.media.kind import is_video
    from talkface.media.video import read_frames

    kept = kept_in_this_process()
    image = next(read_frames(photo, fps=None)) if is_video(photo) else load_photo(photo)
    faces = kept.once("face finder", FaceFinder).find(image)
    height, width = image.shape[:2]
    scale = min(1.0, PREVIEW_SIZE / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, PREVIEW_QUALITY])
    boxes = [dict(zip(("x", "y", "width", "height"), map(float, face.box), strict=True)) for face in faces]
    preview = "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
    return {"width": width, "height": height, "faces": boxes, "preview": preview}


class FaceLooker:
    """Finds faces in photos, one photo at a time, in a process that is started at the first one."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._places = threading.BoundedSemaphore(MAX_WAITING)
        self._lock = threading.Lock()

    def look(self, photo: Path) -> dict[str, Any]:
        """Return what `find_faces` returns.

        Raises:
            TalkfaceError: as `find_faces`; or it takes too long, or too many requests are waiting.
        """
        if not self._places.acquire(blocking=False):
            raise TalkfaceError("Too many photos are being looked at.", "Try again in a few seconds.")
        try:
            with self._lock:
                return self._look(photo)
        finally:
            self._places.release()

    def _look(self, photo: Path) -> dict[str, Any]:
        if self._worker is None or not self._worker.alive:
            self._worker = Worker()
        self._worker.begin(find_faces, photo)
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            for _, message in messages([self._worker], timeout=1.0):
                if isinstance(message, Finished):
                    return message.result
                if isinstance(message, Failed):
                    raise TalkfaceError(message.problem, message.fix)
        self._worker.stop()
        raise TalkfaceError(f"The photo took more than {TIMEOUT:g} seconds.", "Use a smaller photo.")

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._worker is not None:
                self._worker.stop()
