import re
from types import SimpleNamespace

import pytest

from talkface import console
from talkface.errors import TalkfaceError


class Terminal:
    """A standard error that claims to be a terminal."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return True


def test_an_error_is_shown_as_problem_and_fix(capsys):
    console.show_error(TalkfaceError("No face found in group.jpg (4032x3024).", "Point at it with --box x,y,w,h."))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "Error  No face found in group.jpg (4032x3024).\nFix    Point at it with --box x,y,w,h.\n"


def test_an_error_without_a_fix_is_one_line(capsys):
    console.show_error(TalkfaceError("No face found."))
    assert capsys.readouterr().err == "Error  No face found.\n"


@pytest.mark.parametrize("name", ["[bold]photo[/bold].jpg", "a\\[b].png", "[/].wav", ":smile:.png", "é 文.png"])
def test_an_error_shows_a_file_name_unchanged(capsys, name):
    console.show_error(TalkfaceError(f"No face found in {name}."))
    assert capsys.readouterr().err == f"Error  No face found in {name}.\n"


def test_a_long_message_is_not_broken_into_lines_of_80(capsys):
    console.say("word " * 100)
    assert capsys.readouterr().err.count("\n") == 1


def test_with_quiet_nothing_is_written(capsys):
    console.say("Rendering", quiet=True)
    with console.progress("Rendering", quiet=True) as on_step:
        on_step(1, 2)
    assert capsys.readouterr() == ("", "")


def test_a_log_file_gets_no_progress_bar(capsys):
    with console.progress("Rendering") as on_step:
        on_step(1, 2)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_progress_bar_with_count_and_speed(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with console.progress("Rendering") as on_step:
        for done in range(1, 11):
            on_step(done, 10)
    assert "Rendering" in terminal.text
    assert "10/10" in terminal.text
    assert "frames/s" in terminal.text


def test_a_progress_bar_can_go_on_with_another_unit(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with console.progress("Preprocessing", "videos") as on_step:
        on_step(3, 3)
        for done in range(1, 6):
            on_step(done, 5, unit="clips")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.text)
    assert "5/5 clips" in plain
    assert "5/5 videos" not in plain


def test_a_table_is_written_to_standard_output_as_wide_as_its_content(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    console.show_table([["", *(f"column {i}" for i in range(10))], ["[row]", *"0123456789"]])
    shown = capsys.readouterr()
    assert shown.err == ""
    header, _, row = (line for line in shown.out.splitlines() if line.strip())
    assert header.split() == [word for i in range(10) for word in ("column", str(i))]
    assert row.split() == ["[row]", *"0123456789"]


def test_training_writes_a_line_for_each_reported_step_to_a_log_file(capsys):
    step = SimpleNamespace(
        stage="lips",
        step=40,
        total=160,
        losses={"lip": 0.12345, "mi": -1.5},
        frames_per_second=35.26,
        seconds_left=3725,
    )
    with console.training() as on_step:
        on_step(step)
    assert capsys.readouterr().err == "lips 40/160  lip 0.123 mi -1.5  35.3 frames/s, 1:02:05 left\n"


def test_training_shows_a_progress_bar_with_the_losses_in_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with console.training() as on_step:
        on_step(SimpleNamespace(stage="full", step=3, total=9, losses={"gan": 2}, frames_per_second=1, seconds_left=59))
    assert "full" in terminal.text
    assert "3/9" in terminal.text
    assert "gan 2  1.0 frames/s, 0:00:59 left" in terminal.text
