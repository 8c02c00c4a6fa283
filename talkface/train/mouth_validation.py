"""How good painted mouths are on unseen people, the true lips given: the validation figures of the stage "mouth".

For each person up to `PER_PERSON` frames with an open mouth are generated twice: from a photo with a closed mouth and
from one that shows as many teeth as there are. Never choose by L1 or SSIM: both prefer a grey blur.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talkface.config import EYE_DISTANCE
from talkface.data.mouths import distant_frames, face_crop_corner
from talkface.data.reader import ClipDataset
from talkface.face.landmarks import mouth_opening, nose_base
from talkface.face.mouth_colours import Reference, inner_mask, reference
from talkface.metrics.mouth import kernel_distance, mouth_content, sharpness
from talkface.metrics.mouth_features import mouth_features
from talkface.metrics.perceptual import PerceptualFeatures
from talkface.model.generator import HEIGHT, WIDTH, Generator
from talkface.model.lipwarp import LipWarp
from talkface.train.mouth_loss import paint_over_real

PER_PERSON = 24
OPEN = 2.0  # px: frames with a smaller gap are not judged
WIDE = 12.0  # px: frames are drawn in proportion to their gap, up to here
APART = 8  # frames between photo and frame
STILL_HEAD = 2.5  # px by which the head may have moved between them, where there are enough such photos
PHOTOS = ("closed", "teeth")


class Item(NamedTuple):
    """One frame to generate."""

    photo: np.ndarray  # uint8 (H, W, 3), crop of the photo
    real: np.ndarray  # uint8 (H, W, 3), crop of the real frame
    photo_lips: np.ndarray  # float32 (40, 2) px of the crop
    lips: np.ndarray  # float32 (2, 40, 2): of the frame before and of the frame
    photo_nose: np.ndarray  # float32 (2,)
    noses: np.ndarray  # float32 (2, 2)
    kind: str


class MouthValidation:
    """The items of one or more data sets, and what is measured on the real frames once.

    Args:
        datasets: opened data sets of the validation split.
        seed: of the draw.
        per_person: frames of each person.
        device: where the pictures are compared.
    """

    def __init__(
        self,
        datasets: Sequence[ClipDataset],
        seed: int = 7,
        per_person: int = PER_PERSON,
        device: torch.device | str = "cpu",
    ) -> None:
        self.features = PerceptualFeatures().to(device)
        self.items = [item for dataset in datasets for item in _items(dataset, seed, per_person)]
        if not self.items:
            return
        self.references: list[Reference] = [reference(item.real, item.lips[1]) for item in self.items]
        self.inside = [inner_mask(item.lips[1], item.real.shape) for item in self.items]
        self.area = self._areas()
        self.real_features = mouth_features(self.features, _tensor([item.real for item in self.items]), self.area)

    def figures(self, generator: Generator) -> dict[str, float]:
        """KID, teeth, darkness and sharpness of generated mouths for both kinds of photo, by name."""
        return self.judge(self.generated(generator))

    @torch.inference_mode()
    def generated(self, generator: Generator, batch: int = 16) -> np.ndarray:
        """The generated mouths in the real surroundings, uint8 (N, H, W, 3)."""
        pictures, device = [], generator.position.device
        for start in range(0, len(self.items), batch):
            items = self.items[start : start + batch]
            photo, real = (_tensor([getattr(i, name) for i in items]).to(device) for name in ("photo", "real"))
            photo_lips, lips, nose, noses = (
                torch.from_numpy(np.stack([getattr(i, name) for i in items])).to(device)
                for name in ("photo_lips", "lips", "photo_nose", "noses")
            )
            identity = generator.encode_identity(photo, photo_lips, nose)
            previous, mask = photo, generator.first_mask(identity)
            for moment in range(2):
                conditions = generator.conditions(identity, lips[:, moment], noses[:, moment] - nose)
                frame = generator.step(identity, conditions, previous, mask)
                previous, mask = generator.compose(identity, frame), frame.mask
            over_real = paint_over_real(identity, frame, conditions.shape, real).over_real
            pictures.append((over_real.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
        return np.concatenate(pictures)

    def judge(self, pictures: np.ndarray) -> dict[str, float]:
        """The figures of given pictures, uint8 (N, H, W, 3), one for each item."""
        features = mouth_features(self.features, _tensor(list(pictures)), self.area)
        real: list[tuple[float, float, float]] = []
        fake: list[tuple[float, float, float]] = []
        for item, colours, inside, picture in zip(self.items, self.references, self.inside, pictures, strict=True):
            for found, crop in ((real, item.real), (fake, picture)):
                content = mouth_content(crop, item.lips[1], colours)
                found.append((content.teeth, content.dark, sharpness(crop, inside)))
        figures = {}
        for kind in PHOTOS:
            chosen = np.array([item.kind == kind for item in self.items])
            mask = torch.from_numpy(chosen)
            ours, theirs = np.array(fake)[chosen].sum(0), np.array(real)[chosen].sum(0)
            figures[f"kid_{kind}"] = kernel_distance(self.real_features[mask].numpy(), features[mask].numpy())
            for name, ratio in zip(("teeth", "dark", "sharp"), ours / np.maximum(theirs, 1e-9), strict=True):
                figures[f"{name}_{kind}"] = float(ratio)
        return figures

    def _areas(self) -> Tensor:
        lips = torch.from_numpy(np.stack([item.lips[1] for item in self.items]))
        return LipWarp(WIDTH, HEIGHT).shape(lips).edged


def _items(dataset: ClipDataset, seed: int, per_person: int) -> list[Item]:
    """For each person some frames with an open mouth, each with a closed and with a toothy photo."""
    random = np.random.default_rng(seed)
    by_person: dict[str, list[int]] = {}
    for number, person in enumerate(dataset.clip_people):
        by_person.setdefault(person, []).append(number)
    items: list[Item] = []
    for clips in by_person.values():
        arrays = {number: dataset.arrays(number) for number in clips}
        gaps = {n: mouth_opening(a["lips"].astype(np.float32), EYE_DISTANCE) * EYE_DISTANCE for n, a in arrays.items()}
        moments = [(n, t) for n, gap in gaps.items() for t in np.flatnonzero(gap > OPEN)]
        if len(moments) < 4:
            continue
        weight = np.array([min(gaps[n][t], WIDE) for n, t in moments])
        count = min(per_person, len(moments))
        for index in sorted(random.choice(len(moments), count, replace=False, p=weight / weight.sum())):
            number, moment = moments[index]
            items += _item_pair(dataset, number, int(moment), arrays[number], gaps[number])
    return items


def _item_pair(
    dataset: ClipDataset, number: int, moment: int, arrays: dict[str, np.ndarray], gap: np.ndarray
) -> list[Item]:
    """The frame with a closed photo and with a toothy one."""
    lips, nose = arrays["lips"].astype(np.float32), nose_base(arrays["points68"])
    far = distant_frames(len(gap), moment, APART)
    move = np.linalg.norm(nose[far] - nose[moment], axis=1)
    near = far[move < STILL_HEAD]
    far = near if len(near) >= 5 else far[np.argsort(move)[:8]]
    frames = dict(zip(far.tolist(), dataset.frames(number, far.tolist()), strict=True))
    teeth = [_teeth(frames[t], lips[t]) if gap[t] > OPEN else 0 for t in far.tolist()]
    before = max(moment - 1, 0)
    shown = dataset.frames(number, [moment])[0]
    items = []
    for kind, photo in zip(PHOTOS, (int(far[gap[far].argmin()]), int(far[int(np.argmax(teeth))])), strict=True):
        corner = face_crop_corner(lips[photo] + nose[moment] - nose[photo])
        shift, pair = corner.astype(np.float32), [before, moment]
        items.append(
            Item(
                photo=_cut(frames[photo], corner),
                real=_cut(shown, corner),
                photo_lips=lips[photo] - shift,
                lips=lips[pair] - shift,
                photo_nose=nose[photo] - shift,
                noses=nose[pair] - shift,
                kind=kind,
            )
        )
    return items


def _teeth(frame: np.ndarray, lips: np.ndarray) -> int:
    """Pixels of teeth in a frame."""
    content = mouth_content(frame, lips, reference(frame, lips))
    return round(content.teeth * content.pixels)


def _cut(picture: np.ndarray, corner: np.ndarray) -> np.ndarray:
    left, top = corner
    return np.ascontiguousarray(picture[top : top + HEIGHT, left : left + WIDTH])


def _tensor(pictures: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
