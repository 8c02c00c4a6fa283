"""The renders that a server was asked for: a bounded queue, one process that works on it, and results that expire."""

from __future__ import annotations

import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Literal

from talkface.batch.jobs import Job
from talkface.batch.work import Step, Task, render_job
from talkface.errors import TalkfaceError
from talkface.render_options import RenderOptions
from talkface.workers import Failed, Finished, Reported, Worker, messages

POLL = 0.2  # seconds
MAX_NAME = 80  # characters of an upload's name that are shown
MAX_KEPT = 50  # results
ENDED = ("done", "failed", "cancelled")


class QueueFull(TalkfaceError):
    """There is no place for another render."""


@dataclass
class Upload:
    """A file that was uploaded."""

    path: Path
    """Where it is. The name is ours: nothing of the client's becomes a path."""
    name: str
    """What the client calls it, for messages only."""

    def shown(self, text: str) -> str:
        """Return a message with the client's name of the file instead of ours."""
        return text.replace(str(self.path), self.name).replace(self.path.name, self.name)


@dataclass
class Render:
    """One render, and how far it is."""

    id: str
    folder: Path
    photo: Upload
    speech: Upload
    options: RenderOptions
    status: Literal["queued", "running", "done", "failed", "cancelled"] = "queued"
    frames: int = 0
    total: int = 0
    """Frames in total; 0 until it is known."""
    notes: list[str] = field(default_factory=list)
    problem: str = ""
    fix: str = ""
    first_frame: float = 0.0
    """When the first frame was done, monotonic seconds."""
    ended: float = 0.0

    @property
    def video(self) -> Path:
        """The result."""
        return self.folder / "video.mp4"

    @property
    def video_name(self) -> str:
        """The name under which the result is downloaded: PHOTO_SPEECH.mp4, letters and digits only."""
        stems = [re.sub(r"[^\w-]+", "_", PurePath(upload.name).stem) for upload in (self.photo, self.speech)]
        return f"{'_'.join(stems)}.mp4"

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time left; None until some frames are done."""
        if self.status != "running" or self.frames < 2 or not self.first_frame:
            return None
        per_frame = (time.monotonic() - self.first_frame) / (self.frames - 1)
        return per_frame * (self.total - self.frames)

    def shown(self, text: str) -> str:
        """Return a message of the renderer with the client's names of the files."""
        return self.speech.shown(self.photo.shown(text)).replace(str(self.video), self.video_name)


def display_name(name: str | None, otherwise: str) -> str:
    """Return the client's name of an upload as it is shown: its last part, printable and short."""
    last = re.split(r"[/\\]", name or "")[-1]
    return "".join(char for char in last if char.isprintable())[:MAX_NAME].strip() or otherwise


class Renders:
    """The queue. `close` ends its process and deletes all files.

    Args:
        root: a temporary folder of its own.
        max_queue: number of renders that may wait.
        max_seconds: longer recordings are refused.
        keep_seconds: results are deleted after this time.
        make_options: called with the options of a request, by name; returns the options of the render.
    """

    def __init__(
        self,
        root: Path,
        *,
        max_queue: int,
        max_seconds: float,
        keep_seconds: float,
        make_options: Callable[..., RenderOptions] = RenderOptions,
    ) -> None:
        self._root, self._max_queue, self._max_seconds = root, max_queue, max_seconds
        self._keep_seconds = keep_seconds
        self.make_options = make_options
        self._renders: dict[str, Render] = {}
        self._lock = threading.Condition()
        self._closed = False
        self._worker = Worker()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def new_upload(self, folder: Path, kind: str, name: str | None) -> Upload:
        """Return the place of an upload in `folder`, with a name unlike any word, so that messages can be rewritten."""
        return Upload(folder / f"{kind}-{secrets.token_hex(8)}", display_name(name, kind))

    def new_folder(self) -> Path:
        """Return a new folder whose name cannot be guessed."""
        folder = self._root / secrets.token_urlsafe(16)
        folder.mkdir()
        return folder

    def is_full(self) -> bool:
        """Tell whether there is no place in the queue."""
        with self._lock:
            return self._waiting() >= self._max_queue

    def add(self, folder: Path, photo: Upload, speech: Upload, options: RenderOptions) -> Render:
        """Put a render at the end of the queue.

        Args:
            folder: from `new_folder`; it has the uploads, and is deleted with the render.
            photo: the photo.
            speech: the recording.
            options: how to render.

        Raises:
            QueueFull: too many are waiting.
        """
        with self._lock:
            if self._waiting() >= self._max_queue:
                raise self.full()
            render = Render(folder.name, folder, photo, speech, options)
            self._renders[render.id] = render
            self._lock.notify_all()
            return render

    def full(self) -> QueueFull:
        """Return the error of a full queue."""
        return QueueFull(f"{self._max_queue} videos are waiting already.", "Try again in a few minutes.")

    def get(self, id_: str) -> Render | None:
        """Return a render by its id."""
        with self._lock:
            return self._renders.get(id_)

    def place(self, render: Render) -> int:
        """Return how many renders are before this one, including the one in progress."""
        with self._lock:
            others = list(self._renders.values())
            return sum(other.status not in ENDED for other in others[: others.index(render)]) if render in others else 0

    def cancel(self, render: Render) -> None:
        """Stop a render if it has not ended, and delete its files."""
        with self._lock:
            running = render.status == "running"
            render.status = "cancelled"
            self._lock.notify_all()
        if not running:
            self._forget(render)

    def close(self) -> None:
        """End the process; a render in progress is interrupted."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        self._thread.join()
        shutil.rmtree(self._root, ignore_errors=True)

    def _waiting(self) -> int:
        return sum(render.status == "queued" for render in self._renders.values())

    def _run(self) -> None:
        try:
            while render := self._next():
                self._work_on(render)
                with self._lock:
                    render.ended = time.monotonic()
                for upload in (render.photo, render.speech):
                    upload.path.unlink(missing_ok=True)
                if render.status == "cancelled":
                    self._forget(render)
        finally:
            self._worker.stop()

    def _next(self) -> Render | None:
        """Return the next render, as running; waits for one. None when the queue is closed."""
        while True:
            self._expire()
            with self._lock:
                if self._closed:
                    return None
                for render in self._renders.values():
                    if render.status == "queued":
                        render.status = "running"
                        return render
                self._lock.wait(timeout=10.0)

    def _work_on(self, render: Render) -> None:
        if not self._worker.alive:
            self._worker = Worker()
        job = Job(1, render.photo.path, render.speech.path, Path(render.video_name), render.options)
        self._worker.begin(render_job, Task(job, render.video, self._max_seconds))
        while render.status == "running":
            if self._closed:
                render.status = "cancelled"
            for _, message in messages([self._worker], timeout=POLL):
                self._take(render, message)
        if self._worker.busy:  # cancelled
            self._worker.stop()

    def _take(self, render: Render, message: Reported | Finished | Failed) -> None:
        with self._lock:
            if render.status != "running":
                return
            if isinstance(message, Finished):
                render.status = "done"
            elif isinstance(message, Failed):
                render.status = "failed"
                render.problem, render.fix = render.shown(message.problem), render.shown(message.fix)
            elif isinstance(message.value, Step):
                render.frames, render.total = message.value.frames, message.value.total
                render.first_frame = render.first_frame or time.monotonic()
            else:
                render.notes.append(render.shown(str(message.value)))

    def _expire(self) -> None:
        """Delete results that are too old, or too many."""
        with self._lock:
            ended = [render for render in self._renders.values() if render.status in ENDED and render.ended]
        now = time.monotonic()
        for number, render in enumerate(ended):
            if now - render.ended > self._keep_seconds or len(ended) - number > MAX_KEPT:
                self._forget(render)

    def _forget(self, render: Render) -> None:
        with self._lock:
            self._renders.pop(render.id, None)
        shutil.rmtree(render.folder, ignore_errors=True)
