"""The ablation study: one plan for all rows, resumable, and a table beside the paper's."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from full_disk import files_no_larger_than
from puppets import puppets, write_dataset
from test_train import CONFIG, options

from talkface import ablate as study
from talkface.ablate import AblateOptions, ablate, plan, strips
from talkface.ablate.table import write_table
from talkface.data.reader import open_dataset
from talkface.errors import TalkfaceError
from talkface.train import Diverged, train
from talkface.train.presets import ABLATIONS, PAPER_TABLE_3, Stage

pytestmark = pytest.mark.usefixtures("one_thread")

TWO = replace(CONFIG, stages=(Stage("sound", 100, 8), Stage("full", 100, 2)))
ROWS = ("baseline", "full")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    clips = puppets(2, 8) + puppets(2, 8, split="test")
    return write_dataset(tmp_path_factory.mktemp("puppets"), clips)


@pytest.fixture(autouse=True)
def pace(monkeypatch):
    """A step of "sound" takes 0.1 s, one of "full" 0.5 s."""
    monkeypatch.setattr(plan, "measured", lambda training, config: [0.1, 0.5])


def measure(weights):
    """Told apart by what the file's name says; the still photo is worst."""
    return {"lmd": 3.0 if weights is None else float(len(weights.parent.name)), "ssim": 0.9, "ssim_ci95": [0.8, 1.0]}


def run(data, out, rows=ROWS, minutes=0.02, config=TWO, init=None, on_step=None, on_note=None, **measured_on):
    training = replace(options(data, out), init=init)
    asked = AblateOptions(training, minutes, **{"test_data": "puppets", "rows": rows} | measured_on)
    return ablate(asked, config, measure, open_dataset(data, "test"), on_step, on_note)


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "measured", lambda training, config: [0.1, 0.5])
        told = []
        return out, run(data, out, on_step=told.append), told


def test_the_budget_is_shared_out_as_the_preset_shares_its_steps(done):
    """1.2 s at 0.1 s and 0.5 s a step, 60 s for all of the preset: a fiftieth, two steps of each lesson."""
    out, _, told = done
    assert [step.lesson for step in told] == [
        f"{row}: {lesson}" for row in ROWS for lesson in ("sound",) * 2 + ("full",) * 2
    ]
    assert json.loads((out / "table.json").read_text())["steps"] == {"sound": 2, "full": 2}


def test_the_table_has_our_figures_and_the_papers(done):
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
    assert picture.shape == (3 * strips.SIDE, strips.MARGIN + 8 * strips.SIDE, 3)


def test_rows_that_are_done_are_not_trained_again(done, data, monkeypatch):
    out, lines, _ = done
    monkeypatch.setattr(study, "train", None)
    assert run(data, out) == lines


def test_a_stopped_study_goes_on_with_the_same_plan(data, tmp_path, monkeypatch):
    stops = iter([True])

    def stopped_once(training, config, on_step=None):
        report = train(training, config, on_step)
        return replace(report, finished=False) if next(stops, False) else report

    monkeypatch.setattr(study, "train", stopped_once)
    told = []
    assert [line["row"] for line in run(data, tmp_path, on_note=told.append)] == ["still"]
    assert "run the same command again" in told[-1]
    monkeypatch.setattr(plan, "measured", lambda training, config: [9.9, 9.9])  # the machine is slower now
    assert [line["row"] for line in run(data, tmp_path, on_note=told.append)] == ["still", *ROWS]
    assert len(list((tmp_path / "full").glob("checkpoint-0000004.pt"))) == 1


def test_a_row_that_explodes_is_noted_and_the_others_go_on(data, tmp_path, monkeypatch):
    def explode(training, config, on_step=None):
        if config.estimate == "none":
            raise Diverged("Training stopped at step 3: the loss 'mi' is nan.", "")
        return train(training, config, on_step)

    monkeypatch.setattr(study, "train", explode)
    lines = run(data, tmp_path)
    assert lines[1]["failed"] == "Training stopped at step 3: the loss 'mi' is nan."
    assert lines[2]["lmd"] == 4.0
    text = (tmp_path / "table.md").read_text()
    assert "`baseline`: Training stopped at step 3" in text
    assert "| `baseline` | Baseline | - | - | 28.88 |" in text


@pytest.mark.parametrize(
    "change,told",
    [
        ({"minutes": 9.0}, "--budget"),
        ({"config": CONFIG}, "another preset"),
        ({"init": Path("other.safetensors")}, "another --init"),
        ({"test_data": "grid"}, "other --test-data"),
        ({"test_split": "val"}, "another --test-split"),
        ({"limit": 5}, "another --limit"),
    ],
)
def test_another_study_in_the_folder_is_told(done, data, change, told):
    with pytest.raises(TalkfaceError, match=told):
        run(data, done[0], **change)


def test_a_budget_of_nothing_is_told(data, tmp_path):
    with pytest.raises(TalkfaceError, match="--budget 0"):
        run(data, tmp_path, minutes=0)


def test_all_nine_rows_are_the_default():
    assert AblateOptions(None, 1.0, "grid").rows == tuple(ABLATIONS)


def test_the_pace_is_measured_lesson_by_lesson(data, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(plan, "PROBE", 3)
    monkeypatch.setattr(plan, "WARM", 1)
    seconds = plan.measured(options(data, tmp_path / "never"), TWO)
    assert len(seconds) == 2
    assert all(pace > 0 for pace in seconds)
    assert not (tmp_path / "never").exists()


def test_a_full_disk_is_told_of_the_plan_and_of_the_table(data, tmp_path):
    with files_no_larger_than(10):
        with pytest.raises(TalkfaceError, match=r"plan\.json cannot be written"):
            run(data, tmp_path / "study")
        with pytest.raises(TalkfaceError, match=r"table\.json cannot be written"):
            write_table(tmp_path, {"full": {"figures": {"lmd": 1.0}}}, TWO, 1.0)
    assert list((tmp_path / "study").iterdir()) == []


def test_a_table_of_figures_that_are_not_there_shows_a_dash(tmp_path):
    write_table(tmp_path, {"full": {"figures": {"lmd": float("nan")}}}, TWO, 1.0)
    assert "| `full` | Ours (+ AMIE + DA) | - |" in (tmp_path / "table.md").read_text()
