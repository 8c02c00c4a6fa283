"""The ablation study: one plan for all rows, exact resume, and a table with the paper's figures."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from talkface import ablate as study
from talkface.ablate import AblateOptions, ablate, plan, strips
from talkface.ablate.table import write_table
from talkface.data.reader import open_dataset
from talkface.errors import TalkfaceError
from talkface.media.strips import GAP, LABEL_WIDTH, TIME_HEIGHT
from talkface.train import Diverged, train
from talkface.train.presets import ABLATIONS, PAPER_TABLE_3, Stage

pytestmark = pytest.mark.usefixtures("one_thread")

ROWS = ("baseline", "full")


@pytest.fixture(scope="module")
def two_stages(mini_train_config):
    return replace(mini_train_config, stages=(Stage("sound", 100, 8), Stage("full", 100, 2)))


@pytest.fixture(scope="module")
def data(tmp_path_factory, synthetic_clips, write_dataset):
    clips = synthetic_clips.many(2, 8) + synthetic_clips.many(2, 8, split="test")
    return write_dataset(tmp_path_factory.mktemp("synthetic"), clips)


@pytest.fixture(autouse=True)
def speed(monkeypatch):
    """A step of stage "sound" takes 0.1 s, a step of stage "full" 0.5 s."""
    monkeypatch.setattr(plan, "seconds_per_step", lambda training, config: [0.1, 0.5])


def measure(weights):
    """Figures without a measurement: LMD is 3 for the static photo, and the length of the row's name for a row."""
    return {"lmd": 3.0 if weights is None else float(len(weights.parent.name)), "ssim": 0.9, "ssim_ci95": [0.8, 1.0]}


@pytest.fixture(scope="module")
def run(data, train_options, two_stages):
    """Runs a study of two rows on the drawn clips."""

    def run(out, rows=ROWS, minutes=0.02, config=two_stages, init=None, on_step=None, on_note=None, **measured_on):
        training = train_options(data, out, init=init)
        asked = AblateOptions(training, minutes, **{"test_data": "synthetic", "rows": rows} | measured_on)
        return ablate(asked, config, measure, open_dataset(data, "test"), on_step, on_note)

    return run


@pytest.fixture(scope="module")
def done(tmp_path_factory, run):
    out = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "seconds_per_step", lambda training, config: [0.1, 0.5])
        told = []
        return out, run(out, on_step=told.append), told


def test_the_budget_is_divided_among_the_stages_as_the_steps_of_the_preset_are(done):
    """1.2 s of the 60 s that the whole preset takes at 0.1 s and 0.5 s a step: a fiftieth, two steps of each stage."""
    out, _, told = done
    assert [step.lesson for step in told] == [
        f"{row}: {stage}" for row in ROWS for stage in ("sound",) * 2 + ("full",) * 2
    ]
    assert json.loads((out / "table.json").read_text())["steps"] == {"sound": 2, "full": 2}


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
    monkeypatch.setattr(study, "train", None)
    assert run(out) == lines


def test_a_stopped_study_resumes_with_the_same_plan(tmp_path, monkeypatch, run):
    stops = iter([True])

    def stopped_once(training, config, on_step=None):
        report = train(training, config, on_step)
        return replace(report, finished=False) if next(stops, False) else report

    monkeypatch.setattr(study, "train", stopped_once)
    told = []
    assert [line["row"] for line in run(tmp_path, on_note=told.append)] == ["still"]
    assert "run the same command again" in told[-1]
    monkeypatch.setattr(plan, "seconds_per_step", lambda training, config: [9.9, 9.9])  # the machine is slower now
    assert [line["row"] for line in run(tmp_path, on_note=told.append)] == ["still", *ROWS]
    assert len(list((tmp_path / "full").glob("checkpoint-0000004.pt"))) == 1


def test_a_row_that_diverges_is_noted_and_the_other_rows_are_trained(tmp_path, monkeypatch, run):
    def explode(training, config, on_step=None):
        if config.estimate == "none":
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
    assert len(seconds) == 2
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
