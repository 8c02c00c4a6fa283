"""`talkface doctor`: checks an installation and makes a video of one second, to find out why something does not work.

Every check reports what it has found or what to do; a failed check does not end the others. Nothing heavy is imported
at the top, so that a broken package is a finding and not a traceback.
"""

from __future__ import annotations

import importlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from talkface._version import __version__
from talkface.config import FPS, SOUND_RATE, cache_dir, data_root, weights_dir
from talkface.errors import TalkfaceError
from talkface.files import sha256

PACKAGES = ("torch", "numpy", "scipy", "opencv-python-headless", "librosa", "safetensors", "pillow", "imageio-ffmpeg")
MODULES = {"opencv-python-headless": "cv2", "pillow": "PIL", "imageio-ffmpeg": "imageio_ffmpeg"}
EXTRAS = {"fan": "face-alignment", "heic": "pillow-heif", "figures": "matplotlib", "ray": "ray"}
EXTRAS |= {"tensorboard": "tensorboard", "c2pa": "c2pa-python", "text": "espeakng-loader", "ui": "fastapi"}
ENCODERS = ("libx264", "aac")
LOW_DISK = 500 << 20  # bytes
SELF_TEST_CLIP = "s2/pwij3p"
REINSTALL = "pip install --force-reinstall talkface, or in a clone: git checkout weights"


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    found: str
    """What was found, or what is wrong."""
    fix: str = ""
    """What to do; "" if all is well."""
    ok: bool = True


def examine() -> Iterator[Check]:
    """Run all checks, the fast ones first, and yield the result of each as soon as it is known."""
    for check in (_versions, _packages, _extras, _device, _ffmpeg, _weights, _cache, _disk, _data, _self_test):
        yield from _guarded(check)


def _guarded(check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    name = check.__name__.strip("_").replace("_", "-")
    try:
        yield from check()
    except TalkfaceError as error:
        yield Check(name, str(error), error.fix or "See the message.", ok=False)
    except Exception as error:  # whatever is wrong with the machine must become a line of the report
        yield Check(name, f"{type(error).__name__}: {error}", "Reinstall talkface, or report this.", ok=False)


def _versions() -> Iterator[Check]:
    yield Check("talkface", f"{__version__}, {Path(__file__).parent}")
    yield Check("python", f"{platform.python_version()}, {sys.executable}, {platform.platform()}")


def _packages() -> Iterator[Check]:
    versions, broken = [], []
    for name in PACKAGES:
        try:
            importlib.import_module(MODULES.get(name, name))
            versions.append(f"{name} {_version_of(name)}")
        except (ImportError, OSError) as error:
            broken.append(f"{name} cannot be imported ({error})")
    if broken:
        names = " ".join(text.split()[0] for text in broken)
        yield Check("packages", "; ".join(broken), f"pip install --force-reinstall {names}", ok=False)
    else:
        yield Check("packages", ", ".join(versions))


def _version_of(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # opencv has several distributions of one module
        return str(getattr(importlib.import_module(MODULES.get(name, name)), "__version__", "of unknown version"))


def _extras() -> Iterator[Check]:
    there = []
    for extra, name in EXTRAS.items():
        try:
            there.append(f"{extra} ({name} {metadata.version(name)})")
        except metadata.PackageNotFoundError:
            continue
    yield Check("extras", ", ".join(there) or "none")


def _device() -> Iterator[Check]:
    import torch

    from talkface.device import cores, pick_device
    from talkface.model.backend import choose_backend

    device = pick_device("auto")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    backend = choose_backend("auto", "auto", None)
    engine = f"ONNX Runtime {metadata.version('onnxruntime')}" if backend.name == "onnx" else "PyTorch"
    yield Check("engine", f"{engine} renders; PyTorch {torch.__version__} trains")
    yield Check("device", f"{device}: {name}, {cores()} CPU cores")


def _ffmpeg() -> Iterator[Check]:
    from talkface.media.ffmpeg import ffmpeg_exe

    executable = ffmpeg_exe()
    shown = {
        option: subprocess.run([executable, "-hide_banner", option], capture_output=True, text=True, timeout=60)
        for option in ("-version", "-encoders")
    }
    failed = [result for result in shown.values() if result.returncode]
    if failed:
        reason = (failed[0].stderr.strip().splitlines() or [f"exit code {failed[0].returncode}"])[-1]
        yield Check(
            "ffmpeg", f"{executable} does not run: {reason}", "pip install --force-reinstall imageio-ffmpeg", ok=False
        )
        return
    lacking = [name for name in ENCODERS if f" {name} " not in shown["-encoders"].stdout]
    if lacking:
        fix = "Unset IMAGEIO_FFMPEG_EXE, or choose an ffmpeg with these encoders."
        yield Check("ffmpeg", f"{executable} has no encoder {', '.join(lacking)}", fix, ok=False)
        return
    version = shown["-version"].stdout.split("Copyright")[0].replace("ffmpeg version", "").strip()
    yield Check("ffmpeg", f"{version}, {executable}")


def _weights() -> Iterator[Check]:
    folder = weights_dir()
    try:
        lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        yield Check("weights", f"{folder / 'SHA256SUMS'} cannot be read: {error.strerror}", REINSTALL, ok=False)
        return
    wrong = []
    for digest, name in (line.split() for line in lines):
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif sha256(path) != digest:
            wrong.append(f"{name} is damaged: its SHA-256 is not the one in SHA256SUMS")
    if wrong:
        yield Check("weights", f"{'; '.join(wrong)} ({folder})", REINSTALL, ok=False)
    else:
        yield Check("weights", f"{len(lines)} files with the right SHA-256, {folder}")


def _cache() -> Iterator[Check]:
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        fix = "Set TALKFACE_CACHE to a folder that may be written to. Until then the sample is unpacked at each use."
        yield Check("cache", f"{folder} cannot be written: {error.strerror}", fix, ok=False)
        return
    yield Check("cache", str(folder))


def _disk() -> Iterator[Check]:
    places = {"current folder": Path.cwd(), "temporary files": Path(tempfile.gettempdir()), "cache": cache_dir()}
    free = {
        name: shutil.disk_usage(next(place for place in (path, *path.parents) if place.is_dir())).free
        for name, path in places.items()
    }
    text = ", ".join(f"{name} {size / 1e9:.1f} GB" for name, size in free.items())
    low = [name for name, size in free.items() if size < LOW_DISK]
    if low:
        fix = f"Free at least {LOW_DISK >> 20} MB there, or set TMPDIR and TALKFACE_CACHE to another disk."
        yield Check("disk", f"little space for: {', '.join(low)} ({text} free)", fix, ok=False)
    else:
        yield Check("disk", f"free: {text}")


def _data() -> Iterator[Check]:
    root = data_root()
    names = sorted(path.parent.name for path in root.glob("*/dataset.json")) if root.is_dir() else []
    yield Check("data", f"{', '.join([*names, 'sample'])} in {root.resolve()}" if names else "sample, which is bundled")


def _self_test() -> Iterator[Check]:
    """Render one second of a bundled clip: its first frame as the photo, and its speech from second 0.7 on."""
    from talkface.data.clip import encode_sound
    from talkface.data.sample import SOURCE
    from talkface.media.audio import load_waveform
    from talkface.media.image import save_png
    from talkface.media.video import probe, read_frames
    from talkface.rendering import render

    clip, begin = SOURCE / f"{SELF_TEST_CLIP}.mp4", round(0.7 * SOUND_RATE)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="talkface-") as folder:
        photo, speech, video = (Path(folder) / name for name in ("photo.png", "speech.wav", "video.mp4"))
        save_png(photo, next(read_frames(clip)))
        speech.write_bytes(encode_sound(load_waveform(clip)[begin : begin + SOUND_RATE]))
        report = render(photo, speech, video)
        seconds, there = time.perf_counter() - started, probe(video)
    if report.frames != FPS or not there.has_audio or abs(there.duration - 1) > 1 / FPS:
        text = f"the video has {there.duration:.2f} s and {report.frames} frames: expected 1 s and {FPS} frames"
        yield Check("self-test", text, "Report this.", ok=False)
        return
    size = f"{report.width}x{report.height}"
    speed = f"{report.frames_per_second:.0f} frames/s, {seconds:.1f} s with loading"
    yield Check("self-test", f"1 s of video, {size}: {speed}")
