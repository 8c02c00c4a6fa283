"""What a render did: its report, and the same in values that JSON can hold, for the file of `--json`."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from talkface._version import __version__
from talkface.config import weights_dir
from talkface.device import torch_threads
from talkface.files import sha256
from talkface.graphs import thread_count
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.model.onnx_engine import OnnxGenerator

if TYPE_CHECKING:
    from talkface.dubbing.prepare import VideoScene
    from talkface.model.checkpoint import AnyGenerator
    from talkface.photo_scene import PhotoScene

OPTIONS = (
    "crf",
    "crop",
    "max_size",
    "mark",
    "seed",
    "expression",
    "motion",
    "blink",
    "landmarks",
    "track",
    "loop",
    "keep_sound",
    "c2pa",
    "label",
    "burn_subtitles",
)
LIBRARIES = ("torch", "onnxruntime", "numpy", "safetensors")


@dataclass
class Report:
    """What `render` did."""

    out: Path
    """The video."""
    frames: int
    width: int
    height: int
    seconds: dict[str, float]
    """Time per stage: photo or video (the first pass), speech, weights, frames, encoding; and total. Paste-back and the
    encoder run beside the network: "frames" is the network's time, and "encoding" is what it waited for them."""
    notes: list[str] = field(default_factory=list)
    """What the user should know, for example which of several faces was used."""
    manifest: dict[str, Any] = field(default_factory=dict)
    """The content of the --json file; empty without one, because the hashes in it take time."""
    frames_without_face: int = 0
    """Frames that keep the picture of a dubbed video, because they have no face that can be animated."""

    @property
    def frames_per_second(self) -> float:
        """Frames generated, pasted back and encoded per second, not counting the time before the first frame."""
        return self.frames / max(self.seconds["frames"] + self.seconds["encoding"], 1e-9)


def describe(
    report: Report, scene: PhotoScene | VideoScene, inputs: Mapping[str, tuple[str | Path, Path | None]]
) -> dict[str, Any]:
    """Describe what was done.

    Args:
        report: of the render.
        scene: what was rendered.
        inputs: for each input its name, as it was given, and the file that was read; None for a live sound.
    """
    files = {kind: _described(name, file) for kind, (name, file) in inputs.items()}
    audio = {"seconds": scene.speech.duration, "level_db": round(scene.speech.level_db, 1), "track": scene.speech.track}
    options = {"fps": str(scene.rate)} | {name: getattr(scene.options, name) for name in OPTIONS}
    return {
        "talkface": __version__,
        "out": _described(report.out, report.out if report.out.is_file() else None),
        scene.kind: files[scene.kind],
        "speech": files["speech"] | audio,
        "weights": _weights(scene.options.weights),
        "face": scene.face.to_dict(),
        "options": options,
        "backend": scene.backend.name,
        "device": scene.backend.device,
        "threads": thread_count() if scene.backend.name == "onnx" else torch_threads(),
        "frames": report.frames,
        "width": report.width,
        "height": report.height,
        "seconds": {stage: round(value, 3) for stage, value in report.seconds.items()},
        "frames_per_second": round(report.frames_per_second, 2),
        "notes": report.notes,
        "versions": {"python": platform.python_version(), "opencv": cv2.__version__}
        | {name: metadata.version(name) for name in LIBRARIES},
        "ffmpeg": ffmpeg_exe(),
        "platform": platform.platform(),
    }


def _described(name: str | Path, file: Path | None) -> dict[str, str]:
    return {"path": str(name)} | ({} if file is None else {"sha256": sha256(file)})


def _weights(weights: str | Path | AnyGenerator | OnnxGenerator | None) -> dict[str, str]:
    """Path and SHA-256 of the generator's weights."""
    if isinstance(weights, OnnxGenerator):
        weights = weights.weights
    if weights is not None and not isinstance(weights, str | Path):
        return {"path": "a Generator in memory"}
    file = Path(weights) if weights else weights_dir() / "generator.safetensors"
    return {"path": str(weights or "bundled"), "sha256": sha256(file)}
