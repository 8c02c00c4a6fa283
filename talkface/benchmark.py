"""Measures a render: how long each of its stages takes, and how fast the whole is.

The stages are measured one after the other; in a render paste-back and the encoder run beside the network, so a render
takes less time than their sum.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from talkface._version import __version__
from talkface.config import SOUND_RATE
from talkface.device import cores, one_thread, torch_threads
from talkface.errors import TalkfaceError
from talkface.face.align import warp
from talkface.face.networks import OnnxFaceNetworks
from talkface.face.paste import Paster
from talkface.face.select import select_face
from talkface.graphs import thread_count
from talkface.media.audio import load_speech
from talkface.media.decode import stream_audio
from talkface.media.image import load_photo
from talkface.media.timing import frame_count
from talkface.media.video import VideoWriter
from talkface.media.windows import iterate_windows
from talkface.model.backend import Backend, choose_backend, load_any_generator, load_any_speech_encoder
from talkface.model.hearing import stream_features, stream_vectors
from talkface.model.inference import AlignedFace, OutputFrame
from talkface.model.onnx_engine import OnnxGenerator
from talkface.model.talking import animate, takes_mfcc
from talkface.photo_scene import fit, teeth_of
from talkface.render_options import PHOTO_SIZE, RenderOptions
from talkface.rendering import render

MAX_FRAMES = 250  # of each measured stage
Result = TypeVar("Result")


@dataclass
class Benchmark:
    """What was measured. Times are medians; `seconds` are of a whole stage, `milliseconds` of one frame."""

    engine: str
    """onnxruntime or torch, with its version."""
    device: str
    threads: int
    """CPU threads of the networks."""
    cores: int
    """CPU cores that this process may use."""
    processor: str
    width: int
    """px of the video."""
    height: int
    frames: int
    """In the video."""
    repeats: int
    seconds: dict[str, float] = field(default_factory=dict)
    """start: a new Python until it has imported what it needs; face: the photo read, its face found and aligned; sound:
    decoded and heard; load: the generator; first_frame: from the command to the first encoded frame."""
    milliseconds: dict[str, float] = field(default_factory=dict)
    """network, paste and encode, each by itself."""
    frames_per_second: float = 0.0
    """Of whole renders, from the first frame to the last."""
    real_time_factor: float = 0.0
    """Seconds of video made per second, start included."""
    gflop: float | None = None
    """Of the generator for one frame, with 2 FLOP for a multiplication and addition."""
    parameters: int | None = None
    """Of the generator."""
    talkface: str = __version__

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, all of types that JSON can hold."""
        return asdict(self)


def benchmark(
    photo: Path, speech: Path, options: RenderOptions, repeats: int = 3, on_stage: Callable[[str], None] | None = None
) -> Benchmark:
    """Measure the stages of a render, and whole renders.

    Args:
        photo: an image with a face.
        speech: a recording.
        options: how to render; `json` has no effect.
        repeats: how often each stage is measured.
        on_stage: called with the name of each stage before it is measured.

    Raises:
        TalkfaceError: as `talkface.rendering.render`.
    """
    if repeats < 1:
        raise TalkfaceError(f"--repeats {repeats} is not valid: expected at least 1.", "Use 3, or leave it out.")
    begin = on_stage or (lambda stage: None)
    backend = choose_backend(options.backend, options.device, options.weights)
    bench = Benchmark(
        _engine(backend), backend.device, 0, cores(), _processor(), 0, 0, 0, repeats, milliseconds={}, seconds={}
    )
    begin("start")
    bench.seconds["start"] = _median(lambda: _start(backend), repeats)[0]
    with tempfile.TemporaryDirectory(prefix="talkface-") as folder:
        begin("render")
        _measure_renders(bench, photo, speech, options, Path(folder))
        _measure_stages(bench, photo, speech, options, backend, Path(folder), begin)
    begin("gflop")
    bench.gflop, bench.parameters = _cost(options.weights)
    return bench


def _measure_renders(bench: Benchmark, photo: Path, speech: Path, options: RenderOptions, folder: Path) -> None:
    rates, firsts, totals = [], [], []
    times: list[float] = []
    for _ in range(bench.repeats):
        times.clear()
        begun = time.perf_counter()
        report = render(
            photo, speech, folder / "o.mp4", options, json=None, on_step=lambda *_: times.append(time.perf_counter())
        )
        firsts.append(times[0] - begun)
        totals.append(time.perf_counter() - begun)
        rates.append((len(times) - 1) / max(times[-1] - times[0], 1e-9))
    bench.width, bench.height, bench.frames = report.width, report.height, report.frames
    bench.frames_per_second = statistics.median(rates)
    bench.seconds["first_frame"] = bench.seconds["start"] + statistics.median(firsts)
    seconds = float(bench.frames / options.rate)
    bench.real_time_factor = seconds / (bench.seconds["start"] + statistics.median(totals))


def _measure_stages(
    bench: Benchmark,
    photo: Path,
    speech: Path,
    options: RenderOptions,
    backend: Backend,
    folder: Path,
    begin: Callable[[str], None],
) -> None:
    onnx = backend.name == "onnx"
    limited = backend.name == "torch" and backend.device == "cpu"

    def find() -> tuple[np.ndarray, np.ndarray, AlignedFace]:
        image = load_photo(photo)
        networks = OnnxFaceNetworks() if onnx else None
        found = select_face(
            image, str(photo), number=options.face, box=options.box, device=backend.device, networks=networks
        )
        aligned = AlignedFace(warp(image, found.transform), found.lips, found.nose, found.reach)
        return *fit(image, found.transform, options.max_size or PHOTO_SIZE), aligned

    def hear() -> list[np.ndarray]:
        sound = load_speech(speech, options.track)
        count = frame_count(sound.duration, options.rate)
        if mfcc:
            return list(iterate_windows(sound.mfcc, count, options.rate))
        times = (float((k + Fraction(1, 2)) / options.rate) for k in range(count))
        blocks = stream_audio(speech, SOUND_RATE, sound.track)
        return list(stream_features(stream_vectors(load_any_speech_encoder(backend), blocks), times))

    with one_thread() if limited else _nothing():
        begin("load")
        bench.seconds["load"], generator = _median(lambda: load_any_generator(backend, options.weights), bench.repeats)
        bench.threads = thread_count() if onnx else torch_threads()
        mfcc = takes_mfcc(generator)
        begin("face")
        bench.seconds["face"], (image, transform, aligned) = _median(find, bench.repeats)
        begin("sound")
        bench.seconds["sound"], features = _median(hear, bench.repeats)
        begin("network")
        frames = animate(generator, aligned, features, options.expression, float(options.rate), options.crop)
        bench.milliseconds["network"], generated = _per_item(islice(frames, MAX_FRAMES), lambda frame: frame)
    begin("paste")
    paste: Callable[[OutputFrame], np.ndarray] = (
        (lambda frame: frame.face)
        if options.crop
        else Paster(image, transform, teeth_of(image, transform, aligned)).paste_frame
    )
    bench.milliseconds["paste"], pictures = _per_item(generated, paste)
    begin("encode")
    begun = time.perf_counter()
    with VideoWriter(folder / "e.mp4", bench.width, bench.height, options.rate, crf=options.crf) as video:
        for picture in pictures:
            video.write(picture)
    bench.milliseconds["encode"] = 1000 * (time.perf_counter() - begun) / len(pictures)


def _per_item(items: Any, work: Callable[[Any], Result]) -> tuple[float, list[Result]]:
    """The median milliseconds of making an item and working on it, and the results."""
    times: list[float] = []
    results: list[Result] = []
    source = iter(items)
    while True:
        begun = time.perf_counter()
        item = next(source, None)
        if item is None:
            return 1000 * statistics.median(times), results
        results.append(work(item))
        times.append(time.perf_counter() - begun)


def _median(work: Callable[[], Result], repeats: int) -> tuple[float, Result]:
    """The median seconds that the work takes, and its last result."""
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times), result


def _start(backend: Backend) -> None:
    """Start a Python that imports what a render imports."""
    engine = "onnxruntime" if backend.name == "onnx" else "torch"
    code = f"import talkface.cli, talkface.rendering, {engine}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "ORT_DISABLE_TELEMETRY": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def _cost(weights: Any) -> tuple[float | None, int | None]:
    """GFLOP of one frame and the number of parameters, counted on the PyTorch module; None for other generators."""
    from torch.utils.flop_counter import FlopCounterMode

    from talkface.model.checkpoint import load_generator
    from talkface.model.export import count_frame
    from talkface.model.generator import Generator

    if isinstance(weights, OnnxGenerator):
        weights = weights.weights
    generator = load_generator(weights) if weights is None or isinstance(weights, str | Path) else weights
    parameters = sum(parameter.numel() for parameter in generator.parameters())
    if not isinstance(generator, Generator):
        return None, parameters
    with FlopCounterMode(display=False) as counter:
        count_frame(generator)
    return counter.get_total_flops() / 1e9, parameters


def _engine(backend: Backend) -> str:
    from importlib import metadata

    name = "onnxruntime" if backend.name == "onnx" else "torch"
    return f"{name} {metadata.version(name)}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


@contextmanager
def _nothing() -> Iterator[None]:
    yield
