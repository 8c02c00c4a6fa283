"""From the inputs of `render` to a photo that is ready to speak."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from talkface.config import SIZE
from talkface.face.align import apply, invert, scale, warp
from talkface.face.paste import Paster
from talkface.face.select import SelectedFace, select_face
from talkface.face.size import check_face_size
from talkface.face.teeth import TeethLayer, teeth_layer
from talkface.kept import Kept
from talkface.media.audio import Speech, load_speech
from talkface.media.image import load_photo
from talkface.media.timing import frame_count
from talkface.model.backend import Backend
from talkface.model.frames import HEIGHT, WIDTH
from talkface.model.inference import AlignedFace, OutputFrame, crop_corner
from talkface.model.onnx_engine import OnnxGenerator
from talkface.model.talking import animate
from talkface.motion.living import LivingPhoto
from talkface.render_options import PHOTO_SIZE, RenderOptions
from talkface.render_steps import (
    OnNote,
    begin,
    in_one_thread,
    open_face_networks,
    open_generator,
    speech_features,
    timed,
)

if TYPE_CHECKING:
    from talkface.model.checkpoint import AnyGenerator


@dataclass
class PhotoScene:
    """Everything that is needed to generate the frames of a photo."""

    photo: np.ndarray  # uint8 (H, W, 3), as large as the video
    transform: np.ndarray  # float64 (2, 3), pixels of `photo` to pixels of the aligned face
    aligned: AlignedFace
    face: SelectedFace
    speech: Speech
    backend: Backend
    generator: AnyGenerator | OnnxGenerator
    options: RenderOptions
    notes: list[str]
    seconds: dict[str, float]
    kept: Kept = field(default_factory=lambda: Kept(limit=0))

    kind = "photo"
    steps_before = 0  # frames of a first pass
    frames_without_face = 0

    @property
    def rate(self) -> Fraction:
        """Frames per second."""
        return self.options.rate

    @property
    def width(self) -> int:
        """Of the video, px."""
        return SIZE if self.options.crop else self.photo.shape[1]

    @property
    def height(self) -> int:
        """Of the video, px."""
        return SIZE if self.options.crop else self.photo.shape[0]

    @property
    def frame_count(self) -> int:
        """Of the video."""
        return frame_count(self.speech.duration, self.options.rate)

    def sound(self) -> AbstractContextManager[tuple[Path, int | None]]:
        """The file with the sound of the video, and the number of its track."""
        return nullcontext((self.speech.path, self.speech.track))

    def generated(self) -> Iterator[OutputFrame]:
        """The generator's frames on the aligned face, one for each frame of the video."""
        rate, options = self.options.rate, self.options
        features = speech_features(self.generator, self.speech, self.frame_count, rate, self.backend, self.kept)
        frames = animate(self.generator, self.aligned, features, options.expression, float(rate), options.crop)
        return in_one_thread(frames, self.backend)

    def finisher(self) -> Callable[[OutputFrame], np.ndarray]:
        """The function that makes the video's frame, uint8 RGB (height, width, 3), from the generator's, in order."""
        if self.options.crop:
            return _aligned_face
        teeth = teeth_of(self.photo, self.transform, self.aligned)
        living, numbers = self._living(teeth), itertools.count()
        if living is None:
            return Paster(self.photo, self.transform, teeth).paste_frame
        return lambda frame: living.frame(frame, float(next(numbers) / self.rate))

    def _living(self, teeth: TeethLayer | None) -> LivingPhoto | None:
        """The photo as it moves; None if nothing but its lips is to move, or where the speech is still to come."""
        options, mesh = self.options, self.face.mesh
        if mesh is None or not self.speech.duration or not (options.motion or options.blink):
            return None
        # The mesh is on the photo as it was read, which may be larger than the video.
        fitted = apply(invert(self.transform), apply(self.face.transform, mesh[:, :2].astype(np.float64)))
        ratio = scale(self.face.transform) / scale(self.transform)
        return LivingPhoto(
            self.photo,
            self.transform,
            np.column_stack((fitted, ratio * mesh[:, 2])).astype(np.float32),
            self.face.yaw or 0.0,
            self.speech.mfcc,
            self.speech.duration,
            seed=options.seed,
            motion=options.motion,
            blink=options.blink,
            teeth=teeth,
        )


def _aligned_face(frame: OutputFrame) -> np.ndarray:
    return frame.face


def prepare_photo(
    photo: Path, speech: Path | Speech, options: RenderOptions, on_note: OnNote | None, kept: Kept | None = None
) -> PhotoScene:
    """Read the inputs, those that are checked fastest first, and detect the face."""
    seconds: dict[str, float] = {}
    backend, notes = begin(options, on_note)
    with timed(seconds, "photo"):
        image = load_photo(photo, on_note=notes.add)
        # By content: the photo may have been replaced since it was seen. Its name is in notes and errors.
        content = b"" if kept is None else hashlib.sha256(image.data).digest()
        kept = kept or Kept(limit=0)
        face = kept.once(
            ("face", content, image.shape, str(photo), options.face, options.box, options.landmarks, backend),
            lambda: select_face(
                image,
                str(photo),
                number=options.face,
                box=options.box,
                landmarks=options.landmarks,
                device=backend.device,
                networks=open_face_networks(backend, kept),
            ),
        )
        aligned = AlignedFace(warp(image, face.transform), face.lips, face.nose, face.reach)
        fitted, transform = fit(image, face.transform, options.max_size or PHOTO_SIZE)
        shown = None if options.crop else transform
        small = check_face_size(face.transform, shown, (image.shape[1], image.shape[0]), photo.name)
    notes.add(*face.notes, *small)
    if face.mesh is None and not options.crop and (options.motion or options.blink):
        notes.add(f"Only the lips of {photo.name} move: without landmarks the head stays still and the eyes open.")
    with timed(seconds, "speech"):
        audio = speech if isinstance(speech, Speech) else load_speech(speech, options.track)
    notes.add(*audio.notes)
    with timed(seconds, "weights"):
        generator = open_generator(options, backend, kept)
    return PhotoScene(fitted, transform, aligned, face, audio, backend, generator, options, notes.texts, seconds, kept)


def teeth_of(photo: np.ndarray, transform: np.ndarray, aligned: AlignedFace) -> TeethLayer | None:
    """The layer of teeth over the generator's crop, see `talkface.face.teeth`."""
    return teeth_layer(photo, transform, aligned.lips, crop_corner(aligned.lips), (WIDTH, HEIGHT))


def fit(image: np.ndarray, transform: np.ndarray, max_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the photo at the size of the video (longer side at most `max_size`, even sides) and its alignment.

    A photo that is small enough keeps its pixels; an odd side loses its last row or column.
    """
    height, width = image.shape[:2]
    scale = min(1.0, max_size / max(height, width))
    if scale < 1:
        width, height = max(2, round(width * scale)), max(2, round(height * scale))
        step_x, step_y = image.shape[1] / width, image.shape[0] / height
        # Pixel centres have whole coordinates, so the edge of the first pixel is at -0.5.
        enlarge = np.array([[step_x, 0, (step_x - 1) / 2], [0, step_y, (step_y - 1) / 2], [0, 0, 1]])
        transform = transform @ enlarge
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    if height % 2 or width % 2:
        image = np.ascontiguousarray(image[: height - height % 2, : width - width % 2])
    return image, transform
