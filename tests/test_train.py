"""Training: lessons, exact resume, who learns from what, several processes, and everything that may go wrong."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from talkface.data.batches import ClipBatches
from talkface.data.reader import open_dataset
from talkface.data.visemes import save_visemes
from talkface.errors import TalkfaceError
from talkface.model.checkpoint import load_estimator, load_generator
from talkface.model.inference import AlignedFace, speak
from talkface.train import TrainOptions, train
from talkface.train.checkpoint import newest_checkpoint
from talkface.train.learner import FROM_REAL, Learner, lr_scale
from talkface.train.options import StageProgress
from talkface.train.presets import ABLATIONS, TINY, Stage, TrainConfig, ablated
from talkface.train.processes import Processes

pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def data(tmp_path_factory, synthetic_clips, write_dataset):
    return write_dataset(tmp_path_factory.mktemp("synthetic"), synthetic_clips.many(4, 12))


def lines(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def weights(out):
    return load_generator(out / "generator.safetensors").state_dict()


def assert_same_weights(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def one_run(data, tmp_path_factory, mini_train_config, train_options):
    """All lessons in one go."""
    out = tmp_path_factory.mktemp("one")
    told = []
    return train(train_options(data, out, sample_steps=4), mini_train_config, told.append), told


@pytest.fixture(scope="module")
def tiny_run(data, tmp_path_factory, train_options):
    """The preset `tiny` as it is."""
    out = tmp_path_factory.mktemp("tiny")
    train(train_options(data, out), TINY)
    return out


def test_tiny_learns_lips_from_sound_then_pictures_from_lips(tiny_run):
    log = lines(tiny_run)

    def change(lesson, term):
        values = [line[term] for line in log if line["lesson"] == lesson]
        return np.mean(values[-10:]) / np.mean(values[:10])

    assert change("sound", "audio_lip") < 0.7
    flow = [line["flow"] for line in log if line["lesson"] == "lips"]
    assert np.mean(flow[-10:]) < 0.25  # 0.8 px at a weight of 0.3; the warp of the lip points starts near the target
    assert change("lips", "lip") < 0.5
    assert change("full", "discriminator") < 1.02
    assert {"lip", "frame", "perceptual", "gan", "mi", "discriminator", "statistics"} <= log[-1].keys()


def test_what_tiny_has_learned_can_gan_step(tiny_run, synthetic_clips):
    generator, clip = load_generator(tiny_run / "generator.safetensors"), synthetic_clips.many(1, 8)[0]
    frames = list(speak(generator, AlignedFace(clip.frame(0), clip.lips[0]), clip.mfcc))
    assert len(frames) == 8
    assert all(frame.face.shape == (256, 256, 3) for frame in frames)
    assert load_estimator(tiny_run / "estimator.safetensors").config == TINY.generator


def test_a_run_says_what_it_did(one_run):
    report, told = one_run
    assert (report.step, report.total, report.finished) == (9, 9, True)
    assert [step.step for step in told] == list(range(1, 10))
    assert [step.lesson for step in told] == ["sound"] * 3 + ["lips"] * 3 + ["full"] * 3
    assert all(step.frames_per_second > 0 and step.seconds_left >= 0 for step in told)
    assert told[-1].seconds_left == 0
    assert [line["step"] for line in lines(report.out)] == list(range(1, 10))
    assert {path.name for path in report.out.iterdir()} - {"tensorboard"} == {
        "checkpoint-0000009.pt",
        "estimator.safetensors",
        "generator.safetensors",
        "log.jsonl",
        "sample-000004.png",
        "sample-000008.png",
    }


def test_stopping_after_every_step_and_resuming_gives_the_same_weights_as_one_run(
    one_run, data, tmp_path, mini_train_config, train_options
):
    """To the last bit on CPU, also where a lesson ends; and the log has each step once."""
    for step in range(1, 10):
        report = train(train_options(data, tmp_path, minutes=0.0), mini_train_config)
        assert (report.step, report.finished) == (step, step == 9)
    assert_same_weights(weights(tmp_path), weights(one_run[0].out))
    for name in ("networks", "average", "adversary_optimiser"):
        stopped, whole = (newest_checkpoint(out, mini_train_config)[1][name] for out in (tmp_path, one_run[0].out))
        assert str(stopped) == str(whole)
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 10))
    losses = [{k: v for k, v in line.items() if k != "frames_per_second"} for line in lines(tmp_path)]
    whole = [{k: v for k, v in line.items() if k != "frames_per_second"} for line in lines(one_run[0].out)]
    assert losses == whole


def test_steps_after_the_checkpoint_are_trained_and_logged_again(
    one_run, data, tmp_path, mini_train_config, train_options
):
    """As after a power cut: the newest checkpoint is cut, the log is ahead of the one before it."""
    train(train_options(data, tmp_path, checkpoint_steps=2), mini_train_config)
    newest = tmp_path / "checkpoint-0000009.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    assert (tmp_path / "checkpoint-0000008.pt").exists()
    train(train_options(data, tmp_path), mini_train_config)
    assert_same_weights(weights(tmp_path), weights(one_run[0].out))
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 10))


def test_a_finished_run_stays_as_it_is(one_run, data, mini_train_config, train_options):
    before = weights(one_run[0].out)
    report = train(train_options(data, one_run[0].out), mini_train_config)
    assert report.finished
    assert_same_weights(weights(report.out), before)


def test_another_configuration_is_not_mixed_into_a_run(one_run, data, mini_train_config, train_options):
    with pytest.raises(TalkfaceError, match="another lip_weight"):
        train(train_options(data, one_run[0].out), replace(mini_train_config, lip_weight=1.0))


@pytest.mark.parametrize("other", [{"data": ("elsewhere/grid",)}, {"split": "val"}])
def test_other_clips_are_not_mixed_into_a_run(one_run, data, monkeypatch, other, mini_train_config, train_options):
    monkeypatch.setattr("talkface.train.run.open_dataset", lambda *_: open_dataset(data, "train"))
    with pytest.raises(TalkfaceError, match=f"holds a run on {data.name} \\(split train\\), not on"):
        train(train_options(data, one_run[0].out, **other), mini_train_config)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_a_checkpoint(data, tmp_path, number, mini_train_config, train_options):
    handler = signal.getsignal(number)

    def on_step(step):
        if step.step == 2:
            os.kill(os.getpid(), number)

    report = train(train_options(data, tmp_path), mini_train_config, on_step)
    assert (report.step, report.finished) == (2, False)
    assert newest_checkpoint(tmp_path, mini_train_config)[0] == 2
    assert signal.getsignal(number) == handler


def test_pictures_kept_in_memory_change_nothing(one_run, data, tmp_path, mini_train_config, train_options):
    train(train_options(data, tmp_path, in_memory="yes"), mini_train_config)
    assert_same_weights(weights(tmp_path), weights(one_run[0].out))


def test_pictures_that_do_not_fit_in_memory_are_told_or_decoded(
    data, tmp_path, monkeypatch, mini_train_config, train_options
):
    monkeypatch.setattr(ClipBatches, "memory_needed", lambda self: 1 << 60)
    with pytest.raises(TalkfaceError, match=r"--in-memory yes: the pictures take 1073741824\.0 GiB"):
        train(
            train_options(data, tmp_path / "a", in_memory="yes"),
            replace(mini_train_config, stages=mini_train_config.stages[1:]),
        )
    assert train(train_options(data, tmp_path / "b", in_memory="auto", minutes=0.0), mini_train_config).step == 1


def test_the_generator_can_be_compiled(one_run, data, tmp_path, monkeypatch, mini_train_config, train_options):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function) or function)
    train(train_options(data, tmp_path, compile=True), mini_train_config)
    assert [function.__name__ for function in compiled] == ["step"]
    assert_same_weights(weights(tmp_path), weights(one_run[0].out))


def test_training_can_start_from_the_weights_of_a_generator(one_run, data, tmp_path, mini_train_config, train_options):
    given = one_run[0].generator
    only = replace(mini_train_config, stages=(Stage("lips", 1, 4, learning_rate=1e-12),))
    train(train_options(data, tmp_path, init=given), only)
    for name, tensor in weights(tmp_path).items():
        assert torch.allclose(tensor, weights(one_run[0].out)[name], atol=1e-7), name


def test_weights_of_another_shape_are_told(one_run, data, tmp_path, mini_config, mini_train_config, train_options):
    other = replace(mini_train_config, generator=replace(mini_config, audio_features=24))
    with pytest.raises(TalkfaceError, match=r"--init .*generator\.safetensors is a generator of another shape"):
        train(train_options(data, tmp_path, init=one_run[0].generator), other)


def poisoned_at(monkeypatch, step):
    """One weight becomes NaN in that step, after its loss was computed."""
    learn = Learner.learn

    def learn_and_spoil(self, place, at, batch):
        terms = learn(self, place, at, batch)
        if at + 1 == step:
            with torch.no_grad():
                self.networks.generator.place[0, 0, 0, 0] = torch.nan
        return terms

    monkeypatch.setattr(Learner, "learn", learn_and_spoil)


@pytest.mark.parametrize("checkpoint_steps,told", [(None, "loss '[a-z]+' is nan"), (1, "a weight is not a number")])
def test_a_loss_or_weight_that_is_not_a_number_stops_the_run_and_leaves_the_last_good_checkpoint(
    data, tmp_path, monkeypatch, checkpoint_steps, told, mini_train_config, train_options
):
    train(train_options(data, tmp_path, minutes=0.0), mini_train_config)
    poisoned_at(monkeypatch, 5)
    with pytest.raises(TalkfaceError, match=told) as error:
        train(train_options(data, tmp_path, checkpoint_steps=checkpoint_steps), mini_train_config)
    assert "--init" in error.value.fix
    step, state = newest_checkpoint(tmp_path, mini_train_config)
    assert step == (1 if checkpoint_steps is None else 4)
    assert all(torch.isfinite(tensor).all() for tensor in state["networks"].values())
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path).values())


def test_an_exploding_loss_stops_the_run(data, tmp_path, mini_train_config, train_options):
    wild = replace(mini_train_config, stages=(Stage("lips", 40, 4, learning_rate=1e4),), clip_norm=1e9)
    with pytest.raises(TalkfaceError, match=r"Training stopped at step \d+"):
        train(train_options(data, tmp_path), wild)


def test_a_full_disk_stops_the_run_and_leaves_the_last_good_checkpoint(
    data, tmp_path, mini_train_config, train_options, disk_limits
):
    with ExitStack() as limited:

        def on_step(step):
            if step.step == 3:
                limited.enter_context(disk_limits(1 << 16))

        with pytest.raises(TalkfaceError, match=r"checkpoint-0000004\.pt cannot be written"):
            train(train_options(data, tmp_path, checkpoint_steps=2), mini_train_config, on_step)
    assert newest_checkpoint(tmp_path, mini_train_config)[0] == 2
    assert not list(tmp_path.glob(".*"))


def test_the_first_lesson_hears_synthetic_speech(data, tmp_path, monkeypatch, mini_train_config, train_options):
    monkeypatch.setenv("TALKFACE_DATA", str(tmp_path))
    config = replace(mini_train_config, stages=(Stage("visemes", 2, 8), *mini_train_config.stages))
    with pytest.raises(TalkfaceError, match="no synthetic speech"):
        train(train_options(data, tmp_path / "run"), config)
    rng = np.random.default_rng(0)
    save_visemes(tmp_path / "visemes", rng.normal(size=(90, 13)), rng.integers(14, size=90), np.array([50, 40]))
    train(train_options(data, tmp_path / "run", minutes=0.0), config)
    assert lines(tmp_path / "run")[0]["visemes"] == pytest.approx(np.log(14), abs=0.7)


@pytest.mark.parametrize("row", ABLATIONS)
def test_every_row_of_table_3_trains(data, tmp_path, row, mini_train_config, train_options):
    config = replace(ablated(mini_train_config, row), stages=(Stage("full", 1, 2, rollout=2),))
    train(train_options(data, tmp_path), config)
    terms = lines(tmp_path)[0]
    assert {"lip", "frame", "gan", "discriminator"} <= terms.keys()
    assert ("mi" in terms) == ("statistics" in terms) == (config.estimate != "none")


@pytest.mark.parametrize("name", ["data", "log_steps", "workers"])
def test_options_that_cannot_be_are_told_by_their_flag(name, tmp_path):
    wrong = {"data": ("anywhere",), name: () if name == "data" else 0}
    with pytest.raises(TalkfaceError, match="--" + name.replace("_", "-")):
        TrainOptions(out=tmp_path, **wrong)


def test_a_batch_that_cannot_be_shared_is_told_before_anything_starts(
    data, tmp_path, monkeypatch, mini_train_config, train_options
):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(TalkfaceError, match=r"Batch 8 of lesson 'sound' .* by 3 processes") as told:
        train(train_options(data, tmp_path), mini_train_config)
    assert "--set sound.batch=N" in told.value.fix


def test_missing_data_is_told(tmp_path, monkeypatch, mini_train_config):
    monkeypatch.setenv("TALKFACE_DATA", str(tmp_path))
    with pytest.raises(TalkfaceError, match="No preprocessed data set 'lrw'"):
        train(TrainOptions(("lrw",), tmp_path / "run"), mini_train_config)


# The step of the GAN


def a_learner(config):
    learner = Learner(config, ALONE)
    learner.begin(config.stages[-1], None)
    return learner


def snapshot(learner):
    return {name: tensor.clone() for name, tensor in learner.networks.state_dict().items()}


def changed(before, learner):
    """The networks any of whose weights differ by a bit."""
    now = learner.networks.state_dict()
    names = [name for name in before if not torch.equal(before[name], now[name])]
    return {".".join(name.split(".")[: 2 if name.startswith("objective") else 1]) for name in names}


@pytest.mark.parametrize("row", ["full", "mine"])
def test_the_generators_step_changes_no_other_network_and_theirs_not_the_generator(
    data, row, mini_config, mini_train_config
):
    config = replace(ablated(mini_train_config, row), perceptual_weight=1.0)
    learner = a_learner(config)
    clips = ClipBatches([open_dataset(data)], mini_config.window, mini_config.audio_offsets)
    batch = learner._prepared(clips.frames(0, 4, 2))
    made = learner.networks(
        "rollout", batch, torch.ones(4, 1, 1, 1), torch.zeros(4, 1, 1, 1) > 0, torch.zeros(4, 1, 1) > 0, True
    )
    before = snapshot(learner)
    learner._optimizer_step(
        learner.optimiser, learner.networks.objective.generator_terms(batch, made, adversaries=True)
    )
    assert changed(before, learner) == {"generator", "rollout"}  # the rollout's generator is the generator
    before = snapshot(learner)
    learner._optimizer_step(learner.adversary_optimiser, learner.networks("adversaries", batch, made))
    assert changed(before, learner) == {"objective.discriminator", "objective.statistics"}


def test_the_statistics_network_starts_with_the_generators_eyes_and_ears_once(data, mini_config, mini_train_config):
    learner = Learner(mini_train_config, ALONE)
    generator, statistics = learner.networks.generator, learner.networks.objective.statistics
    pairs = [
        (statistics.audio_encoder.out.weight, generator.audio_encoder.out.weight),
        (statistics.image_encoder.first[0].weight, generator.identity_encoder.first[0].weight),
    ]
    full = mini_train_config.stages[-1]
    assert not any(torch.equal(*pair) for pair in pairs)
    learner.begin(full, None)
    assert all(torch.equal(*pair) for pair in pairs)
    batch = ClipBatches([open_dataset(data)], mini_config.window, mini_config.audio_offsets).frames(
        0, full.batch, full.rollout
    )
    learner.learn(StageProgress(full, 0), 0, batch)
    learned = statistics.audio_encoder.out.weight.clone()
    learner.begin(full, None)
    assert torch.equal(statistics.audio_encoder.out.weight, learned)


def test_attention_rates_follow_the_schedule_in_the_full_lesson_alone(mini_train_config):
    learner, stage = a_learner(mini_train_config), mini_train_config.stages[-1]
    for progress, low, high in ((0.0, 0.7, 0.9), (0.75, 0.1, 0.3), (0.9, 1.0, 1.0)):
        rates, starts, given = learner._drawn(stage, progress, 400)
        assert rates.shape == starts.shape == given.shape == (400, 1, 1, 1)
        assert low <= rates.min() <= low + 0.02
        assert high - 0.02 <= rates.max() <= high + 1e-6
        assert starts.float().mean().item() == pytest.approx(FROM_REAL, abs=0.1)
        assert given.float().mean().item() == pytest.approx(mini_train_config.teacher_forcing, abs=0.1)
    assert learner._drawn(mini_train_config.stages[1], 0.75, 10)[0].unique().tolist() == [1.0]
    still = a_learner(replace(mini_train_config, attention_schedule=False))
    assert still._drawn(stage, 0.75, 10)[0].unique().tolist() == [1.0]


def test_the_learning_rate_warms_up_and_falls_to_a_twentieth():
    rates = [lr_scale(step / 1000, 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1.0, abs=0.03)
    assert rates.index(max(rates)) == 99
    assert rates[500] == pytest.approx(0.525)
    assert rates[1000] == pytest.approx(0.05)
    assert lr_scale(0, 1) == 1  # a lesson of one step has no time to warm up


def test_a_stages_progress_counts_from_its_own_beginning():
    assert StageProgress(Stage("full", 40, 2), begin=100).progress(110) == 0.25


def test_two_lessons_of_the_same_kind_stand_in_their_own_places(data, tmp_path, mini_train_config, train_options):
    """Each begins with its own warm-up and a fresh optimiser."""
    config = replace(mini_train_config, stages=(Stage("sound", 2, 8), Stage("sound", 2, 8)))
    for _ in range(4):
        train(train_options(data, tmp_path / "stopped", minutes=0.0), config)
    train(train_options(data, tmp_path / "whole"), config)
    assert_same_weights(weights(tmp_path / "stopped"), weights(tmp_path / "whole"))


# Several processes

TOGETHER = """
import json, sys
from dataclasses import replace
from pathlib import Path
import torch
from talkface.model.generator import GeneratorConfig
from talkface.train.presets import Stage, TrainConfig
from talkface.train import TrainOptions, train
torch.set_num_threads(1)
told = json.loads(sys.argv[1])
shape = told["config"].pop("generator")
shape = GeneratorConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in shape.items()})
stages = tuple(Stage(**stage) for stage in told["config"].pop("stages"))
config = TrainConfig(generator=shape, stages=stages, **told["config"])
train(TrainOptions((told["data"],), Path(told["out"]), device="cpu", log_steps=1), config)
"""


def test_two_processes_train_as_one_with_the_joint_batch(data, tmp_path, mini_config, mini_train_config, train_options):
    """Same losses and, but for rounding, the same weights: the mean over shares is the mean over the joint batch."""
    shape = replace(mini_config, audio_dropout=0.0, landmark_noise=0.0)
    config = replace(
        mini_train_config, generator=shape, stages=tuple(replace(stage, steps=2) for stage in mini_train_config.stages)
    )
    train(train_options(data, tmp_path / "one"), config)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    told = json.dumps({"config": asdict(config), "data": str(data), "out": str(tmp_path / "two")})
    root = str(Path(__file__).resolve().parent.parent)
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": root}
    common |= {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, "-c", TOGETHER, told], env=os.environ | common | {"RANK": str(rank)})
        for rank in range(2)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    for one, two in zip(lines(tmp_path / "one"), lines(tmp_path / "two"), strict=True):
        assert one.keys() == two.keys()
        for name in one.keys() - {"frames_per_second", "lesson"}:
            assert two[name] == pytest.approx(one[name], rel=2e-3, abs=2e-4), (one["step"], name)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all((one[name] - two[name]).abs().max() < 2e-2 for name in one)
    assert np.mean([(one[name] - two[name]).abs().mean() for name in one]) < 1e-3


# Overfitting


def mouth_distance(drawing, real, fake):
    """LMD of drawn mouths, px: mean distance of the lip points, each mouth's centroid taken off."""
    shapes = ([drawing.lip_points(drawing.mouth_gap(picture)) for picture in video] for video in (real, fake))
    pairs = zip(*shapes, strict=True)
    centred = [(a - a.mean(0), b - b.mean(0)) for a, b in pairs]
    return float(np.mean([np.linalg.norm(a - b, axis=1).mean() for a, b in centred]))


@pytest.mark.slow
def test_on_four_clips_the_generated_lips_follow_the_sound(tmp_path, train_options, synthetic_clips, write_dataset):
    """LMD under half of the still photo's, by the whole curriculum, on the clips that were learned."""
    clips = synthetic_clips.many(4, 40)
    data = write_dataset(tmp_path / "data", clips)
    stages = (
        Stage("sound", 300, 64, learning_rate=2e-3),
        Stage("lips", 500, 8, learning_rate=1.5e-3),
        Stage("full", 120, 4, rollout=3, learning_rate=5e-4),
    )
    config = TrainConfig(
        generator=replace(TINY.generator, audio_dropout=0.0, lip_gain=1.0), stages=stages, ema=0.98, augment=False
    )
    train(train_options(data, tmp_path / "run", log_steps=50), config)
    generator = load_generator(tmp_path / "run" / "generator.safetensors")
    generated, still = [], []
    for clip in clips:
        real = list(clip.frames())
        generated.append(
            mouth_distance(
                synthetic_clips, real, [f.face for f in speak(generator, AlignedFace(real[0], clip.lips[0]), clip.mfcc)]
            )
        )
        still.append(mouth_distance(synthetic_clips, real, [real[0]] * len(real)))
    print(f"LMD {np.mean(generated):.2f} px, still photo {np.mean(still):.2f} px")
    assert np.mean(generated) < 0.5 * np.mean(still)
