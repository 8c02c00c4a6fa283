"""Batches: which jobs there are, that one failure is one row, and that nothing is overwritten or done twice."""

import csv
import importlib
import os
import subprocess
import sys
import time
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from talkface.batch import Batch, folder_jobs, read_jobs, render_batch
from talkface.batch.local_engine import run_local
from talkface.batch.state import Record, job_key, opened
from talkface.cli import app
from talkface.config import weights_dir, weights_path
from talkface.errors import TalkfaceError
from talkface.kept import Kept
from talkface.media.video import read_frames
from talkface.model.checkpoint import save_network
from talkface.render_options import RenderOptions
from talkface.workers import Failed, Finished, Worker, attempt, messages

ROOT = Path(__file__).resolve().parent.parent
ASTRONAUT = ROOT / "examples" / "astronaut.jpg"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder; worker processes find the package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@pytest.fixture(scope="session")
def options(tmp_path_factory, make_generator):
    """Small and quick: an untrained generator, the face alone."""
    path = tmp_path_factory.mktemp("batch") / "tiny.safetensors"
    save_network(make_generator(), path)
    return RenderOptions(weights=path, crop=True, device="cpu")


def write_sound(path, seconds=0.2, seed=0):
    samples = np.random.default_rng(seed).normal(0, 8000, round(16_000 * seconds)).clip(-32768, 32767)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def files(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def names(jobs):
    return [str(job.out) for job in jobs]


def test_a_folder_of_photos_gives_a_job_for_each_and_other_files_are_named_in_a_note(folder):
    notes = []
    photos = files(folder / "photos", "b.JPG", "a.png", "readme.txt", ".hidden.png")
    jobs = folder_jobs(photos, Path("say.wav"), RenderOptions(), notes.append)
    assert names(jobs) == ["a_say.mp4", "b_say.mp4"]
    assert [job.number for job in jobs] == [1, 2]
    assert len(notes) == 1
    assert "readme.txt" in notes[0]


def test_a_folder_of_recordings_gives_a_job_for_each(folder):
    jobs = folder_jobs(Path("a.png"), files(folder / "speeches", "x.wav", "y.mp4"), RenderOptions())
    assert names(jobs) == ["a_x.mp4", "a_y.mp4"]


def test_photos_of_the_same_name_get_videos_of_different_names(folder):
    jobs = folder_jobs(files(folder / "photos", "a.png", "A.jpg", "b.jpg"), Path("s.wav"), RenderOptions())
    assert names(jobs) == ["A.jpg_s.wav.mp4", "a.png_s.wav.mp4", "b_s.mp4"]


def test_two_folders_and_a_folder_without_photos_are_refused(folder):
    files(folder / "one", "notes.txt")
    files(folder / "two")
    with pytest.raises(TalkfaceError, match="both folders"):
        folder_jobs(Path("one"), Path("two"), RenderOptions())
    with pytest.raises(TalkfaceError, match="one has no photos"):
        folder_jobs(Path("one"), Path("s.wav"), RenderOptions())


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_file_gives_photo_speech_out_and_options_by_the_names_of_its_columns(folder, separator):
    (folder / "lists").mkdir()
    lines = [["speech", "photo", "out", "max-size", "crop", "box"]]
    lines += [["s.wav", "a.png", "x/one.mp4", "640", "yes", '"1,2,30,40"'], ["t.wav", "a.png", "", "", "", ""], [""]]
    text = "\n".join(separator.join(cells) for cells in lines)
    (folder / "lists/jobs.csv").write_text("\ufeff" + text, encoding="utf-8")
    one, two = read_jobs(Path("lists/jobs.csv"), RenderOptions(crf=30))
    assert (one.photo, one.speech, str(one.out)) == (Path("lists/a.png"), Path("lists/s.wav"), "x/one.mp4")
    assert one.options == RenderOptions(crf=30, max_size=640, crop=True, box=(1.0, 2.0, 30.0, 40.0))
    assert (str(two.out), two.options) == ("a_t.mp4", RenderOptions(crf=30))


def test_a_row_names_a_file_of_weights_beside_the_csv_file_or_a_bundled_generator(folder):
    files(folder / "lists", "mine.safetensors")
    (folder / "open").touch()  # not beside the CSV file
    (folder / "lists/jobs.csv").write_text("photo,speech,weights\na,b,mine.safetensors\na,c,open")
    mine, bundled = (job.options.weights for job in read_jobs(Path("lists/jobs.csv"), RenderOptions()))
    assert (mine, bundled) == (Path("lists/mine.safetensors"), weights_path("open", folder / "lists"))
    assert Path(bundled).is_file()
    assert Path(bundled).parent == weights_dir()


@pytest.mark.parametrize(
    "text, words",
    [
        ("photo,out\na.png,b.mp4", "no column speech"),
        ("photo,speech,colour\na,b,c", "unknown column 'colour'"),
        ("photo,speech,json\na,b,c.json", "unknown column 'json'"),
        ("photo,speech\n", "no jobs"),
        ("photo,speech\na.png,", "line 2: the speech is missing"),
        ("photo,speech\n\na,b,c", "line 3: 3 cells"),
        ("photo,speech,crf\na,b,high", "line 2: crf 'high' is not valid: expected a whole number"),
        ("photo,speech,crf\na,b,99", "line 2: --crf 99"),
        ("photo,speech,out\na,b,../x.mp4", "not inside the folder"),
        ("photo,speech,out\na,b,/x.mp4", "not inside the folder"),
        ("photo,speech,out\na,b,x.avi", "does not end in"),
        ("photo,speech,out\na,b,x.mp4\nc,d,X.mp4", "Jobs 1 and 2 would both write x.mp4"),
        ("photo,speech\n1/a.png,s.wav\n2/a.png,s.wav", "Jobs 1 and 2 would both write a.png_s.wav.mp4"),
        ("photo,speech\n-,s.wav", None),
    ],
)
def test_a_csv_file_that_is_not_valid_is_refused_before_any_work(folder, text, words):
    (folder / "jobs.csv").write_text(text)
    if words is None:  # a file may be called -: paths are relative to the CSV file
        (job,) = read_jobs(folder / "jobs.csv", RenderOptions())
        assert job.photo == folder / "-"
        return
    with pytest.raises(TalkfaceError, match=words):
        read_jobs(Path("jobs.csv"), RenderOptions())


def test_a_result_is_made_once_and_the_one_unused_longest_is_dropped():
    kept, made = Kept(limit=2), []
    for key in ("a", "b", "a", "c", "a", "b"):
        assert kept.once(key, lambda key=key: made.append(key) or key) == key
    assert made == ["a", "b", "c", "b"]
    assert Kept(limit=0).once("a", lambda: 1) == 1


def test_an_error_of_the_user_has_no_traceback_and_a_bug_has_one():
    def fix(report):
        raise TalkfaceError("bad", "do")

    assert attempt(fix, (), print) == Failed("bad", "do")
    bug = attempt(lambda report: [][0], (), print)
    assert "IndexError" in bug.problem
    assert "Traceback" in bug.trace


@pytest.mark.parametrize("change", ["photo", "speech", "options", "weights"])
def test_the_key_of_a_job_depends_on_inputs_options_and_weights(folder, change):
    for name in ("a.png", "s.wav", "w.safetensors"):
        (folder / name).write_text(name)
    (job,) = folder_jobs(Path("a.png"), Path("s.wav"), RenderOptions(weights="w.safetensors"))
    before = job_key(job)
    assert job_key(job) == before
    if change == "options":
        job = replace(job, options=replace(job.options, expression=1.5))
    else:
        Path({"photo": "a.png", "speech": "s.wav", "weights": "w.safetensors"}[change]).write_text("changed")
    assert job_key(job) != before


def test_a_video_is_published_only_over_an_unchanged_video_of_a_batch(folder):
    def publish(content):
        part = state.new_part(Path("a.mp4"))
        part.write_text(content)
        from talkface.files import sha256

        state.publish(part, Record("a.mp4", sha256(part), "key", 1, 1.0))

    with opened(folder) as state:
        publish("first")
        publish("second")
    assert (folder / "a.mp4").read_text() == "second"
    (folder / "a.mp4").write_text("the user's")
    with opened(folder) as state, pytest.raises(TalkfaceError, match="was changed after a batch had written it"):
        publish("third")
    assert (folder / "a.mp4").read_text() == "the user's"
    assert sorted(path.name for path in (folder / ".talkface").iterdir()) == ["state.jsonl"]


def test_a_second_batch_in_the_same_folder_is_refused_and_a_torn_state_is_read(folder):
    with opened(folder), pytest.raises(TalkfaceError, match="Another batch is writing"), opened(folder):
        pass
    (folder / ".talkface/state.jsonl").write_text('{"out": "a.mp4", "sha256": "1", "key": "k", "frames": 1, "secon')
    with opened(folder) as state:
        assert state.record(Path("a.mp4")) is None


TASKS = '''
import os
import signal
import time


def crash(number, report):
    """A task whose process is killed for number 1."""
    report(number)
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def sleep(report):
    time.sleep(60)
'''


@pytest.fixture
def tasks(folder, monkeypatch):
    """Tasks in a module that worker processes can import quickly."""
    (folder / "tasks_of_batches.py").write_text(TASKS)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(folder)]))
    return importlib.import_module("tasks_of_batches")


def test_a_process_that_crashes_costs_its_task_alone(tasks):
    outcomes = {}
    assert run_local(tasks.crash, [(0,), (1,), (2,)], 1, outcomes.__setitem__) == 1
    assert [type(outcomes[number]) for number in range(3)] == [Finished, Failed, Finished]
    assert "crashed" in outcomes[1].problem
    assert outcomes[2].result == 2


def test_a_worker_that_is_stopped_ends_at_once(tasks):
    worker = Worker()
    worker.begin(tasks.sleep)
    assert list(messages([worker], timeout=0.1)) == []
    begun = time.monotonic()
    worker.stop()
    assert time.monotonic() - begun < 10
    assert not worker.process.is_alive()


def test_a_batch_reports_what_fails_resumes_the_rest_and_overwrites_nothing(folder, options):
    """One broken photo, one missing sound, one video of the user's; then the same again with --resume."""
    (folder / "good.jpg").write_bytes(ASTRONAUT.read_bytes())
    (folder / "broken.jpg").write_bytes(ASTRONAUT.read_bytes()[:300])
    write_sound(folder / "s.wav")
    (folder / "out").mkdir()
    (folder / "out/mine.mp4").write_text("the user's")
    lines = [
        "photo,speech,out",
        "good.jpg,s.wav,",
        "broken.jpg,s.wav,",
        "good.jpg,none.wav,",
        "good.jpg,s.wav,mine.mp4",
    ]
    (folder / "jobs.csv").write_text("\n".join(lines))
    command = ["render", "--jobs", "jobs.csv", "--out-dir", "out", "--report", "report.csv", "--workers", "1", "--crop"]
    command += ["--weights", str(options.weights), "--device", "cpu"]
    for status in ("done", "unchanged"):
        result = CliRunner().invoke(app, [*command, "--resume"])
        assert result.exit_code == 1
        with (folder / "report.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["status"] for row in rows] == [status, "failed", "failed", "failed"]
        assert rows[0]["frames"] == "5"
        assert ["broken.jpg" in rows[1]["problem"], "none.wav" in rows[2]["problem"]] == [True, True]
        assert "no batch has written it" in rows[3]["problem"]
    assert "good_s.mp4" in result.output
    assert (folder / "out/mine.mp4").read_text() == "the user's"
    assert sorted(path.name for path in (folder / "out").iterdir()) == [".talkface", "good_s.mp4", "mine.mp4"]
    assert len(list(read_frames(folder / "out/good_s.mp4"))) == 5


def test_a_photo_that_recurs_is_detected_once(folder, options, monkeypatch):
    from talkface import photo_scene, rendering
    from talkface.face.select import select_face as select

    found = []
    monkeypatch.setattr(photo_scene, "select_face", lambda *a, **k: found.append(a) or select(*a, **k))

    kept = Kept()
    for number in range(2):
        speech = write_sound(folder / f"{number}.wav", seed=number)
        rendering.render(ASTRONAUT, speech, folder / f"{number}.mp4", options, kept=kept)
    assert len(found) == 1


@pytest.mark.parametrize(
    "words, message",
    [
        (["a.jpg", "s.wav", "--resume"], "--resume needs --out-dir FOLDER or --jobs FILE"),
        (["a.jpg", "--out-dir", "out"], "Missing argument 'SPEECH'"),
        (["a.jpg", "s.wav", "--out-dir", "out", "-o", "b.mp4"], "--out names one video"),
        (["a.jpg", "s.wav", "--out-dir", "out", "--json", "b.json"], "--json describes one video"),
        (["a.jpg", "s.wav", "--jobs", "jobs.csv"], "unexpected argument a.jpg"),
    ],
)
def test_options_that_contradict_each_other_are_usage_errors(words, message):
    result = CliRunner().invoke(app, ["render", *words], env={"COLUMNS": "300"})
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_a_report_over_an_input_an_unknown_engine_and_no_jobs_are_refused(folder):
    jobs = folder_jobs(Path("a.jpg"), Path("s.wav"), RenderOptions())
    for batch, words in [
        (Batch(jobs, Path("out"), report=Path("s.wav")), "is a file of job 1"),
        (Batch(jobs, Path("out"), engine="cloud"), "--engine cloud"),
        (Batch(jobs, Path("out"), workers=-1), "--workers -1"),
        (Batch((), Path("out")), "no jobs"),
    ]:
        with pytest.raises(TalkfaceError, match=words):
            render_batch(batch)
    assert not (folder / "out").exists()


def test_without_ray_the_error_gives_the_command_that_installs_it(folder, monkeypatch):
    (folder / "a.jpg").write_bytes(ASTRONAUT.read_bytes())
    jobs = folder_jobs(Path("a.jpg"), write_sound(folder / "s.wav"), RenderOptions())
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TalkfaceError, match="needs Ray") as caught:
        render_batch(Batch(jobs, Path("out"), engine="ray"))
    assert "talkface[ray]" in caught.value.fix


def test_the_parent_process_of_a_batch_does_not_import_torch():
    code = "import sys, talkface.batch, talkface.batch.work, talkface.serve; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr
