"""The ablation study: one plan for all rows, exact resume, and a table with the paper's figures."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch

from talkface import ablate as study
from talkface.ablate import AblateOptions, ablate, plan, strips
from talkface.ablate.table import write_table
from talkface.data.reader import open_dataset
from talkface.errors import TalkfaceError
from talkface.media.strips import GAP, LABEL_WIDTH, TIME_HEIGHT
from talkface.model.checkpoint import load_estimator, load_generator
from talkface.train import Diverged, train
from talkface.train.presets import ABLATIONS, PAPER_TABLE_3, Stage

pytestmark = pytest.mark.usefixtures("one_thread")

ROWS = ("baseline", "full")


@pytest.fixture(scope="module")
def two_stages(mini_train_config):
    stages = (
        Stage("lips", 2, 4, rollout=6),
        Stage("estimator", 2, 1, moments=2),
        Stage("full", 100, 1, rollout=1, moments=2),
    )
    return replace(mini_train_config, stages=stages)


@pytest.fixture(scope="module")
def data(tmp_path_factory, synthetic_clips, write_dataset):
    clips = synthetic_clips.many(2, 8) + synthetic_clips.many(2, 8, split="test")
    return write_dataset(tmp_path_factory.mktemp("synthetic"), clips)


@pytest.fixture(autouse=True)
def speed(monkeypatch):
    """A step of stage "full" takes 0.5 s."""
    monkeypatch.setattr(plan, "seconds_per_step", lambda training, config: [0.5])


def measure(weights):
    """Figures without a measurement: LMD is 3 for the static photo, and the length of the row's name for a row."""
    return {"lmd": 3.0 if weights is None else float(len(weights.parent.name)), "ssim": 0.9, "ssim_ci95": [0.8, 1.0]}


@pytest.fixture(scope="module")
def run(data, train_options, two_stages):
    """Runs a study of two rows on the drawn clips."""

    def run(
        out,
        rows=ROWS,
        minutes=0.02,
        config=two_stages,
        init=None,
        init_estimator=None,
        on_step=None,
        on_note=None,
        **others,
    ):
        training = train_options(data, out, init=init, init_estimator=init_estimator)
        asked = AblateOptions(training, minutes, **{"test_data": "synthetic", "rows": rows} | others)
        return ablate(asked, config, measure, open_dataset(data, "test"), on_step, on_note)

    return run


@pytest.fixture(scope="module")
def done(tmp_path_factory, run):
    out = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "seconds_per_step", lambda training, config: [0.5])
        told = []
        return out, run(out, on_step=told.append), told


def test_the_budget_gives_the_steps_of_each_row_and_the_start_is_trained_once(done):
    """1.2 s of the 50 s that the stage takes at 0.5 s a step: two steps. The start is trained once, as it is."""
    out, _, told = done
    stages = ["start: lips", "start: estimator", *(f"{row}: full" for row in ROWS)]
    assert [step.stage for step in told] == [stage for stage in stages for _ in range(2)]
    assert json.loads((out / "table.json").read_text())["steps"] == {"full": 2}


def test_the_table_has_the_measured_figures_and_the_papers(done):
    out, lines, _ = done
    assert [line["row"] for line in lines] == ["still", *ROWS]
    assert [line["lmd"] for line in lines] == [3.0, 8.0, 4.0]
    written = json.loads((out / "table.json").read_text())["rows"]
    assert written == lines
    for line in lines[1:]:
        assert (line["paper_psnr"], line["paper_ssim"], line["paper_lmd"]) == PAPER_TABLE_3[line["row"]]
    with (out / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["lmd"] for row in rows] == ["3.0", "8.0", "4.0"]
    assert rows[0]["paper_lmd"] == ""
    text = (out / "table.md").read_text()
    assert "| `full` | Ours (+ AMIE + DA) | 4.000 | 0.900 [0.800, 1.000] | 29.64 | 0.92 | 1.18 |" in text
    assert "| `still` |  | 3.000 |" in text


def test_strips_show_the_real_frames_and_each_row(done):
    out, _, _ = done
    assert sorted(path.name for path in out.glob("strip-*.png")) == ["strip-1.png", "strip-2.png"]
    picture = cv2.imread(str(out / "strip-1.png"))
    step = strips.SIDE + GAP
    assert picture.shape == (TIME_HEIGHT + 3 * step, LABEL_WIDTH + 8 * step, 3)


def test_finished_rows_are_not_trained_again(done, monkeypatch, run):
    out, lines, _ = done

    def resumed(training, config, on_step=None, on_note=None):
        assert training.out.name == study.START
        return train(training, config, on_step)

    monkeypatch.setattr(study, "train", resumed)
    told = []
    assert run(out, on_step=told.append) == lines
    assert told == []


def test_all_rows_start_from_the_same_weights(done):
    """The start's sound is learned in the stage "lips"; no row has moved far from it in two small steps."""
    out, _, _ = done
    start, *rows = (load_generator(out / name / "generator.safetensors").state_dict() for name in ("start", *ROWS))
    for row in rows:
        assert all((row[name] - tensor).abs().max() < 1e-3 for name, tensor in start.items())
    assert torch.equal(start["audio_encoder.direction"], rows[0]["audio_encoder.direction"])
    start, *rows = (load_estimator(out / name / "estimator.safetensors").state_dict() for name in ("start", *ROWS))
    for row in rows:
        assert all((row[name] - tensor).abs().max() < 1e-3 for name, tensor in start.items())


def test_a_file_of_weights_takes_the_place_of_the_start(done, tmp_path, run):
    told = []
    init = done[0] / "start" / "generator.safetensors"
    lines = run(tmp_path, rows=("da",), init=init, on_step=told.append)
    assert [step.stage for step in told] == ["da: full"] * 2
    assert [line["row"] for line in lines] == ["still", "da"]
    assert not (tmp_path / "start").exists()


def test_baseline_and_full_are_trained_once_for_each_seed(done, tmp_path, run):
    init = done[0] / "start" / "generator.safetensors"
    lines = run(tmp_path, rows=("baseline", "mine", "full"), init=init, seeds=2)
    assert [line["row"] for line in lines] == ["still", "baseline", "mine", "full", "baseline-2", "full-2"]
    assert [line["paper_name"] for line in lines[4:]] == ["Baseline, seed 2", "Ours (+ AMIE + DA), seed 2"]
    assert all("paper_lmd" not in line for line in lines[4:])
    folders = [tmp_path / name for name in ("full", "full-2")]
    assert [json.loads((folder / "figures.json").read_text())["config"]["seed"] for folder in folders] == [0, 1]
    one, two = (load_generator(folder / "generator.safetensors").state_dict() for folder in folders)
    assert not torch.equal(one["frame_decoder.smooth.bias"], two["frame_decoder.smooth.bias"])


def test_a_number_of_seeds_below_one_is_an_error(tmp_path, run):
    with pytest.raises(TalkfaceError, match="--seeds 0"):
        run(tmp_path, seeds=0)


def test_a_preset_without_the_stage_full_is_an_error(tmp_path, run, two_stages):
    with pytest.raises(TalkfaceError, match='stage "full"'):
        run(tmp_path, config=replace(two_stages, stages=two_stages.stages[:1]))


def test_a_stopped_study_resumes_with_the_same_plan(tmp_path, monkeypatch, run):
    stops = iter([True])

    def stopped_once(training, config, on_step=None, on_note=None):
        report = train(training, config, on_step)
        stopped = training.out.name != study.START and next(stops, False)
        return replace(report, finished=False) if stopped else report

    monkeypatch.setattr(study, "train", stopped_once)
    told = []
    assert [line["row"] for line in run(tmp_path, on_note=told.append)] == ["still"]
    assert "run the same command again" in told[-1]
    monkeypatch.setattr(plan, "seconds_per_step", lambda training, config: [9.9])  # the machine is slower now
    assert [line["row"] for line in run(tmp_path, on_note=told.append)] == ["still", *ROWS]
    assert len(list((tmp_path / "full").glob("checkpoint-0000002.pt"))) == 1


def test_a_row_that_diverges_is_noted_and_the_other_rows_are_trained(tmp_path, monkeypatch, run):
    def explode(training, config, on_step=None, on_note=None):
        if config.full.estimate == "none":
            raise Diverged("Training stopped at step 3: the loss 'mi' is nan.", "")
        return train(training, config, on_step)

    monkeypatch.setattr(study, "train", explode)
    lines = run(tmp_path)
    assert lines[1]["failed"] == "Training stopped at step 3: the loss 'mi' is nan."
    assert lines[2]["lmd"] == 4.0
    text = (tmp_path / "table.md").read_text()
    assert "`baseline`: Training stopped at step 3" in text
    assert "| `baseline` | Baseline | - | - | 28.88 |" in text


@pytest.mark.parametrize(
    "change,told",
    [
        ({"minutes": 9.0}, "--budget"),
        ({"init": Path("other.safetensors")}, "another --init"),
        ({"init_estimator": Path("other.safetensors")}, "another --init-estimator"),
        ({"test_data": "grid"}, "other --test-data"),
        ({"test_split": "val"}, "another --test-split"),
        ({"limit": 5}, "another --limit"),
    ],
)
def test_another_study_in_the_folder_is_an_error_that_names_the_flag(done, change, told, run):
    with pytest.raises(TalkfaceError, match=told):
        run(done[0], **change)


def test_a_study_of_another_preset_in_the_folder_is_an_error(done, mini_train_config, run):
    with pytest.raises(TalkfaceError, match="another preset"):
        run(done[0], config=mini_train_config)


def test_a_budget_of_0_minutes_is_an_error(tmp_path, run):
    with pytest.raises(TalkfaceError, match="--budget 0"):
        run(tmp_path, minutes=0)


def test_all_nine_rows_are_the_default():
    assert AblateOptions(None, 1.0, "grid").rows == tuple(ABLATIONS)


def test_the_seconds_of_a_step_are_measured_for_each_stage(data, tmp_path, monkeypatch, two_stages, train_options):
    monkeypatch.undo()
    monkeypatch.setattr(plan, "PROBE", 3)
    monkeypatch.setattr(plan, "WARM", 1)
    seconds = plan.seconds_per_step(train_options(data, tmp_path / "never"), two_stages)
    assert len(seconds) == 3
    assert all(each > 0 for each in seconds)
    assert not (tmp_path / "never").exists()


def test_a_full_disk_is_an_error_that_names_the_plan_or_the_table(tmp_path, two_stages, run, disk_limits):
    with disk_limits(10):
        with pytest.raises(TalkfaceError, match=r"plan\.json cannot be written"):
            run(tmp_path / "study")
        with pytest.raises(TalkfaceError, match=r"table\.json cannot be written"):
            write_table(tmp_path, {"full": {"figures": {"lmd": 1.0}}}, two_stages, 1.0)
    assert list((tmp_path / "study").iterdir()) == []


def test_the_table_shows_a_dash_for_a_figure_that_is_not_a_number(tmp_path, two_stages):
    write_table(tmp_path, {"full": {"figures": {"lmd": float("nan")}}}, two_stages, 1.0)
    assert "| `full` | Ours (+ AMIE + DA) | - |" in (tmp_path / "table.md").read_text()
