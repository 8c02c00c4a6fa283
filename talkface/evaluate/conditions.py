"""The frames of each row of a data set's table.

still         the static-photo baseline: the photo, repeated
wrong_sound   the mismatched-audio baseline: the generator with the speech of another clip
model         the generator with the speech of the clip
true_lips     the generator with the real lips in place of those that it predicts from the speech
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import repeat
from pathlib import Path

import numpy as np
import torch

from talkface.config import data_root
from talkface.data.clip import Clip
from talkface.data.faces import aligned_face
from talkface.data.reader import WHERE_TO_GET, ClipDataset, evenly_spaced, open_dataset
from talkface.data.speech import clip_features
from talkface.evaluate.score import ClipSound, RowFrames
from talkface.face.landmarks import mouth_opening, nose_base
from talkface.model.checkpoint import AnyGenerator, load_generator, weights_hash
from talkface.model.inference import AlignedFace, generate_frames
from talkface.model.paper import PaperGenerator
from talkface.model.recogniser import load_speech_encoder
from talkface.model.talking import animate, takes_mfcc


class Conditions:
    """Clips, and the frames that each row shows of them.

    Args:
        clips: the clips to score.
        generators: by row name: "model" and, for ablation strips, more. Empty if only "still" is needed.
        identity: which frame of a clip is the photo, as in `identity_frame`.
        seed: seed of random identity frames and of mismatched audio.
        device: where the generators are.
    """

    def __init__(
        self,
        clips: ClipDataset,
        generators: Mapping[str, AnyGenerator],
        identity: str = "first",
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.clips, self.generators = clips, generators
        self.identity, self.seed, self.device = identity, seed, device
        recogniser = any(not takes_mfcc(generator) for generator in generators.values())
        self.encoder = load_speech_encoder(device=device) if recogniser else None
        self.donors = mismatched_audio(clips.clip_speakers, seed)

    @property
    def takes_lips(self) -> bool:
        """Whether the model can be given lips; the paper's generator cannot."""
        return not isinstance(self.generators.get("model"), PaperGenerator)

    def photo(self, number: int, clip: Clip) -> int:
        """The index of the frame of clip `number` that serves as the photo."""
        return identity_frame(clip, self.identity, self.seed + number)

    def rows(self, number: int, clip: Clip, names: Iterable[str]) -> dict[str, RowFrames]:
        """The rows of one clip, by name and in order.

        Args:
            number: index of the clip.
            clip: the clip.
            names: "still", "wrong_sound", "true_lips" and names of generators. "wrong_sound" is left out if there is no
                other clip, and "true_lips" if the model takes no lips.
        """
        face = aligned_face(clip, self.photo(number, clip))
        rows = {}
        for name in names:
            if name == "still":
                rows[name] = RowFrames(repeat(face.face), static=True)
            elif name == "true_lips":
                if self.takes_lips:
                    rows[name] = RowFrames(self._with_true_lips(face, clip))
            elif name != "wrong_sound":
                rows[name] = RowFrames(self._generate(name, face, clip))
            elif self.donors[number] != number:
                rows[name] = RowFrames(self._generate("model", face, self.clips[self.donors[number]], len(clip)))
        return rows

    def _generate(self, name: str, face: AlignedFace, sound: Clip, frames: int | None = None) -> Iterator[np.ndarray]:
        """The face with the sound of a clip, cut or repeated to a number of frames."""
        generator = self.generators[name]
        features = clip_features(sound, None if takes_mfcc(generator) else self.encoder)
        if frames is not None:
            features = tile(features, frames)
        return (frame.face for frame in animate(generator, face, features))

    def _with_true_lips(self, face: AlignedFace, clip: Clip) -> Iterator[np.ndarray]:
        """The face with the lips of each real frame, moved to where the head of the photo is."""
        noses = nose_base(clip.points68)
        lips = clip.lips.astype(np.float32) - (noses - face.nose)[:, None]
        generator = self.generators["model"]
        assert not isinstance(generator, PaperGenerator)
        return (frame.face for frame in generate_frames(generator, face, lips))


def open_clips(
    data: str | Path | None, split: str, limit: int | None, on_note: Callable[[str], None]
) -> tuple[str, ClipDataset]:
    """The name of a data set and its clips to score.

    Args:
        data: name or folder; None takes lrw, else grid, else the bundled sample.
        split: train, val or test.
        limit: take only this many clips, evenly spaced over the split.
        on_note: called with the choice that was made for `data` None, and with how to get the others.

    Raises:
        TalkfaceError: there is no such data set, or the split is empty.
    """
    if data is None:
        present = [known for known in WHERE_TO_GET if (data_root() / known / "dataset.json").is_file()]
        data = present[0] if present else "sample"
        on_note(f"--data is not given: {data}, split {split}.")
        if not present:
            on_note("The sample is a few clips that come with talkface: its figures are a first look, not a benchmark.")
        for name, where in WHERE_TO_GET.items():
            if name not in present:
                on_note(f"{where} Then run: talkface preprocess --data {name} --source DIR")
    clips = open_dataset(data, split)
    if limit is not None and limit < len(clips):
        clips = clips.select(evenly_spaced(len(clips), limit))
    return Path(data).resolve().name, clips


def load_generators(files: Mapping[str, Path | None], device: torch.device) -> dict[str, AnyGenerator]:
    """The generators in these files, by name; None is the bundled one.

    Raises:
        TalkfaceError: a file is missing or broken.
    """
    return {name: load_generator(file, device) for name, file in files.items()}


def describe_weights(file: Path | None) -> str:
    """Name and SHA-256 of a generator's weights; None is the bundled one."""
    return f"{Path(file or 'generator.safetensors').name} sha256 {weights_hash(file)}"


def clip_sound(clip: Clip) -> ClipSound:
    """What metrics and figures need of the sound of a clip."""
    return ClipSound(windows=clip.mfcc, mfcc=clip.mfcc_steps[clip.lead_steps :])


def mismatched_audio(speakers: list[str], seed: int) -> list[int]:
    """For each clip another clip whose speech it gets, of another speaker if possible.

    The speech of each clip is used once. The clips are shuffled by the seed, sorted by speaker, and rotated by the
    number of clips of the most frequent speaker. If that speaker has more than half of the clips, some of them get
    speech of the same speaker.

    Args:
        speakers: the speaker of each clip.
        seed: seed of the shuffle.

    Returns:
        For each clip the index of the other clip. A single clip gets its own index.
    """
    order = np.random.default_rng(seed).permutation(len(speakers)).tolist()
    order.sort(key=lambda clip: speakers[clip])
    largest = max((speakers.count(name) for name in set(speakers)), default=0)
    shift = largest if largest < len(order) else 1
    donors = [0] * len(order)
    for place, clip in enumerate(order):
        donors[clip] = order[(place + shift) % len(order)]
    return donors


def tile(features: np.ndarray, frames: int) -> np.ndarray:
    """Speech that is cut or repeated to a length: (T, ...) -> (frames, ...)."""
    return features[np.arange(frames) % len(features)]


def identity_frame(clip: Clip, how: str, seed: int) -> int:
    """The index of the frame of a clip that serves as the photo.

    Args:
        clip: the clip.
        how: first, closest-mouth (the most closed mouth) or random.
        seed: seed of random.
    """
    if how == "closest-mouth":
        eyes = np.linalg.norm(clip.eyes[:, 1] - clip.eyes[:, 0], axis=1)
        return int(mouth_opening(clip.lips, eyes).argmin())
    return int(np.random.default_rng(seed).integers(len(clip))) if how == "random" else 0
