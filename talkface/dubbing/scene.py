"""A video whose person is to say something else: the first pass, and the frames of the second."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from talkface.config import FPS
from talkface.dubbing.geometry import Geometry, face_geometry
from talkface.dubbing.mouth import ShotMouth, reference_frame
from talkface.dubbing.playback import Player
from talkface.dubbing.track import FaceTrack, track_face
from talkface.errors import TalkfaceError
from talkface.face import align
from talkface.face.find import FaceFinder
from talkface.face.tracking import PersonTracker
from talkface.media.video import read_frames
from talkface.model.inference import AlignedFace, engine_of, predict_lips
from talkface.model.onnx_engine import OnnxGenerator
from talkface.model.talking import is_paper

if TYPE_CHECKING:
    from talkface.model.checkpoint import AnyGenerator
    from talkface.model.generator import Generator

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class VideoFile:
    """How a video is read: at a constant rate, with even sides."""

    path: Path
    rate: Fraction
    """Frames per second."""
    max_size: int | None = None
    """Maximum of the longer side, px; None keeps the video's size."""

    def read(self, first: int = 0) -> Iterator[np.ndarray]:
        """The frames from number `first` on, uint8 RGB (H, W, 3); an odd side loses its last row or column."""
        for frame in read_frames(self.path, self.rate, self.max_size, first=first):
            height, width = frame.shape[:2]
            yield np.ascontiguousarray(frame[: height - height % 2, : width - width % 2])


class DubbedVideo:
    """A video after the first pass.

    Args:
        file: the video.
        generator: in eval mode; not the paper's.
        finder: the face networks.
        number: which face of each shot, counted from 1 from left to right. Default: the largest.
        box: x, y, width, height in px of the first frame: where the face is in the first shot.
        on_frame: called with the number of frames that the first pass has done.

    Raises:
        TalkfaceError: the video cannot be read, there is no face in it, or the generator is the paper's.
    """

    def __init__(
        self,
        file: VideoFile,
        generator: AnyGenerator | OnnxGenerator,
        finder: FaceFinder,
        number: int | None = None,
        box: Box | None = None,
        on_frame: Callable[[int], None] | None = None,
    ) -> None:
        if is_paper(generator):
            raise TalkfaceError(
                "The paper's generator draws whole faces of one photo: it cannot dub a video.",
                "Give a photo, or leave out --weights.",
            )
        self.file, self.generator = file, cast("Generator | OnnxGenerator", generator)
        self.size = (0, 0)
        tracker = PersonTracker(finder, number, box)
        self.track: FaceTrack = track_face(self._noting_size(file.read()), tracker, file.path.name, on_frame)
        direction = engine_of(self.generator).direction
        self.geometry: Geometry = face_geometry(self.track, float(file.rate), direction)
        self.kept = 0
        """Frames of `frames` so far that kept their picture because no face could be animated."""

    def __len__(self) -> int:
        return len(self.track)

    @property
    def notes(self) -> list[str]:
        """What the user should know after the first pass."""
        name, notes = self.file.path.name, []
        if self.track.faces_seen > 1:
            notes.append(f"{name} shows up to {self.track.faces_seen} faces; one of them is dubbed (see --face).")
        bare = int((self.geometry.share == 0).sum())
        if bare:
            notes.append(
                f"{bare} of the {len(self)} frames of {name} have no face that can be animated: they stay as they are."
            )
        return notes

    def to_dict(self) -> dict[str, Any]:
        """What a manifest contains about the first pass."""
        return {
            "frames": len(self),
            "shots": int(self.track.shots[-1]) + 1,
            "faces": self.track.faces_seen,
            "frames_without_face": int((self.geometry.share == 0).sum()),
        }

    def frames(
        self, features: Iterable[np.ndarray], count: int, loop: str, expression: float = 1.0, crop: bool = False
    ) -> Iterator[np.ndarray]:
        """The frames of the result, uint8 RGB (H, W, 3), or the aligned faces (256, 256, 3) with `crop`.

        Args:
            features: of the sound at 25 frames per second, as the generator takes them.
            count: number of frames.
            loop: pingpong, repeat or hold.
            expression: factor on the opening of the mouth.
            crop: whether only the aligned face is shown.
        """
        geometry, player = self.geometry, Player(self.file.read, self.track.checksums, self.file.path)
        placeholder = AlignedFace(np.zeros((0, 0, 3), np.uint8), geometry.neutral, geometry.neutral[0])
        heard = at_rate(predict_lips(self.generator, placeholder, features, expression), self.file.rate)
        mouth, shot, before = None, -1, 0
        for (number, picture), lips in zip(player.play(count, loop), heard, strict=False):
            if self.track.shots[number] != shot or abs(number - before) > 1:
                mouth, shot = None, int(self.track.shots[number])
            before = number
            if geometry.share[number] > 0:
                mouth = mouth or self._mouth(player, shot)
                picture = mouth.show(picture, number, lips - geometry.neutral + geometry.rest[number])
            else:
                self.kept += 1
            yield align.warp(picture, geometry.transforms[number]) if crop else picture

    def _mouth(self, player: Player, shot: int) -> ShotMouth:
        reference = reference_frame(self.geometry, np.flatnonzero(self.track.shots == shot))
        return ShotMouth(self.generator, self.geometry, reference, player.frame(reference))

    def _noting_size(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for frame in frames:
            self.size = (frame.shape[1], frame.shape[0])
            yield frame


def at_rate(lips: Iterable[np.ndarray], rate: Fraction) -> Iterator[np.ndarray]:
    """Lips at 25 frames per second, the rate that the generator was trained at, at another rate.

    Between two frames they follow the cubic of Catmull and Rom through the four frames around.

    Args:
        lips: of each frame, float32 (40, 2) px.
        rate: frames per second of the result.
    """
    if rate == FPS:
        yield from lips
        return
    source = iter(lips)
    try:
        first = next(source)
    except StopIteration:
        return
    held, start, ended, wanted = [first, first], -1, False, 0
    while True:
        place = (wanted + Fraction(1, 2)) * FPS / rate - Fraction(1, 2)
        index = place.numerator // place.denominator
        while not ended and start + len(held) < index + 3:
            coming = next(source, None)
            ended = coming is None
            if coming is not None:
                held.append(coming)
        last = start + len(held) - 1
        if ended and place > last + Fraction(1, 2):
            return
        p, q, r, s = (held[min(max(i, start), last) - start] for i in range(index - 1, index + 3))
        t = np.float32(place - index)
        yield q + t / 2 * (r - p + t * (2 * p - 5 * q + 4 * r - s + t * (3 * (q - r) + s - p)))
        drop = max(index - 1 - start, 0)
        held, start, wanted = held[drop:], start + drop, wanted + 1
