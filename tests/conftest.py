"""Fixtures that several test files share. The networks are imported only by the fixtures that need them."""

import importlib
import json
import os
import resource
from contextlib import contextmanager
from dataclasses import replace

if "PYTEST_XDIST_WORKER" in os.environ:  # read once by OpenMP: the workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import pytest
import skimage.data
import soundfile
import torch

from talkface.config import ALIGNED_LIPS, ALIGNED_NOSE, FPS, MFCC_COEFFS, SOUND_RATE, STEPS_PER_SECOND
from talkface.data.clip import Clip, encode_frame, encode_sound
from talkface.data.shards import DATASET, FORMAT, INDEX, ShardWriter, read_lines, shard_indexes
from talkface.files import write_lines
from talkface.media.video import VideoWriter


def pytest_runtest_setup(item):
    if item.get_closest_marker("requires_cuda") and not torch.cuda.is_available():
        pytest.skip("no CUDA device: training and rendering on a GPU are NOT tested")


@pytest.fixture(scope="module")
def one_thread():
    """For networks so small that several threads are slower, and much slower on a machine with other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory, make_generator):
    """An untrained generator, small and quick, whose frames differ from one another and from the photo."""
    from talkface.model.checkpoint import save_network

    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_network(make_generator(), path)
    return path


@pytest.fixture(scope="session")
def portrait():
    """A face of random pixels, its lips and nose where alignment puts them."""
    from talkface.model.inference import AlignedFace

    face = np.random.default_rng(0).integers(60, 200, (256, 256, 3), np.uint8)
    return AlignedFace(face, np.array(ALIGNED_LIPS, np.float32), np.array(ALIGNED_NOSE, np.float32))


@pytest.fixture(scope="session")
def disk_limits():
    """`with disk_limits(size)`: writing fails beyond `size` bytes of a file, as on a full disk."""

    @contextmanager
    def limit(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit


class VideoFactory:
    """Videos of a talking face, made from a public-domain portrait: NASA's of Eileen Collins, in scikit-image."""

    side = 256  # px
    sample_rate = 16_000  # Hz
    mouth = (127.0, 147.0)  # px of the portrait
    half_width = 28.0  # px, of the mouth
    chin = 215.0  # px, y of the portrait
    widest = 14.0  # px, height of the open mouth

    def portrait(self):
        """A face, uint8 RGB (256, 256, 3), the eyes 42 px apart."""
        return np.ascontiguousarray(skimage.data.astronaut()[: self.side, 96 : 96 + self.side])

    def open_mouth(self, face, amount):
        """The portrait with a lower jaw, `amount` from 0 (unchanged) to 1."""
        y, x = np.mgrid[: self.side, : self.side].astype(np.float32)
        mouth_x, mouth_y = self.mouth
        gap = amount * self.widest * np.clip(1 - ((x - mouth_x) / self.half_width) ** 2, 0, 1)
        below = (y - mouth_y - gap) / (self.chin - mouth_y - gap)
        moved = np.where(y >= mouth_y + gap, y - gap * np.clip(1 - below, 0, 1), y)
        opened = cv2.remap(face, x, moved.astype(np.float32), cv2.INTER_LINEAR)
        opened[(y >= mouth_y) & (y < mouth_y + gap)] = (60, 15, 20)
        return opened

    def loudness(self, frames, seed=0):
        """Loudness of a few syllables a second in steps of 10 ms, (frames * 4,), from 0 to 1."""
        rng = np.random.default_rng(seed)
        level = np.repeat(rng.random(frames // 3 + 2) ** 2, 12)[: frames * 4]
        return np.clip(np.convolve(np.pad(level, 6, "edge"), np.hanning(13) / np.hanning(13).sum(), "valid"), 0, 1)

    def talking_frames(self, loudness, face=None):
        """Frames of a face whose mouth opens with `loudness` (steps of 10 ms, 0 to 1)."""
        face = self.portrait() if face is None else face
        return [self.open_mouth(face, amount) for amount in loudness.reshape(-1, 4).mean(1)]

    def audio(self, loudness, seed=0):
        """Noise of that loudness (steps of 10 ms, 0 to 1) at 16 kHz."""
        step = self.sample_rate // 100  # samples
        level = np.interp(np.arange(len(loudness) * step) / step, np.arange(len(loudness)), loudness)
        noise = np.random.default_rng(seed).standard_normal(len(level))
        return (0.25 * (level + 0.01) * noise).clip(-1, 1).astype(np.float32)

    def write(self, path, frames, audio=None, fps=FPS):
        """Writes an mp4 of `frames` with `audio` (16 kHz) or without, and returns its path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = frames[0].shape[:2]
        wav = path.with_suffix(".wav")
        if audio is not None:
            soundfile.write(wav, audio, self.sample_rate)
        with VideoWriter(path, width, height, fps, wav if audio is not None else None, preset="ultrafast") as video:
            for frame in frames:
                video.write(frame)
        wav.unlink(missing_ok=True)
        return path

    def write_talking(self, path, frames=20, seed=0):
        """Writes a talking face that passes the quality limits, and returns its path."""
        loudness = self.loudness(frames, seed)
        return self.write(path, self.talking_frames(loudness), self.audio(loudness, seed))


@pytest.fixture(scope="session")
def video_factory():
    return VideoFactory()


CRASHING_LIMITS = '''
import os
import signal

from talkface.preprocess.limits import QualityLimits


class CrashingLimits(QualityLimits):
    """Kills the process that judges a video of `fatal_frames` frames, as a bug in a decoder does."""

    fatal_frames = 13

    def check_streams(self, facts):
        if facts["frames"] == self.fatal_frames:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().check_streams(facts)
'''


@pytest.fixture(scope="session")
def crashing_limits(tmp_path_factory):
    """Quality limits that kill their process at a video of `fatal_frames` frames.

    Worker processes unpickle them, so their class is in a module that these processes can import.
    """
    folder = tmp_path_factory.mktemp("crashing_limits")
    (folder / "crashing_limits.py").write_text(CRASHING_LIMITS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield importlib.import_module("crashing_limits").CrashingLimits()


class SyntheticClips:
    """Drawn faces whose mouth opens with the audio: clips for training without recordings and without a detector."""

    mouth = (128.0, 180.0)  # px of the aligned face
    half_width = 24.0  # px
    widest = 12.0  # px, half the height of the widest gap
    lip = 6.0  # px, thickness of a lip

    def lip_points(self, gap):
        """float32 (40, 2), px: outer and inner ring in the order of `face.landmarks.LIPS`.

        Each ring has 20 points: from the left corner along the lower lip to the right corner, back along the upper lip.
        """
        turn = 2 * np.pi * np.arange(20) / 20
        x, y = self.mouth[0] - self.half_width * np.cos(turn), np.sin(turn)
        rings = [np.stack([x, self.mouth[1] + y * height], -1) for height in (gap + self.lip, gap)]
        return np.concatenate(rings).astype(np.float32)

    def draw(self, background, gap):
        """uint8 RGB (256, 256, 3): red lips around a dark mouth, `gap` px from its middle to either lip."""
        picture = background.copy()
        for points, colour in zip(self.lip_points(gap).reshape(2, 20, 2), ((170, 60, 70), (30, 10, 15)), strict=True):
            shifted = np.round(points * 16 - 8).astype(np.int32)  # sixteenths of a px, pixel centres at integers
            cv2.fillPoly(picture, [shifted[None]], colour, cv2.LINE_AA, 4)
        return picture

    def mouth_gap(self, picture):
        """Half the height of the dark mouth in px, measured in the middle columns of the picture."""
        columns = picture[140:232, 124:132].astype(float).mean((1, 2))
        return float((columns < 60).sum()) / 2

    def points68(self):
        """float32 (68, 2), px: the outline of the face, the nose and the eyes; all other points stay at the mouth."""
        points = np.tile(np.float32(self.mouth), (68, 1))
        turn = np.pi * np.arange(17) / 16
        points[:17] = np.stack([128 - 76 * np.cos(turn), 110 + 136 * np.sin(turn)], -1)  # jaw
        points[17:27] = np.stack([np.linspace(65, 191, 10), np.full(10, 80.0)], -1)  # brows
        points[27:31] = [(128, y) for y in (100, 117, 134, 144)]
        points[31:36] = [(113.5, 155), (119.3, 158.8), (128, 159.1), (136.7, 158.8), (142.5, 155)]
        points[[36, 39, 42, 45]] = [(77.4, 104), (108.6, 106), (147.4, 106), (178.6, 104)]
        return points

    def one(self, name="s1/a", speaker="s1", seed=0, frames=20, split="train", sound=True):
        """A clip of a drawn face; its audio is loud where the mouth is open. Without `sound` it keeps none."""
        rng = np.random.default_rng(seed)
        turns = np.cumsum(rng.uniform(0.2, 0.9, frames))
        gaps = self.widest * (0.5 + 0.5 * np.sin(turns)) ** 1.5
        tone = rng.uniform(140, 215, 3)
        shade = np.linspace(-25, 15, 256)[:, None, None] + np.linspace(-15, 15, 256)[None, :, None]
        background = (tone + shade).clip(0, 255).astype(np.uint8)
        steps = np.arange(STEPS_PER_SECOND // FPS * frames) / (STEPS_PER_SECOND // FPS)
        loudness = np.interp(steps, np.arange(frames) + 0.5, gaps / self.widest)
        pattern = np.random.default_rng(99).normal(size=MFCC_COEFFS)
        mfcc = loudness[:, None] * pattern + 0.02 * rng.normal(size=(len(steps), MFCC_COEFFS))
        level = np.repeat(loudness, SOUND_RATE // STEPS_PER_SECOND)
        waveform = (0.2 * level + 0.002) * np.random.default_rng(seed).standard_normal(len(level))
        return Clip(
            name=name,
            dataset="synthetic",
            split=split,
            speaker=speaker,
            source=f"{name}.mp4",
            lips=np.stack([self.lip_points(gap) for gap in gaps]),
            points68=np.tile(self.points68(), (frames, 1, 1)),
            eyes=np.tile(np.float32([(93, 105), (163, 105)]), (frames, 1, 1)),
            transforms=np.tile(np.eye(2, 3), (frames, 1, 1)),
            mfcc_steps=mfcc.astype(np.float32),
            encoded=[encode_frame(self.draw(background, gap)) for gap in gaps],
            sound=encode_sound(waveform.astype(np.float32)) if sound else b"",
        )

    def many(self, count=4, frames=20, split="train"):
        """`count` clips, each of another speaker."""
        return [
            self.one(f"s{i}/{split}", f"s{i}", seed=10 * i + len(split), frames=frames, split=split)
            for i in range(count)
        ]


@pytest.fixture(scope="session")
def synthetic_clips():
    return SyntheticClips()


@pytest.fixture(scope="session")
def clip_factory():
    """Makes a small clip of random values."""

    def make(name="s1/bbaf2n", frames=7, split="train", speaker="s1"):
        rng = np.random.default_rng(len(name) + frames)
        picture = np.linspace(0, 255, 256 * 256 * 3).reshape(256, 256, 3).astype(np.uint8)
        return Clip(
            name=name,
            dataset="grid",
            split=split,
            speaker=speaker,
            source=f"{name}.mpg",
            lips=rng.random((frames, 40, 2), np.float32),
            points68=rng.random((frames, 68, 2), np.float32),
            eyes=rng.random((frames, 2, 2), np.float32),
            transforms=rng.random((frames, 2, 3)),
            mfcc_steps=rng.random((4 * frames, 13), np.float32),
            encoded=[encode_frame(np.roll(picture, i, 0)) for i in range(frames)],
            quality={"eye_distance": 40.5},
        )

    return make


@pytest.fixture(scope="session")
def write_dataset():
    """Writes clips as `talkface preprocess` does, one shard for each split, and returns the folder."""

    def write(root, clips):
        for split in dict.fromkeys(clip.split for clip in clips):
            with ShardWriter(root, f"{split}-00000") as writer:
                for clip in clips:
                    if clip.split == split:
                        writer.add(clip, status="kept")
        lines = [line for part in shard_indexes(root) for line in read_lines(part)]
        write_lines(root / INDEX, lines)
        (root / DATASET).write_text(json.dumps({"format": FORMAT, "name": clips[0].dataset}))
        return root

    return write


@pytest.fixture(scope="session")
def mini_config():
    """The smallest shape of the generator; it hears MFCC windows."""
    from talkface.model.generator import GeneratorConfig

    return GeneratorConfig(hearing="mfcc", widths=(8, 8, 8), style=8, audio_width=8)


@pytest.fixture(scope="session")
def loudness_encoder():
    """In place of the speech recogniser: each vector is the mean loudness of its two columns of the spectrogram."""

    class Loudness(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("positional_embedding", torch.zeros(1))

        def forward(self, mel):
            loudness = mel.exp().mean(1).unflatten(1, (-1, 2)).mean(2)
            return loudness[:, :, None].expand(-1, -1, 384)

    return Loudness()


@pytest.fixture(scope="session")
def mini_estimator():
    """The smallest shape of the statistics network."""
    from talkface.model.amie import EstimatorConfig

    return EstimatorConfig(widths=(4, 8, 8, 8), features=8)


@pytest.fixture(scope="session")
def lip_direction():
    """float32 (40, 2) px by which lips move for an opening of 1: three quarters of the gap are the lower lip's."""
    from talkface.config import EYE_DISTANCE

    direction = torch.zeros(40, 2)
    direction[[*range(1, 10), *range(21, 30)], 1] = 0.75 * EYE_DISTANCE
    direction[[*range(11, 20), *range(31, 40)], 1] = -0.25 * EYE_DISTANCE
    return direction


@pytest.fixture(scope="session")
def make_generator(mini_config, lip_direction):
    """Makes a generator without zero weights, whose lips can open."""
    from talkface.model.generator import Generator

    def make(config=mini_config, seed=0):
        torch.manual_seed(seed)
        net = Generator(config).eval().requires_grad_(False)
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter) / max(parameter[0].numel(), 1) ** 0.5)
        net.audio_encoder.direction.copy_(lip_direction)
        return net

    return make


@pytest.fixture(scope="session")
def mini_train_config(mini_config, mini_estimator):
    """A curriculum of three stages with three steps each; every part of the stage "mouth" gets one of its steps."""
    from talkface.train.presets import TINY, LipsConfig, MouthConfig, Stage

    stages = (
        Stage("lips", 3, 4, rollout=6),
        Stage("mouth", 3, 2, rollout=2),
        Stage("full", 3, 2, rollout=2, moments=2),
    )
    return replace(
        TINY,
        generator=mini_config,
        estimator=mini_estimator,
        stages=stages,
        lips=LipsConfig(copies=1),
        mouth=MouthConfig(l1_steps=1, warmup_steps=1),
    )


@pytest.fixture(scope="session")
def train_options():
    """Makes the options of a training run on the CPU that logs every step and has no processes besides."""
    from talkface.train import TrainOptions

    def make(data, out, /, **others):
        return TrainOptions(
            **{"data": (str(data),), "out": out, "device": "cpu", "log_steps": 1, "workers": 0} | others
        )

    return make
