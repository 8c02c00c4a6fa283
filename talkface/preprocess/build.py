"""From one video to one clip (to several, if it is long), or to the reason why not.

`take` decodes (ffmpeg works in processes of its own), `make` finds, measures, aligns and compresses the faces; a worker
takes the next video in a thread while it makes the present one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

import cv2
import numpy as np

from talkface.config import EYE_DISTANCE, FPS, MFCC_COEFFS, SOUND_RATE, STEPS_PER_SECOND
from talkface.data.clip import Clip, encode_frame, encode_sound
from talkface.data.layouts import Source, piece_name
from talkface.errors import TalkfaceError
from talkface.face import align, landmarks
from talkface.face.find import Face, FaceFinder
from talkface.media.audio import NoSound, Speech, load_speech, load_waveform
from talkface.media.video import read_frames
from talkface.media.windows import SILENCE
from talkface.preprocess import gates
from talkface.preprocess.gates import Gates
from talkface.preprocess.sync import correlation_curve, peak

MAX_SIDE = 1280  # px, long side of the pictures that faces are looked for in
STEPS_PER_FRAME = STEPS_PER_SECOND // FPS
MARGIN_STEPS = 50  # of sound kept before and after a piece, so that the windows at its ends hear what there was
SOUND_MARGIN = 1.0  # seconds of sound kept before and after a piece for the speech recogniser
SILENT_DB = -200.0  # level given for a video without sound
STRADDLING = 3  # steps whose window reaches into the silence after them


@dataclass
class DecodedVideo:
    """A decoded video, or a piece of a long one."""

    source: Source
    frames: list[np.ndarray]
    speech: Speech | None
    """The sound; of a piece, from `lead_steps` before its first frame on."""
    lead_steps: int = 0
    waveform: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """float32 (samples,) at 16 kHz; of a piece, from `sound_lead` seconds before its first frame on."""
    sound_lead: float = 0.0
    piece: int | None = None
    """Which piece, from 0; None where the video is taken whole."""
    reason: str | None = None
    detail: str = ""

    @property
    def name(self) -> str:
        """Of the clip."""
        return self.source.name if self.piece is None else piece_name(self.source.name, self.piece)


@dataclass
class ClipResult:
    """What became of a video."""

    clip: Clip | None
    reason: str
    facts: dict
    """Figures for the manifest."""
    curve: np.ndarray | None = None
    """Correlation of mouth and sound at each lag of talkface.preprocess.sync.LAGS."""


def take(source: Source, limits: Gates) -> Iterator[DecodedVideo]:
    """Decode a video at 25 frames per second, and its sound; a long video piece by piece."""
    try:
        speech, waveform = _sound(source, limits)
    except TalkfaceError as error:
        reason = gates.NO_SOUND if isinstance(error, NoSound) else gates.UNREADABLE
        yield DecodedVideo(source, [], None, reason=reason, detail=str(error))
        return
    start, piece = 0, None
    try:
        for frames, last in parts(read_frames(source.path, FPS, MAX_SIDE), limits.piece_frames, limits.min_frames):
            if last and piece is None:
                yield DecodedVideo(source, frames, speech, waveform=waveform)
                return
            piece = 0 if piece is None else piece + 1
            yield _piece(DecodedVideo(source, frames, speech, waveform=waveform), start, piece, last)
            start += len(frames)
    except TalkfaceError as error:
        piece = None if piece is None else piece + 1
        yield DecodedVideo(source, [], None, piece=piece, reason=gates.UNREADABLE, detail=str(error))


def parts(items: Iterator, size: int, least: int) -> Iterator[tuple[list, bool]]:
    """`items` in lists of `size`, each with whether it is the last; a rest of fewer than `least` goes to the last."""
    part = list(islice(items, size))
    while part:
        following = list(islice(items, least))
        last = len(following) < least
        yield (part + following if last else part), last
        part = [] if last else following + list(islice(items, size - least))


def _sound(source: Source, limits: Gates) -> tuple[Speech, np.ndarray]:
    """The MFCC and the waveform of a video; silence where it has no sound and `limits` allow that."""
    try:
        speech = load_speech(source.path)
        if limits.need_sound or speech.level_db >= limits.min_level_db:
            return speech, load_waveform(source.path)
    except NoSound:
        if limits.need_sound:
            raise
    return Speech(np.zeros((0, MFCC_COEFFS), np.float32), 0.0, -np.inf, source.path, SOUND_RATE, 1), np.zeros(
        0, np.float32
    )


def _piece(video: DecodedVideo, start: int, piece: int, last: bool) -> DecodedVideo:
    """The piece of a video that begins at frame `start`, with its sound and a margin of sound on either side.

    Args:
        video: the frames of the piece and the sound of the whole video.
        start: first frame of the piece.
        piece: its number.
        last: whether it is the last piece.
    """
    speech, frames = video.speech, len(video.frames)
    first, end = start * STEPS_PER_FRAME, (start + frames) * STEPS_PER_FRAME
    lead = min(first, MARGIN_STEPS)
    seconds = max(speech.duration - start / FPS, 0.0)
    if not last:
        seconds = min(seconds, frames / FPS)
    part = replace(speech, mfcc=speech.mfcc[first - lead : end + MARGIN_STEPS], duration=seconds)
    sound_lead = min(start / FPS, SOUND_MARGIN)
    begin, stop = start / FPS - sound_lead, (start + frames) / FPS + SOUND_MARGIN
    waveform = video.waveform[round(begin * SOUND_RATE) : round(stop * SOUND_RATE)]
    return replace(video, speech=part, lead_steps=lead, waveform=waveform, sound_lead=sound_lead, piece=piece)


def make(taken: DecodedVideo, dataset: str, finder: FaceFinder, limits: Gates) -> ClipResult:
    """The clip of a decoded video, or the first gate that it does not pass."""
    if taken.reason:
        return ClipResult(None, taken.reason, {"detail": taken.detail})
    frames, speech = taken.frames, taken.speech
    facts = {
        "frames": len(frames),
        "seconds": len(frames) / FPS,
        "sound_seconds": round(speech.duration, 3),
        "level_db": round(max(speech.level_db, SILENT_DB), 1),
    }
    if reason := limits.before_faces(facts):
        return ClipResult(None, reason, facts)
    faces = list(finder.track(frames))
    facts |= face_facts(faces)
    if reason := limits.on_faces(facts):
        return ClipResult(None, reason, facts)
    transforms, points = aligned_points(_filled(faces))
    pictures = [align.warp(frame, matrix) for frame, matrix in zip(frames, transforms, strict=True)]
    facts["change"] = round(largest_change(pictures), 1)
    if reason := limits.on_pictures(facts):
        return ClipResult(None, reason, facts)
    clip = _clip(taken, dataset, transforms, points, pictures)
    opening = landmarks.mouth_opening(clip.lips, EYE_DISTANCE)
    curve = correlation_curve(opening, _loudness(speech.mfcc), lead_steps=taken.lead_steps)
    facts["lag"], facts["lag_correlation"] = (round(value, 3) for value in peak(curve))
    clip.quality = facts
    return ClipResult(clip, gates.KEPT, facts, curve)


def _loudness(mfcc: np.ndarray) -> np.ndarray:
    """c0 of each step, up to the digital silence that some decoders append, which would spoil a correlation."""
    if not len(mfcc):
        return np.zeros(1, np.float32)
    sounding = np.flatnonzero(mfcc[:, 0] > SILENCE[0] + 0.01)
    if not len(sounding) or sounding[-1] == len(mfcc) - 1:
        return mfcc[:, 0]
    return mfcc[: max(sounding[-1] + 1 - STRADDLING, 1), 0]


def face_facts(faces: list[Face | None]) -> dict:
    """Figures of a tracked face: lost frames, number of faces, size, angle, largest jump and growth."""
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


def _filled(faces: list[Face | None]) -> np.ndarray:
    """float (T, 468, 2): the points of every frame, those of lost frames between their neighbours'."""
    seen = np.array([i for i, face in enumerate(faces) if face is not None])
    points = np.stack([faces[i].points for i in seen]).astype(np.float64)
    if len(seen) == len(faces):
        return points
    flat = points.reshape(len(seen), -1)
    columns = [np.interp(np.arange(len(faces)), seen, column) for column in flat.T]
    return np.stack(columns, axis=1).reshape(len(faces), *points.shape[1:])


def aligned_points(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(transforms (T, 2, 3) smoothed over time, points (T, 468, 2) in aligned px) of points in source px."""
    transforms = align.smooth_transforms(np.stack([align.fit_transform(one) for one in points]))
    return transforms, align.apply(transforms, points)


def largest_change(pictures: list[np.ndarray]) -> float:
    """The largest mean difference of two consecutive aligned faces, gray levels at a sixteenth of the size."""
    small = [cv2.resize(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), (16, 16), interpolation=cv2.INTER_AREA) for p in pictures]
    changes = np.abs(np.diff(np.stack(small).astype(np.float32)[:, 4:14, 3:13], axis=0)).mean((1, 2))
    return float(changes.max(initial=0))


def _clip(
    taken: DecodedVideo, dataset: str, transforms: np.ndarray, points: np.ndarray, pictures: list[np.ndarray]
) -> Clip:
    source = taken.source
    return Clip(
        name=taken.name,
        dataset=dataset,
        split=source.split,
        speaker=source.speaker,
        source=source.file,
        lips=landmarks.lips(points).astype(np.float32),
        points68=landmarks.to_68(points).astype(np.float32),
        eyes=landmarks.eye_centres(points).astype(np.float32),
        transforms=transforms.astype(np.float64),
        mfcc_steps=taken.speech.mfcc if len(taken.speech.mfcc) else SILENCE[None],
        lead_steps=taken.lead_steps,
        sound=encode_sound(taken.waveform) if len(taken.waveform) else b"",
        sound_lead=taken.sound_lead,
        encoded=[encode_frame(picture) for picture in pictures],
    )
