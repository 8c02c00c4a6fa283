"""From one video to one clip (several clips, if the video is long), or to the reason why it is skipped.

`decode` decodes the video and its sound (ffmpeg runs in processes of its own). `build_clip` finds, measures, aligns and
compresses the faces. A worker decodes the next video in a thread while it builds the clip of the current one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar

import cv2
import numpy as np

from talkface.config import EYE_DISTANCE, FPS, SOUND_RATE, STEPS_PER_SECOND
from talkface.data.clip import Clip, encode_frame, encode_sound
from talkface.data.layouts import Source, piece_name
from talkface.errors import TalkfaceError
from talkface.face import align, landmarks
from talkface.face.find import Face, FaceFinder
from talkface.media.audio import Speech, load_speech, load_waveform
from talkface.media.tracks import NoSound
from talkface.media.video import read_frames
from talkface.media.windows import SILENCE
from talkface.preprocess import reasons
from talkface.preprocess.limits import QualityLimits
from talkface.preprocess.sync import correlation_curve, peak_lag

MAX_SIDE = 1280  # px, longer side of the frames in which faces are detected
STEPS_PER_FRAME = STEPS_PER_SECOND // FPS
MARGIN_STEPS = 50  # MFCC steps kept before and after a piece, for the windows at its ends
SOUND_MARGIN = 1.0  # seconds of the waveform kept before and after a piece, for the speech recogniser
SILENT_DB = -200.0  # the level reported for a video without sound
OVERLAP_STEPS = 3  # steps at the end of the sound whose analysis window reaches into the silence that follows

T = TypeVar("T")


@dataclass
class DecodedVideo:
    """A decoded video, or a piece of a long one; or the reason why it cannot be decoded."""

    source: Source
    frames: list[np.ndarray] = field(default_factory=list)
    """uint8 RGB (H, W, 3), 25 per second."""

    speech: Speech | None = None
    """The sound, or None if the video has none. For a piece, it begins `lead_steps` before the first frame."""

    lead_steps: int = 0
    waveform: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """float32 (samples,) at 16 kHz. For a piece, it begins `sound_lead` seconds before the first frame."""

    sound_lead: float = 0.0
    decode_errors: int = 0
    """Errors that the decoder of the frames has reported."""

    piece: int | None = None
    """Number of the piece, from 0; None if the video is not divided."""

    reason: str | None = None
    """Why there are no frames, one of `talkface.preprocess.reasons`; None if there are."""

    detail: str = ""

    @property
    def name(self) -> str:
        """The name of the clip."""
        return self.source.name if self.piece is None else piece_name(self.source.name, self.piece)


@dataclass
class ClipResult:
    """The clip of a video, or the reason why there is none."""

    clip: Clip | None
    reason: str
    """One of `talkface.preprocess.reasons`."""

    facts: dict[str, Any]
    """Figures for the manifest."""

    curve: np.ndarray | None = None
    """Correlation of mouth and sound at each of `talkface.preprocess.sync.LAG_SECONDS`; None without a clip."""


class _DecodeErrors:
    """Counts the errors that the decoder reports while a video is decoded piece by piece.

    The decoder is up to a second ahead of the frames that are read. Therefore the errors during one piece are also
    counted for the next one.
    """

    def __init__(self) -> None:
        self.total = 0
        self._before_previous = self._before_current = 0

    def add(self) -> None:
        self.total += 1

    def of_piece(self) -> int:
        """The number of errors during the piece that has just been read, and during the one before."""
        count = self.total - self._before_previous
        self._before_previous, self._before_current = self._before_current, self.total
        return count


def decode(source: Source, limits: QualityLimits) -> Iterator[DecodedVideo]:
    """Decode a video at 25 frames per second, and its sound. A long video comes piece by piece."""
    try:
        speech, waveform = _load_sound(source, limits)
    except TalkfaceError as error:
        reason = reasons.NO_SOUND if isinstance(error, NoSound) else reasons.UNREADABLE
        yield DecodedVideo(source, reason=reason, detail=str(error))
        return
    start, piece, errors = 0, None, _DecodeErrors()
    try:
        stream = read_frames(source.path, FPS, MAX_SIDE, errors.add)
        for frames, last in split_pieces(stream, limits.piece_frames, limits.min_frames):
            video = DecodedVideo(source, frames, speech, waveform=waveform, decode_errors=errors.of_piece())
            if last and piece is None:
                yield video
                return
            piece = 0 if piece is None else piece + 1
            yield _cut_sound(video, start, piece, last)
            start += len(frames)
    except TalkfaceError as error:
        piece = None if piece is None else piece + 1
        yield DecodedVideo(source, piece=piece, reason=reasons.UNREADABLE, detail=str(error))


def split_pieces(items: Iterator[T], size: int, least: int) -> Iterator[tuple[list[T], bool]]:
    """`items` in lists of `size`, each with whether it is the last; a rest shorter than `least` joins the last list."""
    piece = list(islice(items, size))
    while piece:
        following = list(islice(items, least))
        last = len(following) < least
        yield (piece + following if last else piece), last
        piece = [] if last else following + list(islice(items, size - least))


def _load_sound(source: Source, limits: QualityLimits) -> tuple[Speech | None, np.ndarray]:
    """The MFCC and the waveform of a video; None and no samples if it has no sound and `limits` accept that."""
    silent = None, np.zeros(0, np.float32)
    try:
        speech = load_speech(source.path)
    except NoSound:
        if limits.need_sound:
            raise
        return silent
    if not limits.need_sound and speech.level_db < limits.min_level_db:
        return silent
    return speech, load_waveform(source.path)


def _cut_sound(video: DecodedVideo, start: int, piece: int, last: bool) -> DecodedVideo:
    """The piece of a video that begins at frame `start`, with its sound and a margin of sound on either side.

    Args:
        video: the frames of the piece and the sound of the whole video.
        start: first frame of the piece.
        piece: number of the piece.
        last: whether it is the last piece.
    """
    video = replace(video, piece=piece)
    if video.speech is None:
        return video
    frames = len(video.frames)
    first, end = start * STEPS_PER_FRAME, (start + frames) * STEPS_PER_FRAME
    lead = min(first, MARGIN_STEPS)
    seconds = max(video.speech.duration - start / FPS, 0.0)
    if not last:
        seconds = min(seconds, frames / FPS)
    speech = replace(video.speech, mfcc=video.speech.mfcc[first - lead : end + MARGIN_STEPS], duration=seconds)
    sound_lead = min(start / FPS, SOUND_MARGIN)
    begin, stop = start / FPS - sound_lead, (start + frames) / FPS + SOUND_MARGIN
    waveform = video.waveform[round(begin * SOUND_RATE) : round(stop * SOUND_RATE)]
    return replace(video, speech=speech, lead_steps=lead, waveform=waveform, sound_lead=sound_lead)


def build_clip(video: DecodedVideo, dataset: str, finder: FaceFinder, limits: QualityLimits) -> ClipResult:
    """The clip of a decoded video, or the first reason to skip it.

    Args:
        video: as `decode` yields it.
        dataset: name of the data set.
        finder: the networks that find the face.
        limits: within which the video becomes a clip.
    """
    if video.reason:
        return ClipResult(None, video.reason, {"detail": video.detail})
    frames, speech = video.frames, video.speech
    facts: dict[str, Any] = {
        "frames": len(frames),
        "seconds": len(frames) / FPS,
        "sound_seconds": round(speech.duration, 3) if speech else 0.0,
        "level_db": round(max(speech.level_db, SILENT_DB), 1) if speech else SILENT_DB,
        "decode_errors": video.decode_errors,
    }
    if reason := limits.check_streams(facts):
        return ClipResult(None, reason, facts)
    faces = list(finder.track(frames))
    facts |= face_facts(faces)
    if reason := limits.check_faces(facts):
        return ClipResult(None, reason, facts)
    transforms, points = aligned_points(_interpolate_lost(faces))
    pictures = [align.warp(frame, matrix) for frame, matrix in zip(frames, transforms, strict=True)]
    facts["change"] = round(largest_change(pictures), 1)
    if reason := limits.check_aligned(facts):
        return ClipResult(None, reason, facts)
    clip = _assemble(video, dataset, transforms, points, pictures)
    opening = landmarks.mouth_opening(clip.lips, EYE_DISTANCE)
    curve = correlation_curve(opening, _loudness(speech), lead_steps=video.lead_steps)
    facts["lag"], facts["lag_correlation"] = (round(value, 3) for value in peak_lag(curve))
    clip.quality = facts
    return ClipResult(clip, reasons.KEPT, facts, curve)


def _loudness(speech: Speech | None) -> np.ndarray:
    """c0 of each MFCC step, without the digital silence that some decoders append: it would distort a correlation."""
    if speech is None or not len(speech.mfcc):
        return np.zeros(1, np.float32)
    loudness = speech.mfcc[:, 0]
    audible = np.flatnonzero(loudness > SILENCE[0] + 0.01)
    if not len(audible) or audible[-1] == len(loudness) - 1:
        return loudness
    return loudness[: max(audible[-1] + 1 - OVERLAP_STEPS, 1)]


def face_facts(faces: list[Face | None]) -> dict[str, Any]:
    """Figures of a tracked face: share of lost frames, number of faces, size, angle, largest movement and growth."""
    seen = [face for face in faces if face is not None]
    facts = {"lost": round(1 - len(seen) / len(faces), 3), "faces": max((face.faces_seen for face in seen), default=0)}
    if not seen:
        return facts
    points = np.stack([face.points for face in seen])
    distance = landmarks.eye_distance(points)
    middle = landmarks.eye_centres(points).mean(-2)
    moves = np.linalg.norm(np.diff(middle, axis=0), axis=-1) / distance[1:]
    growth = np.abs(np.diff(np.log(distance)))
    return facts | {
        "eye_distance": round(float(np.median(distance)), 1),
        "yaw": round(float(np.median([abs(face.yaw) for face in seen])), 1),
        "jump": round(float(moves.max(initial=0)), 3),
        "growth": round(float(growth.max(initial=0)), 3),
    }


def _interpolate_lost(faces: list[Face | None]) -> np.ndarray:
    """float64 (T, 468, 2): the points of every frame; those of lost frames are interpolated over time."""
    seen = [i for i, face in enumerate(faces) if face is not None]
    points = np.stack([face.points for face in faces if face is not None]).astype(np.float64)
    if len(seen) == len(faces):
        return points
    flat = points.reshape(len(seen), -1)
    columns = [np.interp(np.arange(len(faces)), seen, column) for column in flat.T]
    return np.stack(columns, axis=1).reshape(len(faces), *points.shape[1:])


def aligned_points(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The alignment of a face over time.

    Args:
        points: float (T, 468, 2), px of the source.

    Returns:
        The transforms to aligned px, smoothed over time, (T, 2, 3), and the points in aligned px, (T, 468, 2).
    """
    transforms = align.smooth_transforms(np.stack([align.fit_transform(one) for one in points]))
    return transforms, align.apply(transforms, points)


def largest_change(pictures: list[np.ndarray]) -> float:
    """The largest mean absolute difference of two consecutive aligned faces, in gray levels, at 16 x 16 px."""
    small = [cv2.resize(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), (16, 16), interpolation=cv2.INTER_AREA) for p in pictures]
    changes = np.abs(np.diff(np.stack(small).astype(np.float32)[:, 4:14, 3:13], axis=0)).mean((1, 2))
    return float(changes.max(initial=0))


def _assemble(
    video: DecodedVideo, dataset: str, transforms: np.ndarray, points: np.ndarray, pictures: list[np.ndarray]
) -> Clip:
    source, speech = video.source, video.speech
    audible = speech is not None and speech.duration > 0  # after the end of the sound only the margin may have some
    return Clip(
        name=video.name,
        dataset=dataset,
        split=source.split,
        speaker=source.speaker,
        source=source.file,
        lips=landmarks.lips(points).astype(np.float32),
        points68=landmarks.to_68(points).astype(np.float32),
        eyes=landmarks.eye_centres(points).astype(np.float32),
        transforms=transforms.astype(np.float64),
        mfcc_steps=speech.mfcc if speech and len(speech.mfcc) else SILENCE[None],
        lead_steps=video.lead_steps,
        sound=encode_sound(video.waveform) if audible else b"",
        sound_lead=video.sound_lead,
        encoded=[encode_frame(picture) for picture in pictures],
    )
