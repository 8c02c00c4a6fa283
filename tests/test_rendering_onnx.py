"""Rendering with ONNX Runtime: without PyTorch, with PyTorch's frames, and beside a second thread that can fail."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import wave
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from talkface import render, stream
from talkface.errors import TalkfaceError
from talkface.face.find import FaceFinder
from talkface.face.networks import OnnxFaceNetworks
from talkface.media.image import load_photo
from talkface.media.video import VideoWriter
from talkface.model.onnx_engine import OnnxGenerator

ROOT = Path(__file__).resolve().parent.parent
ASTRONAUT, SPEECH = ROOT / "examples" / "astronaut.jpg", ROOT / "examples" / "speech.wav"


@pytest.fixture
def speech(tmp_path):
    """The first 0.4 s of the example that have speech in them."""
    path = tmp_path / "speech.wav"
    with wave.open(str(SPEECH)) as file:
        rate = file.getframerate()
        file.setpos(rate)
        header, data = file.getparams(), file.readframes(round(0.4 * rate))
    with wave.open(str(path), "wb") as file:
        file.setparams(header)
        file.writeframes(data)
    return path


def python(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )


@pytest.mark.parametrize("crop", [False, True])
def test_frames_of_the_two_engines_differ_by_at_most_two_of_255(speech, crop):
    frames = [
        np.stack([*stream(ASTRONAUT, speech, backend=name, device="cpu", crop=crop)]) for name in ("onnx", "torch")
    ]
    difference = np.abs(frames[0].astype(int) - frames[1])
    assert difference.max() <= 2
    assert difference.mean() < 0.01
    assert np.abs(frames[1][-1].astype(int) - frames[1][0]).max() > 20  # the mouth moves


def other_portrait(folder):
    """A third photo: the astronaut mirrored, shrunk, darker, and in front of another background."""
    with Image.open(ASTRONAUT) as image:
        shrunk = ImageOps.mirror(image).resize((360, 360), Image.Resampling.LANCZOS).point(lambda value: value * 0.7)
    photo = Image.new("RGB", (640, 480), (40, 90, 120))
    photo.paste(shrunk, (140, 100))
    photo.save(folder / "other.png")
    return folder / "other.png"


@pytest.mark.slow
def test_frames_of_the_two_engines_agree_on_three_photos_and_two_recordings(tmp_path):
    """$TALKFACE_PHOTOS names a folder of further photos."""
    photos = [ASTRONAUT, ROOT / "examples" / "astronaut_gray.jpg", other_portrait(tmp_path)]
    if folder := os.environ.get("TALKFACE_PHOTOS"):
        photos += sorted(Path(folder).glob("*.[jp][pn]g"))
    for photo, recording in itertools.product(photos, (SPEECH, ROOT / "examples" / "arabic.wav")):
        engines = (stream(photo, recording, backend=name, device="cpu") for name in ("onnx", "torch"))
        largest = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(*engines, strict=True))
        print(f"{photo.name} {recording.name}: {largest}/255")
        assert largest <= 2


def test_faces_found_by_the_two_engines_are_the_same():
    image = load_photo(ASTRONAUT)
    (found,), (expected,) = FaceFinder(networks=OnnxFaceNetworks()).find(image), FaceFinder().find(image)
    np.testing.assert_allclose(found.points, expected.points, atol=0.01)
    assert found.score == pytest.approx(expected.score, abs=1e-4)
    assert found.yaw == pytest.approx(expected.yaw, abs=0.01)


def test_a_render_imports_neither_pytorch_nor_librosa(speech, tmp_path):
    code = "import sys; from talkface import render; render(*sys.argv[1:4], json=sys.argv[4], device='cpu')\n"
    code += "print(*sorted({'torch', 'librosa', 'numba', 'scipy', 'skimage', 'onnx'} & set(sys.modules)))"
    done = python(code, ASTRONAUT, speech, tmp_path / "o.mp4", tmp_path / "o.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "\n"
    manifest = json.loads((tmp_path / "o.json").read_text())
    assert (manifest["backend"], manifest["device"]) == ("onnx", "cpu")
    assert manifest["versions"]["onnxruntime"]
    assert 1 <= manifest["threads"] <= 2


def test_a_home_that_cannot_be_written_and_empty_caches_are_no_obstacle(speech, tmp_path):
    """numba would fail here, because it finds no place for its cache. ONNX Runtime would keep a device's identifier."""
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    folders = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "TORCH_HOME"), str(home))
    code = "import sys; from talkface import render; print(render(*sys.argv[1:4], device='cpu').frames)"
    done = python(code, ASTRONAUT, speech, tmp_path / "o.mp4", **folders)
    assert (done.returncode, done.stdout) == (0, "10\n"), done.stderr
    assert list(home.iterdir()) == []


def test_many_videos_are_rendered_with_graphs_that_are_loaded_once(speech):
    generator = OnnxGenerator()
    frames = [[*islice(stream(ASTRONAUT, speech, weights=one), 4)] for one in (generator, generator, None)]
    np.testing.assert_array_equal(frames[0], frames[1])
    np.testing.assert_array_equal(frames[0], frames[2])


@pytest.mark.parametrize("error", [TalkfaceError("The disk is full."), KeyboardInterrupt()])
def test_an_error_while_a_frame_is_written_ends_the_render_and_leaves_no_file(speech, tmp_path, monkeypatch, error):
    write, threads = VideoWriter.write, set()

    def fail(self, frame):
        threads.add(threading.current_thread())
        if self.frames == 3:
            raise error
        write(self, frame)

    monkeypatch.setattr(VideoWriter, "write", fail)
    with pytest.raises(type(error)):
        render(ASTRONAUT, speech, tmp_path / "o.mp4", device="cpu")
    assert threading.main_thread() not in threads
    assert [path.name for path in tmp_path.iterdir()] == ["speech.wav"]
    assert not any(thread.name.startswith("beside") for thread in threading.enumerate())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no signals of this kind there")
def test_ctrl_c_in_the_middle_of_a_render_leaves_no_file(tmp_path):
    code = "import sys, talkface.cli; sys.argv[1:1] = ['render']; talkface.cli.main()"
    command = [
        sys.executable,
        "-c",
        code,
        str(ASTRONAUT),
        str(SPEECH),
        "-o",
        "o.mp4",
        "--max-size",
        "1024",
        "--crf",
        "0",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        limit = time.monotonic() + 30
        while not any(path.stat().st_size for path in tmp_path.iterdir()) and time.monotonic() < limit:
            time.sleep(0.01)  # the encoder writes
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "Stopped" in said
    assert list(tmp_path.iterdir()) == []
