"""Files appear whole or not at all, and what the system refuses is one clear error."""

import hashlib
import json

import pytest

from talkface.errors import TalkfaceError
from talkface.files import atomic_write, make_folder, sha256, write_bytes, write_json, write_lines


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
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
def test_a_block_that_fails_leaves_the_old_file_alone_and_its_error_as_it_was(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with atomic_write(path) as beside:
            beside.write_text("new")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert contents(tmp_path) == {"a.txt": "old"}


def test_a_full_disk_is_told_by_the_files_name_and_leaves_the_old_file(tmp_path, disk_limits):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write():
        with atomic_write(path) as beside:
            beside.write_text("new " * 100)

    with disk_limits(10), pytest.raises(TalkfaceError, match=r"a\.txt cannot be written: File too large"):
        write()
    assert contents(tmp_path) == {"a.txt": "old"}


def test_places_that_cannot_be_written_are_told_before_the_block_begins(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    wrong = {
        "missing/a.txt": "cannot be written: No such file or directory",
        "file/a.txt": "cannot be written: Not a directory",
        "folder": "is a folder",
        "a" * 300: "cannot be written: File name too long",
        "a\0b": "cannot be written: embedded null byte",
    }
    for name, told in wrong.items():
        with pytest.raises(TalkfaceError, match=told) as error, atomic_write(tmp_path / name):
            pytest.fail("the block began")
        assert error.value.fix
    with pytest.raises(TalkfaceError, match="file/new cannot be written"):
        make_folder(tmp_path / "file" / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_name_as_long_as_the_system_takes_is_written(tmp_path):
    with atomic_write(tmp_path / f"{'a' * 251}.txt") as beside:
        beside.write_text("new")
    assert list(contents(tmp_path).values()) == ["new"]


def test_a_hash_is_that_of_the_whole_file(tmp_path):
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
