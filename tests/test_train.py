"""A training run: its stages, exact resume, validation, and everything that may go wrong."""

import importlib
import json
import math
import os
import signal
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from talkface.data.reader import open_dataset
from talkface.data.visemes import SILENT, save_visemes
from talkface.errors import TalkfaceError
from talkface.model.checkpoint import load_estimator, load_generator
from talkface.train import Diverged, TrainOptions, train
from talkface.train.checkpoint import newest_checkpoint
from talkface.train.estimator_validation import EstimatorValidation
from talkface.train.full_stage import FullStage
from talkface.train.presets import Stage

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ["lips"] * 3 + ["mouth"] * 3 + ["full"] * 3


@pytest.fixture(scope="module")
def data(tmp_path_factory, synthetic_clips, write_dataset):
    clips = synthetic_clips.many(3, 12) + synthetic_clips.many(1, 12, split="val")
    return write_dataset(tmp_path_factory.mktemp("synthetic"), clips)


@pytest.fixture(scope="module")
def lips_only(mini_train_config):
    """The first stage alone, which takes milliseconds."""
    return replace(mini_train_config, stages=mini_train_config.stages[:1])


def lines(out, validation=False):
    """Lines of the log, without what the clock says."""
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    chosen = [row for row in rows if ("validation" in row) == validation]
    return [{k: v for k, v in row.items() if k != "frames_per_second"} for row in chosen]


def weights(out):
    return load_generator(out / "generator.safetensors").state_dict()


def assert_same(a, b):
    """Nested states that are equal to the last bit."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for name in a:
            assert_same(a[name], b[name])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        assert a == b or (a != a and b != b)


@pytest.fixture(scope="module")
def one_run(data, tmp_path_factory, mini_train_config, train_options):
    """All stages in one go, with a checkpoint of every step."""
    out = tmp_path_factory.mktemp("one")
    told = []
    options = train_options(data, out, workers=0, checkpoint_steps=1, keep=9)
    return train(options, mini_train_config, told.append), told


def test_a_run_says_what_it_did(one_run):
    report, told = one_run
    assert (report.step, report.total, report.finished) == (9, 9, True)
    assert [step.step for step in told] == list(range(1, 10))
    assert [step.stage for step in told] == NAMES
    assert all(0 < step.frames_per_second < 1e5 and step.seconds_left >= 0 for step in told)
    assert told[-1].seconds_left == 0
    assert {path.name for path in report.out.iterdir()} - {"tensorboard"} == {
        *(f"checkpoint-{step:07d}.pt" for step in range(1, 10)),
        "estimator.safetensors",
        "generator.safetensors",
        "log.jsonl",
    }


def test_the_log_has_the_losses_of_every_step_by_name(one_run):
    log = lines(one_run[0].out)
    assert [(row["step"], row["stage"]) for row in log] == list(enumerate(NAMES, 1))
    expected = [
        *[{"lip_shape", "lip_movement", "lip_closure"}] * 3,
        {"mouth_l1"},
        {"mouth_l1", "mouth_discriminator"},
        {"mouth_l1", "mouth_discriminator", "feature_matching", "mouth_gan"},
        *[{"discriminator", "statistics", "gan", "perceptual", "lip", "mi"}] * 3,
    ]
    assert [row.keys() - {"step", "stage"} for row in log] == expected


def test_each_stage_that_can_be_is_validated_at_its_end(one_run):
    log = lines(one_run[0].out, validation=True)
    assert [(row["step"], row["stage"]) for row in log] == [(3, "lips"), (6, "mouth")]
    assert log[0]["validation"].keys() == {"r", "share", "spread", "mean", "closed", "real_closed", "jerk"}
    figures = {f"{name}_{kind}" for name in ("kid", "teeth", "dark", "sharp") for kind in ("closed", "teeth")}
    assert log[1]["validation"].keys() == figures


@pytest.mark.parametrize("cores, wanted", [(1, {1}), (8, {1, 2})], ids=["one core", "many cores"])
def test_there_is_no_more_than_one_process_per_core_that_prepares_batches(
    data, tmp_path, mini_train_config, train_options, monkeypatch, cores, wanted
):
    module, used = importlib.import_module("talkface.train.run"), set()

    def loader(*arguments, num_workers, **options):
        used.add(num_workers)
        return DataLoader(*arguments, **options | {"multiprocessing_context": None})

    monkeypatch.setattr(module, "DataLoader", loader)
    monkeypatch.setattr(module, "cores", lambda: cores)
    train(train_options(data, tmp_path, workers=2), mini_train_config)
    assert used == wanted


def test_stopping_after_every_step_and_resuming_gives_the_same_states_as_one_run(
    one_run, data, tmp_path, mini_train_config, train_options
):
    """To the last bit on the CPU: inside each stage and at its end, with and without a process that reads batches."""
    for step in range(1, 10):
        report = train(train_options(data, tmp_path, minutes=0.0, workers=step % 2, keep=9), mini_train_config)
        assert (report.step, report.finished) == (step, step == 9)
        stored = [torch.load(out / f"checkpoint-{step:07d}.pt") for out in (tmp_path, one_run[0].out)]
        assert_same(*stored)
    assert_same(weights(tmp_path), weights(one_run[0].out))
    assert lines(tmp_path) == lines(one_run[0].out)
    assert lines(tmp_path, validation=True) == lines(one_run[0].out, validation=True)


def test_steps_after_the_checkpoint_are_trained_and_logged_again(data, tmp_path, lips_only, train_options):
    """As after a power cut: the newest checkpoint is cut, the log is ahead of the one before it."""
    train(train_options(data, tmp_path, checkpoint_steps=2), lips_only)
    before, log = weights(tmp_path), lines(tmp_path)
    newest = tmp_path / "checkpoint-0000003.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    assert (tmp_path / "checkpoint-0000002.pt").exists()
    train(train_options(data, tmp_path), lips_only)
    assert_same(weights(tmp_path), before)
    assert lines(tmp_path) == log


def test_a_finished_run_stays_as_it_is(one_run, data, mini_train_config, train_options):
    before = weights(one_run[0].out)
    report = train(train_options(data, one_run[0].out, keep=9), mini_train_config)
    assert report.finished
    assert_same(weights(report.out), before)


def test_published_networks_load_with_their_configuration(one_run, mini_config, mini_estimator):
    assert load_generator(one_run[0].generator).config == mini_config
    assert load_estimator(one_run[0].out / "estimator.safetensors").config == mini_estimator


# Validation


@pytest.fixture
def scored(monkeypatch):
    """Validation figures of the stage "lips" from a list; returns the networks that were judged."""

    def replace_figures(figures):
        found, judged = iter(figures), []

        def validate(network, clips, how):
            judged.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
            return {"share": next(found)}

        monkeypatch.setattr("talkface.train.curriculum.lip_figures", validate)
        return judged

    return replace_figures


@pytest.mark.parametrize(
    "shares, best",
    [([0.9, 0.5, 0.7], 1), ([0.3, 0.5, 0.7], 0), ([0.9, 0.5, 0.4], 2), ([math.nan, 0.5, 0.6], 1)],
)
def test_the_best_validated_average_takes_the_place_of_the_last_weights(
    data, tmp_path, scored, shares, best, lips_only, train_options
):
    judged = scored(shares)
    train(train_options(data, tmp_path, validation_steps=1), lips_only)
    kept = {name.removeprefix("audio_encoder."): tensor for name, tensor in weights(tmp_path).items()}
    assert len(judged) == 3
    assert_same({name: kept[name] for name in judged[best]}, judged[best])
    resumed = newest_checkpoint(tmp_path, lips_only)[1]["networks"]["generator"]
    assert_same({name: resumed[f"audio_encoder.{name}"] for name in judged[best]}, judged[best])


def test_the_best_average_so_far_survives_a_stop(data, tmp_path, scored, lips_only, train_options):
    judged = scored([0.5, 0.9, 0.7])
    for _ in range(3):
        train(train_options(data, tmp_path, validation_steps=1, minutes=0.0), lips_only)
        kept = weights(tmp_path)
        assert_same({name: kept[f"audio_encoder.{name}"] for name in judged[0]}, judged[0])


def test_the_average_is_published_where_nothing_is_validated(data, tmp_path, lips_only, train_options):
    train(train_options(data, tmp_path, validation=(), minutes=0.0), lips_only)
    assert lines(tmp_path, validation=True) == []
    state = newest_checkpoint(tmp_path, lips_only)[1]
    kept, average = weights(tmp_path), state["stage"]["ema"]["network"]
    assert_same({name: kept[f"audio_encoder.{name}"] for name in average}, average)
    assert not torch.equal(average["mix.weight"], state["networks"]["generator"]["audio_encoder.mix.weight"])


def test_a_validation_set_that_is_asked_for_must_exist(data, tmp_path, lips_only, train_options, monkeypatch):
    monkeypatch.setenv("TALKFACE_DATA", str(tmp_path))
    with pytest.raises(TalkfaceError, match="No preprocessed data set 'grid'"):
        train(train_options(data, tmp_path / "run", validation=("grid",)), lips_only)


def test_the_estimator_is_chosen_by_how_it_tells_moments_apart(
    tmp_path, synthetic_clips, write_dataset, mini_train_config, train_options
):
    clips = [synthetic_clips.one(split, frames=24, split=split) for split in ("train", "val")]
    data, out = write_dataset(tmp_path / "data", clips), tmp_path / "run"
    config = replace(mini_train_config, stages=(Stage("estimator", 2, 2, moments=2),))
    train(train_options(data, out, validation_steps=1), config)
    log = lines(out, validation=True)
    assert [row["stage"] for row in log] == ["estimator", "estimator"]
    assert all(row["validation"].keys() == {"mi", "mi_auc"} for row in log)
    best = max(row["validation"]["mi_auc"] for row in log)
    judge, network = EstimatorValidation([open_dataset(data, "val")]), load_estimator(out / "estimator.safetensors")
    assert_same(network.state_dict(), newest_checkpoint(out, config)[1]["networks"]["statistics"])
    assert judge.figures(network)["mi_auc"] == pytest.approx(best, abs=1e-4)


# Options


def test_another_configuration_is_not_mixed_into_a_run(one_run, data, mini_train_config, train_options):
    other = replace(mini_train_config, full=replace(mini_train_config.full, lip_weight=1.0))
    with pytest.raises(TalkfaceError, match=r"another full\.lip_weight"):
        train(train_options(data, one_run[0].out), other)


@pytest.mark.parametrize("other", [{"data": ("elsewhere/grid",)}, {"split": "val"}])
def test_other_clips_are_not_mixed_into_a_run(one_run, data, monkeypatch, other, mini_train_config, train_options):
    monkeypatch.setattr("talkface.train.run.open_dataset", lambda *_: open_dataset(data, "train"))
    with pytest.raises(TalkfaceError, match=f"holds a run on {data.name} \\(split train\\), not on"):
        train(train_options(data, one_run[0].out, **other), mini_train_config)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_with_a_checkpoint(data, tmp_path, number, lips_only, train_options):
    handler = signal.getsignal(number)

    def on_step(step):
        if step.step == 2:
            os.kill(os.getpid(), number)

    report = train(train_options(data, tmp_path), lips_only, on_step)
    assert (report.step, report.finished) == (2, False)
    assert newest_checkpoint(tmp_path, lips_only)[0] == 2
    assert signal.getsignal(number) == handler


def test_a_compiled_generator_learns_the_same_and_its_average_is_validated_by_its_own_weights(
    data, tmp_path, monkeypatch, mini_train_config, train_options
):
    config = replace(mini_train_config, stages=(Stage("mouth", 1, 2),))
    train(train_options(data, tmp_path / "plain"), config)
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function) or function)
    train(train_options(data, tmp_path / "compiled", compile=True), config)
    assert [type(call.__self__).__name__ for call in compiled] == ["IdentityEncoder", "ImageEncoder", "FrameDecoder"]
    assert_same(weights(tmp_path / "compiled"), weights(tmp_path / "plain"))
    assert lines(tmp_path / "compiled", validation=True) == lines(tmp_path / "plain", validation=True)


def test_training_can_start_from_the_weights_of_a_generator(one_run, data, tmp_path, mini_train_config, train_options):
    given = one_run[0].generator
    full = replace(mini_train_config.full, learning_rate=0.0)
    only = replace(mini_train_config, stages=(Stage("full", 1, 2, moments=2),), full=full)
    train(train_options(data, tmp_path, init=given), only)
    for name, tensor in weights(tmp_path).items():
        assert torch.allclose(tensor, weights(one_run[0].out)[name], atol=1e-6), name


def test_training_can_start_from_the_weights_of_a_statistics_network(
    one_run, data, tmp_path, mini_train_config, train_options
):
    given = one_run[0].out / "estimator.safetensors"
    full = replace(mini_train_config.full, estimator_learning_rate=0.0)
    only = replace(mini_train_config, stages=(Stage("estimator", 1, 2, moments=2),), full=full)
    train(train_options(data, tmp_path, init_estimator=given), only)
    found, expected = (load_estimator(path / "estimator.safetensors").state_dict() for path in (tmp_path, given.parent))
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)
    other = replace(only, estimator=replace(only.estimator, features=12))
    with pytest.raises(TalkfaceError, match=r"--init-estimator .*estimator\.safetensors is a network of another shape"):
        train(train_options(data, tmp_path / "other", init_estimator=given), other)


def test_weights_of_another_shape_are_told(one_run, data, tmp_path, mini_config, mini_train_config, train_options):
    other = replace(mini_train_config, generator=replace(mini_config, style=12))
    with pytest.raises(TalkfaceError, match=r"--init .*generator\.safetensors is a network of another shape"):
        train(train_options(data, tmp_path, init=one_run[0].generator), other)


@pytest.mark.parametrize("name", ["data", "log_steps", "validation_steps", "keep"])
def test_options_that_cannot_be_are_told_by_their_flag(name, tmp_path):
    wrong = {"data": ("anywhere",), name: () if name == "data" else 0}
    with pytest.raises(TalkfaceError, match="--" + name.replace("_", "-")):
        TrainOptions(out=tmp_path, **wrong)


def test_missing_data_is_told(tmp_path, monkeypatch, mini_train_config):
    monkeypatch.setenv("TALKFACE_DATA", str(tmp_path))
    with pytest.raises(TalkfaceError, match="No preprocessed data set 'lrw'"):
        train(TrainOptions(("lrw",), tmp_path / "run"), mini_train_config)


def test_missing_synthetic_speech_is_told_with_the_command_that_makes_it(
    tmp_path, monkeypatch, data, mini_train_config
):
    monkeypatch.setenv("TALKFACE_DATA", str(tmp_path))
    with pytest.raises(TalkfaceError, match="no synthetic speech") as told:
        train(TrainOptions((str(data), "visemes"), tmp_path / "run"), mini_train_config)
    assert "talkface visemes" in told.value.fix


def test_two_sets_of_synthetic_speech_are_refused_by_name(data, tmp_path, mini_train_config):
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        save_visemes(folder, np.zeros((9, 13)), np.zeros(9, int), np.array([9]), np.zeros(9 * 160))
    with pytest.raises(TalkfaceError, match=r"more than one set of synthetic speech: .*first, .*second"):
        train(TrainOptions((str(data), *map(str, folders)), tmp_path / "run"), mini_train_config)


def test_the_stage_visemes_learns_from_synthetic_speech(data, tmp_path, monkeypatch, mini_train_config, train_options):
    monkeypatch.setenv("TALKFACE_DATA", str(tmp_path))
    config = replace(mini_train_config, stages=(Stage("visemes", 2, 8), *mini_train_config.stages))
    with pytest.raises(TalkfaceError, match="no synthetic speech"):
        train(train_options(data, tmp_path / "run"), config)
    rng = np.random.default_rng(0)
    steps, labels = rng.normal(size=(90, 13)), rng.integers(14, size=90)
    save_visemes(tmp_path / "visemes", steps, labels, np.array([50, 40]), rng.normal(size=90 * 160))
    train(train_options(data, tmp_path / "run", minutes=0.0), config)
    assert lines(tmp_path / "run")[0]["visemes"] == pytest.approx(np.log(14), abs=0.7)


def test_synthetic_speech_among_the_data_teaches_the_lips_to_shut(data, tmp_path, mini_train_config):
    """It says nothing but p, in the sound of one step over and over."""
    rng = np.random.default_rng(0)
    steps, labels = np.tile(rng.normal(size=(1, 13)), (120, 1)), np.tile([*([0] * 9), SILENT], 12)
    spoken = tmp_path / "spoken"
    save_visemes(spoken, steps, labels, np.array([120]), np.zeros(120 * 160))
    config = replace(mini_train_config, stages=(Stage("lips", 80, 4, rollout=6),))
    logits = []
    for name, sets in (("with", (str(data), str(spoken))), ("without", (str(data),))):
        train(TrainOptions(sets, tmp_path / name), config)
        encoder = load_generator(tmp_path / name / "generator.safetensors").audio_encoder.eval()
        windows = torch.from_numpy(np.float32(steps[:20]))[None, None].expand(1, 6, -1, -1)
        with torch.no_grad():
            logits.append(encoder.closed_logit(encoder.standardised(windows)).mean().item())
    assert logits[0] > logits[1] + 0.5


@pytest.mark.parametrize("name", ["visemes", "full"])
def test_stages_that_need_mfcc_refuse_a_generator_that_takes_a_recognisers_features(
    data, tmp_path, name, mini_config, mini_train_config, train_options
):
    stage = Stage(name, 1, 2, moments=2)
    config = replace(mini_train_config, generator=replace(mini_config, hearing="recogniser"), stages=(stage,))
    with pytest.raises(TalkfaceError, match=f"Stage {name} .* recogniser's features") as told:
        train(train_options(data, tmp_path), config)
    assert "generator.hearing=mfcc" in told.value.fix


def test_clips_without_sound_train_the_stage_mouth_and_no_other(
    tmp_path, synthetic_clips, write_dataset, mini_train_config, train_options
):
    silent = write_dataset(tmp_path / "silent", [synthetic_clips.one(frames=12, sound=False)])
    lips, mouth, _ = mini_train_config.stages
    train(train_options(silent, tmp_path / "mouth"), replace(mini_train_config, stages=(replace(mouth, steps=1),)))
    with pytest.raises(TalkfaceError, match="No training clip has sound"):
        train(train_options(silent, tmp_path / "lips"), replace(mini_train_config, stages=(lips,)))


def test_two_stages_of_the_same_kind_stand_in_their_own_places(data, tmp_path, mini_train_config, train_options):
    """Each begins with its own learning rate and a fresh optimiser."""
    config = replace(mini_train_config, stages=(Stage("lips", 2, 4, rollout=4), Stage("lips", 2, 4, rollout=6)))
    for _ in range(4):
        train(train_options(data, tmp_path / "stopped", minutes=0.0), config)
    train(train_options(data, tmp_path / "whole"), config)
    assert_same(weights(tmp_path / "stopped"), weights(tmp_path / "whole"))


# What may go wrong


def poisoned_at(monkeypatch, step):
    """One weight becomes NaN in that step of the stage "full", after its loss was computed."""
    learn = FullStage.step

    def learn_and_spoil(self, inside, progress, batch):
        terms = learn(self, inside, progress, batch)
        if inside + 1 == step:
            with torch.no_grad():
                self.generator.frame_decoder.smooth.weight[0, 0, 0, 0] = torch.nan
        return terms

    monkeypatch.setattr(FullStage, "step", learn_and_spoil)


@pytest.mark.parametrize("checkpoint_steps, told", [(None, "loss '[a-z]+' is nan"), (1, "a weight is not a number")])
def test_a_loss_or_weight_that_is_not_a_number_stops_the_run_and_leaves_the_last_good_checkpoint(
    data, tmp_path, monkeypatch, checkpoint_steps, told, mini_train_config, train_options
):
    config = replace(mini_train_config, stages=(Stage("full", 4, 2, moments=2),))
    train(train_options(data, tmp_path, minutes=0.0), config)
    poisoned_at(monkeypatch, 3)
    with pytest.raises(Diverged, match=told) as error:
        train(train_options(data, tmp_path, checkpoint_steps=checkpoint_steps), config)
    assert "--init" in error.value.fix
    assert "--set full.learning_rate=5e-05" in error.value.fix
    assert "in stage full" in str(error.value)
    step, state = newest_checkpoint(tmp_path, config)
    assert step == (1 if checkpoint_steps is None else 2)
    assert all(torch.isfinite(tensor).all() for tensor in state["networks"]["generator"].values())
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path).values())


def test_an_exploding_loss_stops_the_run(data, tmp_path, lips_only, train_options):
    wild = replace(
        lips_only,
        stages=(Stage("lips", 40, 4, rollout=6),),
        lips=replace(lips_only.lips, learning_rate=1e4, clip_norm=1e9),
    )
    with pytest.raises(
        Diverged, match=r"Training stopped at step \d+, in stage lips: the loss 'lip_[a-z]+' is "
    ) as error:
        train(train_options(data, tmp_path), wild)
    # No file that does not exist is named.
    assert "No checkpoint was written before" in str(error.value)
    assert error.value.fix == "Use a smaller learning rate: --set lips.learning_rate=2500"


def test_the_step_at_which_a_run_goes_on_is_told(data, tmp_path, lips_only, train_options):
    notes = []
    train(train_options(data, tmp_path, minutes=0.0), lips_only, on_note=notes.append)
    assert notes == []
    train(train_options(data, tmp_path, minutes=0.0), lips_only, on_note=notes.append)
    assert notes == [f"{tmp_path}: the run goes on at step 1 of 3."]


def test_a_full_disk_stops_the_run_and_leaves_the_last_good_checkpoint(
    data, tmp_path, mini_train_config, train_options, disk_limits
):
    config = replace(mini_train_config, stages=(Stage("lips", 6, 4, rollout=6),))
    with ExitStack() as limited:

        def on_step(step):
            if step.step == 3:
                limited.enter_context(disk_limits(1 << 16))

        with pytest.raises(TalkfaceError, match=r"checkpoint-0000004\.pt cannot be written"):
            train(train_options(data, tmp_path, checkpoint_steps=2, workers=0), config, on_step)
    assert newest_checkpoint(tmp_path, config)[0] == 2
    assert not list(tmp_path.glob(".*"))
