"""Training batches for the mouth generator: crops around the mouth of a photo and of consecutive frames of one clip.

The same (seed, step) always gives the same batch, so that a resumed run sees what one run would have seen.

Shapes: B sequences, K frames of a sequence, H x W the crop. Points are px relative to the crop's top-left pixel.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from talkface.config import EYE_DISTANCE, SIZE
from talkface.data.lip_points import MIRRORED_LIPS
from talkface.data.portraits import shut_mouth
from talkface.data.reader import ClipDataset
from talkface.errors import TalkfaceError
from talkface.face.landmarks import mouth_opening, nose_base
from talkface.face.mouth_colours import reference
from talkface.metrics.mouth import mouth_content
from talkface.model.frames import BELOW_CORNERS, HEIGHT, WIDTH
from talkface.model.lips import opening_direction

OPEN = 1.4  # px: frames with a smaller gap show nothing between the lips
WIDE = 16.0  # px: frames are drawn in proportion to their gap, up to here
MEASURED = 3.0  # px: the darkness of frames with a smaller gap is not measured
DARK_ENOUGH = 0.4  # share of dark pixels from which a frame gets the full weight
DARK_WEIGHT = 5.0  # how much more often such a frame is drawn; dark mouths are rarer in these videos than in life
SHARP_EYES = 55.0  # px between the eyes in the source, from which a person is drawn twice as often
FEW_FRAMES = 100  # a person with fewer frames is drawn less often
PORTRAIT_FRAMES = 7  # a clip of one frame counts as so many there
CLOSED_PHOTOS = 0.4  # share of the sequences whose photo has a closed mouth
APART = 5  # frames between the photo and the sequence
JITTER = 4  # px by which the crop is displaced at most
REGION = np.s_[120:244, 48:208]  # of the aligned face: what the mouth's content is measured on


class MouthBatch(NamedTuple):
    """Crops of B sequences with a photo of the same person; pictures float32 in [0, 1]."""

    photo: Tensor
    """(B, 3, H, W)."""
    frames: Tensor
    """(B, K, 3, H, W)."""
    photo_lips: Tensor
    """(B, 40, 2) px."""
    lips: Tensor
    """(B, K, 40, 2) px."""
    photo_nose: Tensor
    """(B, 2) px: base of the nose."""
    noses: Tensor
    """(B, K, 2) px."""

    def to(self, device: torch.device) -> MouthBatch:
        """The batch on `device`."""
        return MouthBatch(*(one.to(device, non_blocking=True) for one in self))

    @property
    def head_shifts(self) -> Tensor:
        """How far the skull has moved since the photo, (B, K, 2) px."""
        return self.noses - self.photo_nose[:, None]


@dataclass
class _Clip:
    """What is known of a clip without its pictures."""

    dataset: int
    number: int
    person: str
    sharp: bool
    lips: np.ndarray  # (T, 40, 2)
    nose: np.ndarray  # (T, 2)
    gap: np.ndarray  # (T,) px
    dark: np.ndarray  # (T,) share of dark pixels between the lips


class MouthBatches:
    """Draws sequences by person, so that nobody dominates, and frames by how far the mouth is open.

    Of several data sets, each is drawn in proportion to the root of the weights of its people, so that one with few
    people is drawn at all.

    The photo of a sequence is another moment of the clip. A portrait, a clip of one frame, has none: its photo is the
    portrait with the lips carried together.

    Args:
        datasets: opened data sets, all of the split to train on; clips without sound are welcome.
        seed: of all draws.
        workers: threads that measure the darkness.
        augment: mirror, scale, turn, blur and recolour.
        relit: share of the sequences that are shown in another light besides, as `relit` does it.
        darkness: (frames of all clips,) share of dark pixels between the lips, as another one's `darkness` has it;
            None measures it now.

    Raises:
        TalkfaceError: there is no clip with an open mouth.
    """

    def __init__(
        self,
        datasets: Sequence[ClipDataset],
        seed: int = 0,
        workers: int = 2,
        augment: bool = True,
        relit: float = 0.0,
        darkness: np.ndarray | None = None,
    ) -> None:
        self.datasets, self.seed, self.augment, self.relit = datasets, seed, augment, relit
        self.clips = [self._clip(d, i) for d, dataset in enumerate(datasets) for i in range(len(dataset))]
        self.darkness = self._measured(workers) if darkness is None else darkness
        starts = np.cumsum([0, *(len(clip.gap) for clip in self.clips)])
        for clip, start in zip(self.clips, starts, strict=False):
            clip.dark = self.darkness[start : start + len(clip.gap)]
        self.people, weights = self._people()
        if not self.people:
            raise TalkfaceError(
                "No training clip shows an open mouth.", "Run `talkface preprocess` on talking faces, or name others."
            )
        self.weights = self._balanced(np.array(weights))
        self.shut: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def batch(self, step: int, size: int, rollout: int) -> MouthBatch:
        """`size` sequences of `rollout` frames for one training step."""
        random = np.random.default_rng((self.seed, 5, step))
        people = random.choice(len(self.people), size, p=self.weights)
        seeds = random.integers(1 << 31, size=size)
        rows = [self._sequence(person, seed, rollout) for person, seed in zip(people, seeds, strict=True)]
        return MouthBatch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))

    @functools.cached_property
    def direction(self) -> Tensor:
        """How lip points move when the mouth opens, (40, 2) px; only portraits need it."""
        return opening_direction([torch.from_numpy(clip.lips) for clip in self.clips])

    def _clip(self, d: int, i: int) -> _Clip:
        dataset, arrays = self.datasets[d], self.datasets[d].arrays(i)
        lips = arrays["lips"].astype(np.float32)
        gap = mouth_opening(lips, EYE_DISTANCE) * EYE_DISTANCE
        scale = np.hypot(*arrays["transforms"][:, :, 0].T)  # aligned px per source px
        sharp = float(np.median(EYE_DISTANCE / scale)) >= SHARP_EYES
        person = f"{d}/{dataset.clip_people[i]}"
        nose = nose_base(arrays["points68"])
        return _Clip(d, i, person, sharp, lips, nose, gap, np.zeros(len(gap), np.float32))

    def _measured(self, workers: int) -> np.ndarray:
        with ThreadPoolExecutor(max(workers, 1)) as pool:
            return np.concatenate([*pool.map(self._dark_frames, self.clips)])

    def _dark_frames(self, clip: _Clip) -> np.ndarray:
        """Share of dark pixels between the lips of each frame, 0 where the mouth is hardly open."""
        found = np.zeros(len(clip.gap), np.float32)
        wanted = np.flatnonzero(clip.gap > MEASURED).tolist()
        corner = np.array([REGION[1].start, REGION[0].start], np.float32)
        for number, frame in zip(wanted, self.datasets[clip.dataset].frames(clip.number, wanted), strict=True):
            crop, lips = frame[REGION], clip.lips[number] - corner
            found[number] = mouth_content(crop, lips, reference(crop, lips)).dark
        return found

    def _people(self) -> tuple[list[list[tuple[_Clip, np.ndarray]]], list[float]]:
        """For each person the clips with the weights of their frames, and how often the person is drawn."""
        by_person: dict[str, list[_Clip]] = {}
        for clip in self.clips:
            by_person.setdefault(clip.person, []).append(clip)
        people, weights = [], []
        for clips in by_person.values():
            opened = [(clip, self._frame_weights(clip)) for clip in clips if (clip.gap > OPEN).any()]
            if not opened:
                continue
            shown = [PORTRAIT_FRAMES if len(clip.gap) == 1 else int((clip.gap > OPEN).sum()) for clip, _ in opened]
            measured = np.concatenate([clip.dark[clip.gap > MEASURED] for clip, _ in opened])
            dark = float(measured.mean()) if len(measured) else 0.0
            sharp = 2.0 if np.mean([clip.sharp for clip, _ in opened]) >= 0.5 else 1.0
            people.append(opened)
            weights.append(sharp * min(1.0, sum(shown) / FEW_FRAMES) * (0.6 + 4 * min(dark, 0.3)))
        return people, weights

    def _balanced(self, weights: np.ndarray) -> np.ndarray:
        """The people's weights, sum 1, with those of each data set adding up to the root of their sum."""
        owners = np.array([clips[0][0].dataset for clips in self.people])
        sums = np.bincount(owners, weights)
        balanced = weights / np.sqrt(sums[owners])
        return balanced / balanced.sum()

    @staticmethod
    def _frame_weights(clip: _Clip) -> np.ndarray:
        weight = np.minimum(clip.gap, WIDE) * (1 + DARK_WEIGHT * np.minimum(clip.dark, DARK_ENOUGH) / DARK_ENOUGH)
        return np.where(clip.gap > OPEN, weight, 0.0)

    def _sequence(self, person: int, seed: int, rollout: int) -> tuple[np.ndarray, ...]:
        """The fields of a MouthBatch for one sequence, which ends on the drawn frame."""
        random, opened = np.random.default_rng(seed), self.people[person]
        totals = np.array([weight.sum() for _, weight in opened])
        clip, weight = opened[random.choice(len(opened), p=totals / totals.sum())]
        last = int(random.choice(len(weight), p=weight / weight.sum()))
        numbers = np.arange(last - rollout + 1, last + 1).clip(min=0)
        photo = self._photo(clip, last, random)
        faces = self.datasets[clip.dataset].frames(clip.number, [photo, *numbers.tolist()])
        lips, nose = clip.lips[[photo, *numbers]], clip.nose[[photo, *numbers]]
        if len(clip.gap) == 1:
            faces[0], lips[0] = self._shut(clip, faces[0])
        pictures, lips, nose = _cropped(faces, lips, nose, random, self.augment)
        if self.augment:
            pictures = recoloured(softened(pictures, random), random)
            pictures = relit(pictures, random) if random.random() < self.relit else pictures
        planes = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
        return planes[0], planes[1:], lips[0], lips[1:], nose[0], nose[1:]

    def _shut(self, clip: _Clip, portrait: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The photo of a portrait's sequences, kept: the warp of the whole face is slow."""
        place = clip.dataset, clip.number
        if place not in self.shut:
            self.shut[place] = shut_mouth(portrait, clip.lips[0], self.direction)
        return self.shut[place]

    @staticmethod
    def _photo(clip: _Clip, last: int, random: np.random.Generator) -> int:
        """Another moment of the clip; often one with a closed mouth."""
        far = distant_frames(len(clip.gap), last, APART)
        if random.random() >= CLOSED_PHOTOS:
            return int(random.choice(far))
        closed = far[clip.gap[far] < OPEN]
        return int(random.choice(closed)) if len(closed) else int(far[clip.gap[far].argmin()])


def distant_frames(length: int, moment: int, apart: int) -> np.ndarray:
    """Frames of a clip at least `apart` frames from a moment; all of a clip that is too short. int64 (N,)."""
    numbers = np.arange(length)
    far = numbers[np.abs(numbers - moment) >= apart]
    return far if len(far) else numbers


def face_crop_corner(lips: np.ndarray) -> np.ndarray:
    """Top-left pixel of the crop for lip points (40, 2) px of the aligned face: int64 (2,), inside the face."""
    centre = lips[[20, 30]].mean(0) + np.array([0, BELOW_CORNERS], np.float32)
    corner = np.round(centre - np.array([WIDTH / 2, HEIGHT / 2], np.float32)).astype(np.int64)
    return corner.clip(0, [SIZE - WIDTH, SIZE - HEIGHT])


def _cropped(
    pictures: list[np.ndarray], lips: np.ndarray, nose: np.ndarray, random: np.random.Generator, augment: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crops float32 in [0, 1] and points, all through one transform: mirror, scale, stretch, turn, displacement."""
    matrix = np.eye(3)
    if augment and random.random() < 0.5:
        matrix = np.array([[-1.0, 0, SIZE - 1], [0, 1, 0], [0, 0, 1]])
        lips = lips[:, MIRRORED_LIPS]
    if augment and random.random() < 0.6:
        middle = _moved(matrix, lips[-1].mean(0))
        angle, scale = random.uniform(-0.12, 0.12), random.uniform(0.92, 1.2)
        stretch = np.exp(random.uniform(-0.08, 0.08, 2))  # a wider or a taller mouth, with its teeth
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * stretch
        turned = np.eye(3)
        turned[:2, :2], turned[:2, 2] = turn, middle - turn @ middle
        matrix = turned @ matrix
    lips, nose = _moved(matrix, lips), _moved(matrix, nose)
    corner = face_crop_corner(lips[-1]) + (random.integers(-JITTER, JITTER + 1, 2) if augment else 0)
    matrix[:2, 2] -= corner
    crops = [cv2.warpAffine(p, matrix[:2], (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE) for p in pictures]
    shift = corner.astype(np.float32)
    return np.stack(crops).astype(np.float32) / 255, lips - shift, nose - shift


def _moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return (points @ matrix[:2, :2].T + matrix[:2, 2]).astype(np.float32)


def softened(pictures: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A quarter of the sequences as a source of lower resolution would show them.

    Args:
        pictures: float32 (K, H, W, 3) in [0, 1], one sequence.
        random: of all draws.
    """
    if random.random() >= 0.25:
        return pictures
    factor = random.uniform(0.5, 0.9)
    size = round(WIDTH * factor), round(HEIGHT * factor)
    small = [cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in pictures]
    return np.stack([cv2.resize(p, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for p in small]).clip(0, 1)


def recoloured(pictures: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Another camera: brightness, colour balance, contrast and saturation, the same for the whole sequence.

    Args:
        pictures: float32 (..., 3) in [0, 1].
        random: of all draws.
    """

    def factor(low: float, high: float, size: int = 1) -> np.ndarray:
        return np.exp(random.uniform(np.log(low), np.log(high), size)).astype(np.float32)

    gain, gamma, saturation = factor(0.75, 1.25) * factor(0.88, 1.13, 3), factor(0.8, 1.25), factor(0.6, 1.35)
    grey = pictures.mean(-1, keepdims=True)
    coloured = (grey + (pictures - grey) * saturation).clip(1e-3, 1)
    return (coloured**gamma * gain).clip(0, 1).astype(np.float32)


def relit(pictures: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Another light: up to 1.6 times as bright, so that bright skin burns out, and warmer or colder.

    Args:
        pictures: float32 (..., 3) in [0, 1], one sequence.
        random: of all draws.
    """
    gain = np.exp(random.uniform(0, np.log(1.6))) * np.array([1, 1, random.uniform(0.55, 1.15)])
    return (pictures * gain.astype(np.float32)).clip(0, 1)
