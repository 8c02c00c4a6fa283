"""Files are written atomically, and errors of the system become clear errors."""

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from talkface.errors import TalkfaceError
from talkface.files import (
    atomic_write,
    check_output_files,
    check_writable_file,
    check_writable_folder,
    make_folder,
    repeatable,
    require_file,
    sha256,
    write_bytes,
    write_json,
    write_lines,
)


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_write(path) as beside:
        beside.write_text("new")
        assert beside.suffix == ".txt"
        assert path.read_text() == "old"
    assert contents(tmp_path) == {"a.txt": "new"}


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), RuntimeError(), FileNotFoundError(2, "No such file", "elsewhere")]
)
def test_a_failing_block_leaves_the_old_file_and_raises_its_own_error(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with atomic_write(path) as beside:
            beside.write_text("new")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert contents(tmp_path) == {"a.txt": "old"}


def test_the_error_of_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path, disk_limits):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write():
        with atomic_write(path) as beside:
            beside.write_text("new " * 100)

    with disk_limits(10), pytest.raises(TalkfaceError, match=r"a\.txt cannot be written: File too large"):
        write()
    assert contents(tmp_path) == {"a.txt": "old"}


def test_a_target_that_cannot_be_written_is_an_error_before_the_block_begins(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    wrong = {
        "missing/a.txt": "cannot be written: No such file or directory",
        "file/a.txt": "cannot be written: Not a directory",
        "folder": "is a folder",
        "a" * 300: "cannot be written: File name too long",
        "a\0b": "cannot be written: embedded null byte",
    }
    for name, problem in wrong.items():
        with pytest.raises(TalkfaceError, match=problem) as error, atomic_write(tmp_path / name):
            pytest.fail("the block began")
        assert error.value.fix
    with pytest.raises(TalkfaceError, match="file/new cannot be written"):
        make_folder(tmp_path / "file" / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_name_of_the_maximum_length_is_written(tmp_path):
    with atomic_write(tmp_path / f"{'a' * 251}.txt") as beside:
        beside.write_text("new")
    assert list(contents(tmp_path).values()) == ["new"]


def test_the_hash_is_that_of_the_whole_file(tmp_path):
    data = bytes(range(256)) * 10_000
    (tmp_path / "a").write_bytes(data)
    assert sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_json_is_indented_keeps_the_order_of_keys_and_ends_with_a_newline(tmp_path):
    write_json(tmp_path / "a.json", {"speaker": "Zoë", "frames": [1, 2]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == (
        '{\n  "speaker": "Zoë",\n  "frames": [\n    1,\n    2\n  ]\n}\n'
    )


def test_json_lines_have_one_object_each_with_sorted_keys(tmp_path):
    rows = [{"b": 1, "a": "Zoë"}, {"c": None}]
    write_lines(tmp_path / "a.jsonl", iter(rows))
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert lines[0].startswith('{"a"')
    assert [json.loads(line) for line in lines] == rows


@pytest.mark.parametrize(
    "write, content",
    [(write_bytes, b"new" * 100), (write_json, {"new": "a" * 300}), (write_lines, [{"new": "a" * 300}])],
)
def test_a_full_disk_leaves_the_earlier_file(tmp_path, disk_limits, write, content):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with disk_limits(10), pytest.raises(TalkfaceError, match=r"a\.txt cannot be written"):
        write(path, content)
    assert contents(tmp_path) == {"a.txt": "old"}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A current folder with a file, a link to it, a folder and an empty file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.wav").write_bytes(b"sound")
    (tmp_path / "link.wav").symlink_to("file.wav")
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.wav").touch()
    return tmp_path


def test_a_required_file_is_returned_as_an_absolute_path(files):
    assert require_file("file.wav", "a recording") == files / "file.wav"


@pytest.mark.parametrize(
    "name, problem",
    [
        ("missing.wav", r"There is no file missing\.wav"),
        ("folder", "folder is a folder, not a recording"),
        ("empty.wav", r"empty\.wav is empty \(0 bytes\), not a recording"),
        ("a" * 300, "cannot be opened: File name too long"),
        ("a\0b", "cannot be opened: embedded null byte"),
        ("/dev/null", "/dev/null is a device"),
        ("https://example.org/a.wav", r"https://example\.org/a\.wav is a URL, not a recording"),
        (Path("http://example.org/a.wav"), r"http://example\.org/a\.wav is a URL, not a recording"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_clear_error(files, name, problem):
    with pytest.raises(TalkfaceError, match=problem) as error:
        require_file(name, "a recording")
    assert error.value.fix


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
def test_a_pipe_is_refused_as_a_required_file_and_can_be_copied_to_a_repeatable_one(files):
    os.mkfifo("pipe")
    with pytest.raises(TalkfaceError, match="pipe is a pipe, which can be read only once"):
        require_file("pipe", "a recording")
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(b"sound" * 10**6))
    writer.start()
    with repeatable("pipe", "a recording") as copy:
        assert copy.name == "pipe"
        assert copy.read_bytes() == copy.read_bytes() == b"sound" * 10**6
    writer.join()
    assert not copy.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
def test_a_pipe_that_no_program_writes_to_is_an_error_after_a_while(files, monkeypatch):
    monkeypatch.setattr("talkface.files.FIRST_WRITER", 0.2)
    os.mkfifo("pipe")
    threads = threading.active_count()
    with (
        pytest.raises(TalkfaceError, match=r"pipe is a pipe that no program has written to for 0 seconds"),
        repeatable("pipe", "a recording"),
    ):
        pytest.fail("the block began")
    assert threading.active_count() == threads


def test_an_open_file_of_this_process_is_copied(files):
    with Path("file.wav").open("rb") as opened, repeatable(f"/dev/fd/{opened.fileno()}", "a recording") as copy:
        assert copy.read_bytes() == b"sound"


def test_a_file_is_not_copied(files):
    with repeatable("file.wav", "a recording") as path:
        assert path == Path("file.wav")


def test_an_empty_pipe_and_an_open_device_are_clear_errors(files):
    reading, writing = os.pipe()
    os.close(writing)
    with pytest.raises(TalkfaceError, match="is empty"), repeatable(f"/dev/fd/{reading}", "a recording"):
        pytest.fail("the block began")
    os.close(reading)
    with (
        Path(os.devnull).open("rb") as device,
        pytest.raises(TalkfaceError, match="is a device, not a recording"),
        repeatable(f"/dev/fd/{device.fileno()}", "a recording"),
    ):
        pytest.fail("the block began")


@pytest.mark.parametrize(
    "name, problem",
    [
        ("missing/a.mp4", r"--out missing/a\.mp4: missing does not exist"),
        ("file.wav/a.mp4", r"--out file\.wav/a\.mp4: file\.wav is not a folder"),
        ("folder", "--out folder is a folder"),
        ("a" * 300, "--out a+: File name too long"),
        ("/proc/a.mp4", r"--out /proc/a\.mp4: cannot write to the folder /proc"),
    ],
)
def test_an_output_file_that_cannot_be_written_is_an_error_that_names_its_flag(files, name, problem):
    with pytest.raises(TalkfaceError, match=problem) as error:
        check_writable_file("--out", Path(name))
    assert error.value.fix


@pytest.mark.parametrize("name", ["a.mp4", "file.wav", "folder/a.mp4"])
def test_an_output_file_that_can_be_written_passes_and_is_not_created(files, name):
    before = sorted(files.rglob("*"))
    check_writable_file("--out", Path(name))
    assert sorted(files.rglob("*")) == before


@pytest.mark.parametrize(
    "name, problem",
    [
        ("file.wav", r"--figures file\.wav: file\.wav is not a folder"),
        ("file.wav/new", r"--figures file\.wav/new: .*file\.wav is not a folder"),
        ("a" * 300, "--figures a+: File name too long"),
        ("/proc/new", "--figures /proc/new: cannot write to the folder /proc"),
    ],
)
def test_an_output_folder_that_cannot_be_written_is_an_error_that_names_its_flag(files, name, problem):
    with pytest.raises(TalkfaceError, match=problem) as error:
        check_writable_folder("--figures", Path(name))
    assert error.value.fix


@pytest.mark.parametrize("name", ["folder", "new", "folder/new/deep", "."])
def test_an_output_folder_that_exists_or_can_be_created_passes(files, name):
    before = sorted(files.rglob("*"))
    check_writable_folder("--figures", Path(name))
    assert sorted(files.rglob("*")) == before


def test_outputs_must_differ_from_inputs_and_from_each_other(files):
    check_output_files({"--out": Path("a.mp4"), "--json": Path("a.json")}, ["file.wav", Path("missing.jpg")])
    with pytest.raises(TalkfaceError, match=r"--out link\.wav is the input file\.wav"):
        check_output_files({"--out": Path("link.wav")}, ["file.wav"])
    with pytest.raises(TalkfaceError, match=r"--json folder/\.\./a\.mp4 is the same file as --out a\.mp4"):
        check_output_files({"--out": Path("a.mp4"), "--json": Path("folder/../a.mp4")}, ["file.wav"])
