"""Data sets as they are on disk: what is found, who speaks in it, which split it belongs to."""

from pathlib import Path

import pytest

from talkface.data.layouts import find_sources, piece_name, video_name
from talkface.errors import TalkfaceError


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def found(layout, root, **options):
    """(split, name, speaker, file) of each source."""
    return [(s.split, s.name, s.speaker, s.file) for s in find_sources(layout, root, **options)]


LRW = (
    "ABOUT/train/ABOUT_00001.mp4",
    "ABOUT/train/ABOUT_00001.txt",
    "ABOUT/val/ABOUT_00001.mp4",
    "ZONE/test/ZONE_1.mp4",
)


@pytest.mark.parametrize("above", ["", "lipread_mp4/"])
def test_lrw_is_found_from_its_folder_or_the_one_above(tmp_path, above):
    touch(tmp_path, *(above + name for name in LRW), above + "stray.mp4", above + "ABOUT/train/deeper/x.mp4")
    assert found("lrw", tmp_path) == [
        ("test", "ZONE/test/ZONE_1", "", f"{above}ZONE/test/ZONE_1.mp4"),
        ("train", "ABOUT/train/ABOUT_00001", "", f"{above}ABOUT/train/ABOUT_00001.mp4"),
        ("val", "ABOUT/val/ABOUT_00001", "", f"{above}ABOUT/val/ABOUT_00001.mp4"),
    ]


def test_a_folder_that_names_a_speaker_in_place_of_a_word_is_one(tmp_path):
    touch(tmp_path, "SPK07/train/SPK07_00001.mp4")
    assert [s.speaker for s in find_sources("lrw", tmp_path)] == ["SPK07"]


def test_grid_is_split_by_speaker_wherever_its_videos_lie(tmp_path):
    touch(
        tmp_path, "s1/a.mpg", "s4/video/b.mpg", "S22/c.MP4", "s31.mpg_6000.part1/d.mpg", "s2/e.mpg", "align/s1/a.align"
    )
    assert found("grid", tmp_path) == [
        ("test", "s2/e", "s2", "s2/e.mpg"),
        ("test", "s22/c", "s22", "S22/c.MP4"),
        ("train", "s1/a", "s1", "s1/a.mpg"),
        ("train", "s31/d", "s31", "s31.mpg_6000.part1/d.mpg"),
        ("train", "s4/b", "s4", "s4/video/b.mpg"),
    ]


def test_one_speaker_of_grid_can_be_given_alone(tmp_path):
    touch(tmp_path / "s3", "a.mpg")
    assert found("grid", tmp_path / "s3") == [("test", "s3/a", "s3", "a.mpg")]


def test_a_grid_clip_that_is_there_twice_is_taken_once_from_the_original(tmp_path):
    touch(tmp_path, "s1/a.mp4", "s1/a.mpg")
    assert [s.file for s in find_sources("grid", tmp_path)] == ["s1/a.mpg"]


def test_videos_of_one_folder_are_in_one_split_and_ninety_in_a_hundred_folders_train(tmp_path):
    touch(tmp_path, *(f"person{i}/{clip}.mov" for i in range(400) for clip in "ab"))
    splits = {}
    for source in find_sources("folder", tmp_path):
        splits.setdefault(source.speaker, set()).add(source.split)
    assert all(len(of_one) == 1 for of_one in splits.values())
    train = sum(of_one == {"train"} for of_one in splits.values())
    assert train == pytest.approx(360, abs=18)  # three standard deviations of a binomial


def test_a_list_of_splits_names_videos_or_folders_and_leaves_the_others_out(tmp_path):
    touch(tmp_path / "v", "ann/1.mp4", "ann/2.mp4", "ben/3.mp4", "cy/4.mp4")
    listed = tmp_path / "splits.txt"
    listed.write_text("# who is where\nann train\nann/2.mp4 test\n\nben/3, val\n")
    assert [s[:2] for s in found("folder", tmp_path / "v", split_list=listed)] == [
        ("test", "ann/2"),
        ("train", "ann/1"),
        ("val", "ben/3"),
    ]


def test_a_wrong_line_in_the_list_of_splits_is_named(tmp_path):
    touch(tmp_path, "a.mp4")
    (tmp_path / "splits.txt").write_text("a.mp4 train\na.mp4 training\n")
    with pytest.raises(TalkfaceError, match=r"line 2: 'a\.mp4 training'"):
        find_sources("folder", tmp_path, split_list=tmp_path / "splits.txt")
    with pytest.raises(TalkfaceError, match="does not exist"):
        find_sources("folder", tmp_path, split_list=tmp_path / "none.txt")


def test_names_are_unique_and_hold_no_dot_or_plus_which_mean_something_in_a_shard(tmp_path):
    touch(tmp_path, "a.b.mp4", "a_b.mp4", "a+b.mov", "a_b.mov", "c.mp4", ".hidden/d.mp4", "._c.mp4")
    names = [source.name for source in find_sources("folder", tmp_path)]
    assert len(set(names)) == 5
    assert "c" in names
    assert not any("." in name or "+" in name for name in names)


def test_the_video_of_a_piece_is_known_from_the_clips_name():
    assert piece_name("talks/monday", 3) == "talks/monday+003"
    assert video_name("talks/monday+003") == video_name("talks/monday") == "talks/monday"


def test_a_missing_folder_a_file_and_an_empty_folder_are_told_apart(tmp_path):
    with pytest.raises(TalkfaceError, match="does not exist"):
        find_sources("lrw", tmp_path / "none")
    touch(tmp_path, "file")
    with pytest.raises(TalkfaceError, match="is not a folder"):
        find_sources("lrw", tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TalkfaceError, match="it is empty"):
        find_sources("folder", tmp_path / "empty")


def test_a_folder_in_another_layout_is_shown_with_what_was_expected(tmp_path):
    touch(tmp_path, "clips/a.mp4")
    with pytest.raises(TalkfaceError, match=r"lrw layout .*holds clips") as caught:
        find_sources("lrw", tmp_path)
    assert "lipread_mp4/WORD/{train,val,test}" in caught.value.fix
    assert "--data folder" in caught.value.fix


def test_a_split_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    touch(tmp_path, *LRW)
    assert [s.split for s in find_sources("lrw", tmp_path, split="val")] == ["val"]
    touch(tmp_path / "g", "s1/a.mpg")
    with pytest.raises(TalkfaceError, match=r"No video of split val .*train 1"):
        find_sources("grid", tmp_path / "g", split="val")


def test_sources_know_where_their_file_is(tmp_path):
    touch(tmp_path, "s1/a.mpg")
    assert find_sources("grid", tmp_path)[0].path == Path(tmp_path / "s1/a.mpg")
