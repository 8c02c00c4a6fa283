"""Speech features with the lips that go with them, for the stage "lips".

Shapes: B sequences, T frames of a sequence, F features of a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talkface.config import ALIGNED_LIPS, FPS, STEPS_PER_SECOND
from talkface.data.clip import Clip
from talkface.data.lip_points import mirrored_lips
from talkface.data.reader import ClipDataset
from talkface.data.sound_augment import augmented, resampled_lips
from talkface.data.visemes import closures, utterances
from talkface.errors import TalkfaceError
from talkface.media.windows import mfcc_windows
from talkface.model.hearing import features_at, speech_vectors
from talkface.model.lips import CLOSED, opening
from talkface.model.recogniser import SpeechEncoder

BABBLE_CLIPS = 200  # recordings that babble noise is made of
SYNTHETIC_CLIPS = 600  # utterances of synthetic speech that are learned from


class LipBatch(NamedTuple):
    """Sequences of speech features and lips; a shorter clip repeats its last frame, which does not count."""

    features: Tensor
    """(B, T, F)."""
    lips: Tensor
    """(B, T, 40, 2) px of the aligned face."""
    photo_lips: Tensor
    """(B, 40, 2) px: another moment of the same clip."""
    counts: Tensor
    """(B, T): 1 for frames whose lips count."""
    shut: Tensor
    """(B, T): 1 where the mouth is shut."""
    shut_counts: Tensor
    """(B, T): 1 for frames in which that is known."""


@dataclass
class SpeechClip:
    """One clip: features and lips as recorded, then its distorted copies."""

    dataset: int
    """Its number among the data sets of the training."""
    person: str
    name: str
    features: list[np.ndarray]
    """float16 (T, F) of each copy."""
    lips: list[np.ndarray]
    """float32 (T, 40, 2) of each copy."""


class SyntheticClip(NamedTuple):
    """An utterance of synthetic speech: no lips, but where they are shut."""

    features: np.ndarray
    """float16 (T, F)."""
    shut: np.ndarray
    """float32 (T,)."""
    known: np.ndarray
    """float32 (T,): 1 for frames in which that is known."""


def frame_times(clip: Clip, frames: int, speed: float = 1.0) -> np.ndarray:
    """Where the middle of each frame lies in the clip's waveform, (frames,) seconds, the sound offset included."""
    return (np.arange(frames) + 0.5) / clip.fps + (clip.av_offset + clip.sound_lead) / speed


def clip_features(clip: Clip, encoder: SpeechEncoder | None) -> np.ndarray:
    """What a generator takes of each frame: the recogniser's features (T, 768), or MFCC windows without an encoder.

    Raises:
        TalkfaceError: the recogniser is wanted, and the clip keeps no sound.
    """
    if encoder is None:
        return clip.mfcc
    if not clip.sound:
        raise TalkfaceError(
            f"Clip {clip.name} keeps no sound, which this generator needs.",
            "Run `talkface preprocess` again: earlier versions kept MFCC alone.",
        )
    return features_at(speech_vectors(encoder, clip.waveform), frame_times(clip, len(clip)))


def speech_clips(
    datasets: Sequence[ClipDataset],
    encoder: SpeechEncoder,
    copies: int = 0,
    seed: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> list[SpeechClip]:
    """The features of every clip that has sound.

    Args:
        datasets: opened data sets.
        encoder: the frozen recogniser.
        copies: distorted copies of each clip besides.
        seed: of the distortions.
        on_step: told clips done and clips in all.

    Raises:
        TalkfaceError: no clip keeps its sound, as in data sets that an earlier talkface wrote.
    """
    heard = [(d, i) for d, dataset in enumerate(datasets) for i, sound in enumerate(dataset.has_sound) if sound]
    if not heard:
        raise TalkfaceError(
            "No training clip keeps its sound.", "Run `talkface preprocess` again: earlier versions kept MFCC alone."
        )
    random = np.random.default_rng((seed, 6))
    chosen = random.permutation(len(heard))[: BABBLE_CLIPS if copies else 0]
    others = [datasets[heard[k][0]][heard[k][1]].waveform for k in chosen]
    clips = []
    for number, (d, i) in enumerate(heard):
        clip = datasets[d][i]
        person = f"{d}/{datasets[d].clip_people[i]}"
        features, lips = [_features(encoder, clip, clip.waveform)], [clip.lips.astype(np.float32)]
        draws = np.random.default_rng((seed, 7, number))
        for _ in range(copies):
            sound, speed = augmented(clip.waveform, draws, others)
            lips.append(resampled_lips(lips[0], speed))
            features.append(_features(encoder, clip, sound, speed, len(lips[-1])))
        clips.append(SpeechClip(d, person, clip.name, features, lips))
        if on_step:
            on_step(number + 1, len(heard))
    return clips


def mfcc_clips(datasets: Sequence[ClipDataset]) -> list[SpeechClip]:
    """The MFCC windows of every clip with sound in place of a recogniser's features, float16 (T, 20, 13)."""
    clips = []
    for d, dataset in enumerate(datasets):
        for i, (sound, old) in enumerate(zip(dataset.has_sound, dataset.keeps_no_sound, strict=True)):
            if sound or old:
                clip = dataset[i]
                person = f"{d}/{dataset.clip_people[i]}"
                lips = clip.lips.astype(np.float32)
                clips.append(SpeechClip(d, person, clip.name, [clip.mfcc.astype(np.float16)], [lips]))
    if not clips:
        raise TalkfaceError("No training clip has sound.", "Name a data set with sound in --data.")
    return clips


def synthetic_clips(folder: Path, encoder: SpeechEncoder | None) -> list[SyntheticClip]:
    """Synthetic speech as the stage "lips" takes it.

    Args:
        folder: of `talkface.data.visemes.find_visemes`.
        encoder: the frozen recogniser; None gives MFCC windows.

    Raises:
        TalkfaceError: the data set keeps no sound.
    """
    clips = []
    for spoken in utterances(folder, SYNTHETIC_CLIPS):
        frames = len(spoken.labels) * FPS // STEPS_PER_SECOND
        if encoder is None:
            features = mfcc_windows(spoken.steps, frames)
        else:
            features = features_at(speech_vectors(encoder, spoken.waveform), (np.arange(frames) + 0.5) / FPS)
        shut, known = closures(spoken.labels, frames)
        clips.append(SyntheticClip(features.astype(np.float16), shut.astype(np.float32), known.astype(np.float32)))
    return clips


def _features(
    encoder: SpeechEncoder, clip: Clip, sound: np.ndarray, speed: float = 1.0, frames: int | None = None
) -> np.ndarray:
    times = frame_times(clip, len(clip) if frames is None else frames, speed)
    return features_at(speech_vectors(encoder, sound), times).astype(np.float16)


def _piece(count: int, length: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random piece of `length` frames of `count`: their numbers, of which the last is repeated if there are too few,
    and float32 (length,), 1 for those that are no repetition."""
    wanted = random.integers(max(count - length, 0) + 1) + np.arange(length)
    return wanted.clip(max=count - 1), (wanted < count).astype(np.float32)


class LipBatches:
    """Draws sequences of speech: a data set, and a person in it, each in proportion to the root of their frames.

    Args:
        clips: of `speech_clips`.
        seed: of all draws.
        distorted: share of the sequences that are taken from distorted copies.
        landmark_noise: px, added to the photo's lip points.
        mirror: half of the sequences are mirrored.
        synthetic: of `synthetic_clips`; each batch gets as many sequences of them besides.
    """

    def __init__(
        self,
        clips: Sequence[SpeechClip],
        seed: int = 0,
        distorted: float = 0.7,
        landmark_noise: float = 1.0,
        mirror: bool = True,
        synthetic: Sequence[SyntheticClip] = (),
    ) -> None:
        self.clips, self.seed, self.distorted, self.synthetic = clips, seed, distorted, synthetic
        self.landmark_noise, self.mirror = landmark_noise, mirror
        by_person: dict[str, list[SpeechClip]] = {}
        for clip in clips:
            by_person.setdefault(clip.person, []).append(clip)
        self.people = list(by_person.values())
        self.weights = self._weights()

    def batch(self, step: int, size: int, length: int) -> LipBatch:
        """`size` real sequences of `length` frames for one training step."""
        random = np.random.default_rng((self.seed, 8, step))
        people = random.choice(len(self.people), size, p=self.weights)
        rows = [self._sequence(self.people[person], length, random) for person in people]
        if self.synthetic:
            rows += [self._synthetic(length, random) for _ in range(size)]
            rows = [rows[k] for k in random.permutation(len(rows))]  # several processes share a batch
        return LipBatch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))

    def _weights(self) -> np.ndarray:
        """How often each person is drawn, sum 1. By people alone, GRID would hardly be: its silences shut the mouth."""
        owners = np.array([clips[0].dataset for clips in self.people])
        frames = np.array([sum(len(clip.lips[0]) for clip in clips) for clips in self.people], float)
        within = np.sqrt(frames) / np.bincount(owners, np.sqrt(frames))[owners]
        weights = np.sqrt(np.bincount(owners, frames))[owners] * within
        return weights / weights.sum()

    def _sequence(self, clips: list[SpeechClip], length: int, random: np.random.Generator) -> tuple[np.ndarray, ...]:
        frames = np.array([len(clip.lips[0]) for clip in clips])
        clip = clips[random.choice(len(clips), p=frames / frames.sum())]
        copies = len(clip.lips) - 1
        copy = int(random.integers(1, copies + 1)) if copies and random.random() < self.distorted else 0
        features, lips = clip.features[copy], clip.lips[copy]
        numbers, counts = _piece(len(lips), length, random)
        photo = clip.lips[0][random.integers(len(clip.lips[0]))]
        photo = photo + self.landmark_noise * random.standard_normal(photo.shape)
        wanted = lips[numbers]
        if self.mirror and random.random() < 0.5:
            photo, wanted = mirrored_lips(photo), mirrored_lips(wanted)
        wanted = wanted.astype(np.float32)
        shut = (opening(torch.from_numpy(wanted)) < CLOSED).float().numpy()
        return features[numbers].astype(np.float32), wanted, photo.astype(np.float32), counts, shut, counts

    def _synthetic(self, length: int, random: np.random.Generator) -> tuple[np.ndarray, ...]:
        clip = self.synthetic[int(random.integers(len(self.synthetic)))]
        numbers, counts = _piece(len(clip.shut), length, random)
        lips = np.broadcast_to(np.array(ALIGNED_LIPS, np.float32), (length, len(ALIGNED_LIPS), 2))
        features = clip.features[numbers].astype(np.float32)
        return features, lips, lips[0], np.zeros_like(counts), clip.shut[numbers], clip.known[numbers] * counts
