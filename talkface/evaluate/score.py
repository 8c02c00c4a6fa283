"""Scores one clip: real frames against the frames of each row, block by block, so that a clip may be of any length.

Shapes: N frames of a block, T of the clip. Frames are uint8 RGB (256, 256, 3), aligned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from talkface.device import pick_device
from talkface.evaluate.config import ScoringOptions
from talkface.evaluate.mouths import OPEN, MouthJudge, RealMouths
from talkface.face.find import MIN_FACE_FLAG, FaceFinder
from talkface.face.landmarks import eye_distance, lips, mouth_opening, to_68
from talkface.metrics.correlation import correlation_sums
from talkface.metrics.cpbd import cpbd
from talkface.metrics.lmd import MOUTH_68, collapsed_mouth_distance, landmark_distance
from talkface.metrics.lse import SyncNet, embed, face_crops, load_syncnet, lse
from talkface.metrics.mutual_information import MutualInformation, load_mutual_information
from talkface.metrics.psnr import psnr, psnr_lineage
from talkface.metrics.ssim import ssim
from talkface.metrics.sync import energy_of_windows, lag_sums, mel_decibels, steps_to_frames
from talkface.model.lips import CLOSED

BLOCK = 32  # frames scored together
PICTURE_METRICS = {"psnr": psnr, "psnr_lineage": psnr_lineage, "ssim": ssim}
LANDMARK_METRICS = {"lmd", "mouth_r", "opening", "sync"}


@dataclass
class RowFrames:
    """The frames of one row."""

    frames: Iterable[np.ndarray]
    """At least as many as the real clip has."""

    static: bool = False
    """All frames are the same, so values that need only one frame are computed once."""


@dataclass
class ClipSound:
    """The sound of a clip. Metrics whose input is None are left out."""

    windows: np.ndarray | None = None
    """float32 (T, 20, 13): the MFCC windows of the frames, for `mi`, and for `sync` if there is no `energy`."""

    energy: np.ndarray | None = None
    """(steps,) log speech energy every 10 ms from the first frame on, in dB, for `sync`."""

    mfcc: np.ndarray | None = None
    """float32 (steps, 13) every 10 ms from the first frame on, for the spectrograms of the figures."""

    def frame_energy(self, frames: int) -> np.ndarray | None:
        """Log speech energy during each frame, float64 (frames,) in dB."""
        if self.energy is not None:
            return steps_to_frames(self.energy, frames)
        return None if self.windows is None else energy_of_windows(self.windows)[:frames]

    def spectrogram(self) -> np.ndarray | None:
        """float64 (steps, 26): mel bands in dB."""
        return None if self.mfcc is None else mel_decibels(self.mfcc)


@dataclass
class ClipScore:
    """The sums that one clip adds to one row."""

    clip: str
    speaker: str
    row: str
    frames: int
    lost: int
    """Number of generated frames in which no face was found."""

    real_lost: int
    """Number of real frames in which no face was found. Landmark metrics leave these frames out."""

    sums: dict[str, np.ndarray]
    """By name: the sums from which `metrics_table.COLUMNS` computes the scores."""

    features: dict[str, np.ndarray] = field(default_factory=dict)
    """float16 (n, D) of the judged mouths: "real" and "fake", for `mouth_kid`. Empty if no mouth was judged."""

    curves: dict[str, np.ndarray] = field(default_factory=dict)
    """(T,) by name: opening, real_opening (over eye distance) and lmd (px). Empty unless they were asked for."""


class Mouths(NamedTuple):
    """The mouths of N frames."""

    points: np.ndarray
    """(N, 20, 2) aligned px."""
    lips: np.ndarray
    """(N, 40, 2) aligned px."""
    opening: np.ndarray
    """(N,) over eye distance."""
    eyes: np.ndarray
    """(N,) distance of the eye centres in px."""
    found: np.ndarray
    """(N,) bool: whether a face was found."""


class Scorer:
    """Computes metrics, and holds the networks that they need.

    Args:
        metrics: some of `config.METRICS`.
        finder: finds the landmarks of real and generated frames in the same way, so that its bias cancels.
        information: for `mi`.
        syncnet: for `lse`.
        device: where SyncNet is.
        judge: for `mouth`.
    """

    def __init__(
        self,
        metrics: tuple[str, ...],
        finder: FaceFinder,
        information: MutualInformation | None = None,
        syncnet: SyncNet | None = None,
        device: torch.device | str = "cpu",
        judge: MouthJudge | None = None,
    ) -> None:
        self.metrics, self.finder, self.information = metrics, finder, information
        self.syncnet, self.device, self.judge = syncnet, torch.device(device), judge
        self.landmarks = bool(LANDMARK_METRICS & set(metrics))

    def score(
        self,
        name: str,
        speaker: str,
        real: Iterable[np.ndarray],
        rows: Mapping[str, RowFrames],
        sound: ClipSound | None = None,
        keep_curves: bool = False,
        photo: int | None = None,
    ) -> list[ClipScore]:
        """Score every row of one clip against its real frames.

        Args:
            name: name of the clip.
            speaker: speaker of the clip, "" if unknown.
            real: the T frames of the clip.
            rows: the rows by name.
            sound: sound of the clip.
            keep_curves: keep the per-frame curves in the result; landmarks are found even if no metric needs them.
            photo: the frame that serves as the photo; PSNR, SSIM and `mouth` leave it out. None: there is none.

        Returns:
            One score for each row, in the same order.
        """
        sound = sound or ClipSound()
        landmarks = self.landmarks or keep_curves
        truth = _Track(self, landmarks or self.judge is not None)
        tracks = {row: _Track(self, landmarks, source.static) for row, source in rows.items()}
        streams = {row: iter(source.frames) for row, source in rows.items()}
        real = iter(real)
        while block := list(islice(real, BLOCK)):
            frames = np.stack(block)
            truth.measure(frames)
            mouths = truth.judge_own(frames, photo)
            for row, stream in streams.items():
                fake = np.stack(list(islice(stream, len(frames))))
                tracks[row].measure(fake)
                tracks[row].compare(frames, fake, truth)
                tracks[row].judge(fake, mouths)
        energy = sound.frame_energy(truth.frames) if "sync" in self.metrics else None
        speech = None
        if self.information is not None and sound.windows is not None:
            speech = self.information.encode_speech(sound.windows)
        return [
            ClipScore(
                name,
                speaker,
                row,
                truth.frames,
                track.lost if self.landmarks else 0,
                truth.lost if self.landmarks or self.judge is not None else 0,
                track.sums(truth, energy, speech, photo),
                track.features(truth),
                track.curves(truth) if keep_curves else {},
            )
            for row, track in tracks.items()
        ]

    def mouths(self, frames: np.ndarray) -> Mouths:
        """Mouth points, opening, eye distance and whether a face was found, of aligned frames (N, 256, 256, 3)."""
        points, flags = self.finder.landmarks_aligned(frames)
        eyes = eye_distance(points)
        found = (flags >= MIN_FACE_FLAG) & (eyes > 1)
        opening = mouth_opening(lips(points), np.maximum(eyes, 1))
        return Mouths(to_68(points)[:, MOUTH_68], lips(points), np.where(found, opening, 0.0), eyes, found)

    def lse_sums(
        self, frames: Iterable[np.ndarray], transforms: np.ndarray, sound: np.ndarray
    ) -> dict[str, np.ndarray]:
        """LSE of a video and its own sound, as sums over videos.

        Args:
            frames: frames of the video at 25 fps, uint8 RGB (H, W, 3).
            transforms: float64 (T, 2, 3), pixels of the frame to pixels of the aligned face.
            sound: (samples,) mono at 16 kHz, in 16-bit units.

        Returns:
            Sums by column; empty without SyncNet and for a video that is too short.
        """
        if self.syncnet is None:
            return {}
        pictures, sounds = embed(self.syncnet, face_crops(frames, transforms), sound, self.device)
        if not len(pictures):
            return {}
        names = ("lse_d", "lse_c", "lse_offset")
        return {name: np.array([value, 1.0]) for name, value in zip(names, lse(pictures, sounds), strict=True)}


class _Track:
    """The values of one stream of frames so far, one per frame, in blocks; the pictures are not kept."""

    def __init__(self, scorer: Scorer, landmarks: bool, static: bool = False) -> None:
        self.scorer, self.landmarks, self.static, self.frames = scorer, landmarks, static, 0
        self.opened = 0  # frames so far whose mouth is open enough to be judged
        self.values: dict[str, list[np.ndarray]] = defaultdict(list)
        self._of_frames: dict[str, np.ndarray] = {}

    @property
    def lost(self) -> int:
        """Number of frames in which no face was found."""
        return int((~self.all("found")).sum())

    def measure(self, frames: np.ndarray) -> None:
        """Add the values that need only these frames."""
        self.frames += len(frames)
        if not (self.static and self._of_frames):
            self._of_frames = self._values_of(frames[:1] if self.static else frames)
        for name, value in self._of_frames.items():
            self.values[name].append(np.repeat(value, len(frames), axis=0) if self.static else value)

    def _values_of(self, frames: np.ndarray) -> dict[str, np.ndarray]:
        values: dict[str, np.ndarray] = {}
        if self.landmarks:
            values |= self.scorer.mouths(frames)._asdict()
        if "cpbd" in self.scorer.metrics:
            values["cpbd"] = cpbd(frames)
        if self.scorer.information is not None:
            values["image"] = self.scorer.information.encode_frames(frames)
        return values

    def compare(self, real: np.ndarray, fake: np.ndarray, truth: _Track) -> None:
        """Add the values that compare frames with the real ones, after `measure` of both."""
        for name, metric in PICTURE_METRICS.items():
            if name in self.scorer.metrics:
                self.values[name].append(metric(real, fake))
        if self.landmarks:
            theirs, ours = truth.values["points"][-1], self.values["points"][-1]
            distance = landmark_distance(theirs, ours)
            failed = ~self.values["found"][-1]
            distance[failed] = collapsed_mouth_distance(theirs)[failed]
            self.values["lmd"].append(distance)

    def judge_own(self, frames: np.ndarray, photo: int | None) -> RealMouths | None:
        """Choose the mouths of a block of real frames that are to be judged, and judge them, after `measure`."""
        if self.scorer.judge is None:
            return None
        gap = self.values["opening"][-1] * self.values["eyes"][-1]
        gap = np.where(np.arange(self.frames - len(frames), self.frames) == photo, 0, gap)
        mouths = self.scorer.judge.real_mouths(frames, self.values["lips"][-1], gap, self.opened)
        self.opened += int((gap > OPEN).sum())
        self.judge(frames, mouths)
        return mouths

    def judge(self, frames: np.ndarray, mouths: RealMouths | None) -> None:
        """Add what these frames show between the lips of the real ones."""
        if self.scorer.judge is not None and mouths is not None:
            for name, value in self.scorer.judge.judge(frames, mouths).items():
                self.values[name].append(value)

    def all(self, name: str) -> np.ndarray:
        """(T, ...): the value of each frame so far."""
        return np.concatenate(self.values[name])

    def sums(
        self, truth: _Track, energy: np.ndarray | None, speech: np.ndarray | None, photo: int | None = None
    ) -> dict[str, np.ndarray]:
        """The sums that this clip adds to the scores of its row.

        Args:
            truth: the real frames.
            energy: (T,) log speech energy; None leaves `sync` out.
            speech: (T, D) from `MutualInformation.encode_speech`; None leaves `mi` out.
            photo: the frame that the picture metrics leave out.
        """
        metrics, information = self.scorer.metrics, self.scorer.information
        counted = np.array([number != photo for number in range(self.frames)])
        sums = {name: _mean_sums(self.all(name)[counted]) for name in PICTURE_METRICS if name in metrics}
        if "cpbd" in metrics:
            sums |= {"cpbd": _mean_sums(self.all("cpbd")), "cpbd_real": _mean_sums(truth.all("cpbd"))}
        if information is not None and speech is not None:
            sums |= information.sums(self.all("image"), speech)
            sums |= {f"{name}_real": value for name, value in information.sums(truth.all("image"), speech).items()}
        if self.scorer.judge is not None:
            sums["mouth_content"] = self._content_sums(truth)
        return sums | self._landmark_sums(truth, energy) if self.scorer.landmarks else sums

    def features(self, truth: _Track) -> dict[str, np.ndarray]:
        """The features of the judged mouths, for the kernel distance over all clips."""
        if not self.values["mouth_features"]:
            return {}
        return {"real": truth.all("mouth_features"), "fake": self.all("mouth_features")}

    def _content_sums(self, truth: _Track) -> np.ndarray:
        """Number of judged frames; teeth, darkness and sharpness of the real ones, then of the generated ones, (7,)."""
        if not self.values["mouth_content"]:
            return np.zeros(7)
        real, fake = truth.all("mouth_content"), self.all("mouth_content")
        return np.array([len(real), *real.sum(0), *fake.sum(0)])

    def _landmark_sums(self, truth: _Track, energy: np.ndarray | None) -> dict[str, np.ndarray]:
        found, opening = truth.all("found"), self.all("opening")
        distance, eyes = self.all("lmd")[found], truth.all("eyes")[found]
        sums = {"lmd": _mean_sums(distance), "lmd_iod": _mean_sums(100 * distance / eyes), "mouth": np.zeros(3)}
        openings = truth.all("opening")[found], opening[found]
        totals = (float(value) for one in openings for value in (one.sum(), (one < CLOSED).sum()))
        sums["opening"] = np.array([found.sum(), *totals])
        if found.any():
            sums["mouth"] = correlation_sums(*openings)
        if energy is not None:
            sums["sync"] = lag_sums(opening, energy)
        return sums

    def curves(self, truth: _Track) -> dict[str, np.ndarray]:
        """Per-frame curves for the figures."""
        return {"opening": self.all("opening"), "real_opening": truth.all("opening"), "lmd": self.all("lmd")}


def _mean_sums(values: np.ndarray) -> np.ndarray:
    return np.array([values.sum(), len(values)], np.float64)


def build_scorer(options: ScoringOptions) -> Scorer:
    """Load the networks of the requested metrics.

    Raises:
        TalkfaceError: weights are missing or broken, or there is no such device.
    """
    metrics, device = options.wanted, pick_device(options.device)
    return Scorer(
        metrics,
        FaceFinder(device),
        load_mutual_information(options.estimator, device) if "mi" in metrics else None,
        load_syncnet(options.syncnet, device) if "lse" in metrics and options.syncnet is not None else None,
        device,
        MouthJudge(device) if "mouth" in metrics else None,
    )
