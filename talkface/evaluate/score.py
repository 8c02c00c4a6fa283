"""Scores one clip: real frames against the frames of each row, in blocks, so that a clip may be of any length.

Shapes: N frames of a block, T of the clip. Frames are uint8 RGB (256, 256, 3), aligned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from talkface.face.find import FLAG_WANTED, FaceFinder
from talkface.face.landmarks import eye_distance, lips, mouth_opening, to_68
from talkface.metrics.correlation import correlation_sums
from talkface.metrics.cpbd import cpbd
from talkface.metrics.lmd import MOUTH_68, collapsed_mouth_distance, landmark_distance
from talkface.metrics.mutual_information import information_sums, other_moments
from talkface.metrics.psnr import psnr, psnr_lineage
from talkface.metrics.ssim import ssim
from talkface.metrics.sync import lag_sums
from talkface.model.amie import StatisticsNetwork
from talkface.model.inference import with_audio_context

BLOCK = 32  # frames scored together
PICTURE_METRICS = {"psnr": psnr, "psnr_lineage": psnr_lineage, "ssim": ssim}
LANDMARK_METRICS = {"lmd", "mouth_r", "sync"}


@dataclass
class RowFrames:
    """Where a row's frames come from."""

    frames: Iterable[np.ndarray]
    """At least as many as the real clip has."""

    still: bool = False
    """All frames are one: what depends on it alone is computed once."""

    energy: np.ndarray | None = None
    """Log speech energy of each frame (T,), for `sync`."""


@dataclass
class ClipScore:
    """What one clip adds to one row."""

    clip: str
    speaker: str
    row: str
    frames: int
    lost: int
    """Generated frames in which no face was found."""

    real_lost: int
    """Real frames in which no face was found; landmark metrics leave them out, there being nothing to compare with."""

    sums: dict[str, np.ndarray]
    """By name: the sums that `columns` turns into scores."""

    curves: dict[str, np.ndarray] = field(default_factory=dict)
    """Per frame: opening, real_opening, lmd; kept only where a caller asks for them."""


class Mouths(NamedTuple):
    """The mouths of N frames."""

    points: np.ndarray
    """(N, 20, 2) aligned px."""
    opening: np.ndarray
    """(N,) over eye distance."""
    eyes: np.ndarray
    """(N,) distance of the eye centres in px."""
    seen: np.ndarray
    """(N,) bool: a face was found."""


class Scorer:
    """The metrics that are wanted, and the networks that they need.

    Args:
        metrics: names of `config.METRICS`.
        finder: gives landmarks of real and generated frames by the same path, so that its bias cancels.
        estimator: AMIE's T, where `mi` is wanted.
        device: where T is.
        seed: of the partners of `mi`.
    """

    def __init__(
        self,
        metrics: tuple[str, ...],
        finder: FaceFinder | None,
        estimator: StatisticsNetwork | None = None,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        self.metrics, self.finder, self.estimator, self.device, self.seed = metrics, finder, estimator, device, seed
        self.landmarks = bool(LANDMARK_METRICS & set(metrics))

    def score(
        self,
        name: str,
        speaker: str,
        real: Iterable[np.ndarray],
        rows: dict[str, RowFrames],
        windows: np.ndarray | None = None,
        keep_curves: bool = False,
    ) -> list[ClipScore]:
        """Score every row of one clip against its real frames.

        Args:
            name: of the clip.
            speaker: of the clip, "" where unknown.
            real: the clip's T frames.
            rows: the rows by name.
            windows: float32 (T, 20, 13), the clip's own speech, for `mi`.
            keep_curves: leave the per-frame curves in the result.

        Returns:
            One score for each row, in their order.
        """
        truth = _Track(self, still=False)
        tracks = {row: _Track(self, source.still) for row, source in rows.items()}
        streams = {row: iter(source.frames) for row, source in rows.items()}
        real = iter(real)
        while block := list(islice(real, BLOCK)):
            frames = np.stack(block)
            truth.look_at(frames)
            for row, stream in streams.items():
                fake = np.stack(list(islice(stream, len(frames))))
                tracks[row].look_at(fake)
                tracks[row].compare(frames, fake, truth)
        sound = self._encode_sound(windows)
        scores = []
        for row, track in tracks.items():
            sums = track.sums(truth, rows[row].energy, sound)
            curves = track.curves(truth) if keep_curves else {}
            lost, real_lost = (int((~t.all("seen")).sum()) if self.landmarks else 0 for t in (track, truth))
            scores.append(ClipScore(name, speaker, row, truth.frames, lost, real_lost, sums, curves))
        return scores

    def mouths(self, frames: np.ndarray) -> Mouths:
        """Mouth points, opening, eye distance and whether a face was seen, of aligned frames (N, 256, 256, 3)."""
        points, flags = self.finder.landmarks_aligned(frames)
        eyes = eye_distance(points)
        seen = (flags >= FLAG_WANTED) & (eyes > 1)
        opening = mouth_opening(lips(points), np.maximum(eyes, 1))
        return Mouths(to_68(points)[:, MOUTH_68], np.where(seen, opening, 0.0), eyes, seen)

    @torch.inference_mode()
    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        """T's features of the frames' windows, float32 (N, D)."""
        x, y, side = self.estimator.config.window
        crops = np.ascontiguousarray(frames[:, y : y + side, x : x + side])
        pictures = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float() / 255
        return self.estimator.encode_frame(pictures).cpu().numpy()

    @torch.inference_mode()
    def _encode_sound(self, windows: np.ndarray | None) -> np.ndarray | None:
        if "mi" not in self.metrics or windows is None:
            return None
        stream, encoded = with_audio_context(windows, self.estimator.config.audio_offsets), []
        while block := list(islice(stream, 256)):
            encoded.append(self.estimator.audio_encoder(torch.from_numpy(np.stack(block)).to(self.device)).cpu())
        return torch.cat(encoded).numpy()

    @torch.inference_mode()
    def information(self, image: np.ndarray, sound: np.ndarray) -> np.ndarray:
        """The sums of `mi` for T frames with their sound, both encoded."""
        partner = other_moments(len(image), self.seed)
        image_TD, sound_TD = (torch.from_numpy(x).to(self.device) for x in (image, sound))
        joint = self.estimator.score(image_TD, sound_TD).cpu().numpy()
        marginal = self.estimator.score(image_TD, sound_TD[partner]).cpu().numpy()
        return information_sums(joint, marginal)


class _Track:
    """What has been seen of one stream of frames so far: per-frame values in blocks, no pictures."""

    def __init__(self, scorer: Scorer, still: bool) -> None:
        self.scorer, self.still, self.frames = scorer, still, 0
        self.values: dict[str, list[np.ndarray]] = defaultdict(list)
        self._once: dict[str, np.ndarray] = {}

    def look_at(self, frames: np.ndarray) -> None:
        """What frames show by themselves."""
        self.frames += len(frames)
        once = frames[:1] if self.still else frames
        if not (self.still and self._once):
            self._once = self._alone(once)
        for name, value in self._once.items():
            self.values[name].append(np.repeat(value, len(frames), axis=0) if self.still else value)

    def _alone(self, frames: np.ndarray) -> dict[str, np.ndarray]:
        found = {}
        if self.scorer.landmarks:
            found |= self.scorer.mouths(frames)._asdict()
        if "cpbd" in self.scorer.metrics:
            found["cpbd"] = cpbd(frames)
        if "mi" in self.scorer.metrics:
            found["image"] = self.scorer.encode_frames(frames)
        return found

    def compare(self, real: np.ndarray, fake: np.ndarray, truth: _Track) -> None:
        """What frames are worth beside the real ones, which `truth` has looked at just before."""
        for name, metric in PICTURE_METRICS.items():
            if name in self.scorer.metrics:
                self.values[name].append(metric(real, fake))
        if self.scorer.landmarks:
            theirs, ours = truth.values["points"][-1], self.values["points"][-1]
            distance = landmark_distance(theirs, ours)
            failed = ~self.values["seen"][-1]
            distance[failed] = collapsed_mouth_distance(theirs)[failed]
            self.values["lmd"].append(distance)

    def all(self, name: str) -> np.ndarray:
        """One value for each frame so far."""
        return np.concatenate(self.values[name])

    def sums(self, truth: _Track, energy: np.ndarray | None, sound: np.ndarray | None) -> dict[str, np.ndarray]:
        """What this clip adds to the scores of its row."""
        metrics = self.scorer.metrics
        sums = {name: _mean_sums(self.all(name)) for name in PICTURE_METRICS if name in metrics}
        if "cpbd" in metrics:
            sums |= {"cpbd": _mean_sums(self.all("cpbd")), "cpbd_real": _mean_sums(truth.all("cpbd"))}
        if sound is not None:
            sums["mi"] = self.scorer.information(self.all("image"), sound)
            sums["mi_real"] = self.scorer.information(truth.all("image"), sound)
        return sums | self._mouth_sums(truth, energy) if self.scorer.landmarks else sums

    def _mouth_sums(self, truth: _Track, energy: np.ndarray | None) -> dict[str, np.ndarray]:
        seen, opening = truth.all("seen"), self.all("opening")
        distance, eyes = self.all("lmd")[seen], truth.all("eyes")[seen]
        sums = {"lmd": _mean_sums(distance), "lmd_iod": _mean_sums(100 * distance / eyes), "mouth": np.zeros(3)}
        if seen.any():
            sums["mouth"] = correlation_sums(truth.all("opening")[seen], opening[seen])
        if energy is not None:
            sums["sync"] = lag_sums(opening, energy[: len(opening)])
        return sums

    def curves(self, truth: _Track) -> dict[str, np.ndarray]:
        """Per-frame curves for the figures."""
        if not self.scorer.landmarks:
            return {}
        return {"opening": self.all("opening"), "real_opening": truth.all("opening"), "lmd": self.all("lmd")}


def _mean_sums(values: np.ndarray) -> np.ndarray:
    return np.array([values.sum(), len(values)], np.float64)
