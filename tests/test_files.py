"""Files appear whole or not at all, and what the system refuses is one clear error."""

import hashlib

import pytest
from full_disk import files_no_larger_than

from talkface.errors import TalkfaceError
from talkface.files import atomic_write, make_folder, sha256


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


def test_a_full_disk_is_told_by_the_files_name_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write():
        with atomic_write(path) as beside:
            beside.write_text("new " * 100)

    with files_no_larger_than(10), pytest.raises(TalkfaceError, match=r"a\.txt cannot be written: File too large"):
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
