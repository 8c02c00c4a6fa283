"""From the inputs of `render` to a video that is ready to be dubbed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from talkface.config import FPS, SIZE
from talkface.device import one_thread
from talkface.dubbing.scene import DubbedVideo, VideoFile
from talkface.dubbing.sound import mixed_sound
from talkface.errors import TalkfaceError
from talkface.face.find import FaceFinder
from talkface.kept import Kept
from talkface.media.audio import Speech, load_speech
from talkface.media.timing import frame_count
from talkface.media.tracks import NoSound, select_track
from talkface.media.video import probe
from talkface.model.backend import Backend
from talkface.model.onnx_engine import OnnxGenerator
from talkface.render_options import RenderOptions
from talkface.render_steps import (
    OnNote,
    OnStep,
    begin,
    in_one_thread,
    limits_threads,
    open_face_networks,
    open_generator,
    speech_features,
    timed,
)

if TYPE_CHECKING:
    from talkface.model.checkpoint import AnyGenerator


@dataclass
class VideoScene:
    """Everything that is needed to generate the frames of a video that is dubbed."""

    video: DubbedVideo
    speech: Speech
    backend: Backend
    generator: AnyGenerator | OnnxGenerator
    options: RenderOptions
    notes: list[str]
    seconds: dict[str, float]
    own_sound: bool  # whether the speech is the sound of the video itself
    steps_before: int
    kept: Kept

    kind = "video"

    @property
    def rate(self) -> Fraction:
        return self.video.file.rate

    @property
    def width(self) -> int:
        return SIZE if self.options.crop else self.video.size[0]

    @property
    def height(self) -> int:
        return SIZE if self.options.crop else self.video.size[1]

    @property
    def frame_count(self) -> int:
        return len(self.video) if self.own_sound else frame_count(self.speech.duration, self.rate)

    @property
    def frames_without_face(self) -> int:
        """Frames so far that keep their picture."""
        return self.video.kept

    @property
    def face(self) -> DubbedVideo:
        return self.video

    def sound(self) -> AbstractContextManager[tuple[Path, int | None]]:
        """The file with the sound of the result, and the number of its track."""
        return mixed_sound(self.speech.path, self.speech.track, self.video.file.path, self.options.keep_sound)

    def generated(self) -> Iterator[np.ndarray]:
        """The frames of the result, uint8 RGB (height, width, 3)."""
        options, count = self.options, self.frame_count
        heard = frame_count(Fraction(count) / self.rate, FPS) + 1
        features = speech_features(self.generator, self.speech, heard, Fraction(FPS), self.backend, self.kept)
        frames = self.video.frames(features, count, options.loop, options.expression, options.crop)
        return in_one_thread(frames, self.backend)

    def finisher(self) -> Callable[[np.ndarray], np.ndarray]:
        """What is left to do with a generated frame: nothing."""
        return _as_it_is


def _as_it_is(frame: np.ndarray) -> np.ndarray:
    return frame


def prepare_video(
    path: Path,
    speech: Path | None,
    options: RenderOptions,
    on_note: OnNote | None,
    on_step: OnStep | None,
    kept: Kept | None = None,
) -> VideoScene:
    """Read the inputs, those that are checked fastest first, and track the face through the video."""
    kept = kept or Kept(limit=0)
    seconds: dict[str, float] = {}
    backend, notes = begin(options, on_note)
    _check_video_options(options, speech)
    info = probe(path)
    rate = info.fps if options.fps is None else options.rate
    with timed(seconds, "speech"):
        try:
            audio = load_speech(speech or path, options.track)
            if options.keep_sound is not None:
                select_track(path)
        except NoSound as error:
            if speech is not None and info.has_audio:
                raise
            raise TalkfaceError(
                f"{path.name} has no sound{'' if speech is None else ' that could be kept'}.",
                "Give the speech: talkface render VIDEO SPEECH" if speech is None else "Leave out --keep-sound.",
            ) from error
    notes.add(*audio.notes)
    with timed(seconds, "weights"):
        generator = open_generator(options, backend, kept)
    expected = frame_count(info.duration, rate)
    count = expected if speech is None else frame_count(audio.duration, rate)

    def on_frame(done: int) -> None:
        if on_step:
            on_step(min(done, expected), expected + count)

    finder = FaceFinder(backend.device, open_face_networks(backend, kept))
    with timed(seconds, "video"), one_thread() if limits_threads(backend) else nullcontext():
        file = VideoFile(path, rate, options.max_size)
        video = DubbedVideo(file, generator, finder, options.face, options.box, on_frame)
    notes.add(*video.notes)
    return VideoScene(video, audio, backend, generator, options, notes.texts, seconds, speech is None, expected, kept)


def _check_video_options(options: RenderOptions, speech: Path | None) -> None:
    if options.landmarks != "mesh":
        raise TalkfaceError(
            f"--landmarks {options.landmarks} is too slow for the frames of a video.", "Leave it out to use the mesh."
        )
    if options.face is not None and options.box is not None:
        raise TalkfaceError("--face and --box are given together, and both select a face.", "Give only one of them.")
    if options.keep_sound is not None and speech is None:
        raise TalkfaceError(
            "--keep-sound keeps a video's own sound below another one, and no other one is given.",
            "Give the speech after the video, or leave out --keep-sound.",
        )
