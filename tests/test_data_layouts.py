"""The layouts of data sets: which videos are found, and their speakers and splits."""

from collections import Counter
from pathlib import Path

import pytest

from talkface.data.layouts import Source, find_sources, limit_evenly, piece_name, video_name
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
def test_lrw_is_found_in_its_folder_or_in_the_parent_folder(tmp_path, above):
    touch(tmp_path, *(above + name for name in LRW), above + "stray.mp4", above + "ABOUT/train/deeper/x.mp4")
    assert found("lrw", tmp_path) == [
        ("test", "ZONE/test/ZONE_1", "", f"{above}ZONE/test/ZONE_1.mp4"),
        ("train", "ABOUT/train/ABOUT_00001", "", f"{above}ABOUT/train/ABOUT_00001.mp4"),
        ("val", "ABOUT/val/ABOUT_00001", "", f"{above}ABOUT/val/ABOUT_00001.mp4"),
    ]


def test_a_folder_named_like_a_speaker_instead_of_a_word_gives_the_speaker(tmp_path):
    touch(tmp_path, "SPK07/train/SPK07_00001.mp4")
    assert [s.speaker for s in find_sources("lrw", tmp_path)] == ["SPK07"]


def test_grid_is_split_by_speaker_in_every_arrangement_of_its_folders(tmp_path):
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


def test_the_folder_of_one_speaker_of_grid_is_accepted(tmp_path):
    touch(tmp_path / "s3", "a.mpg")
    assert found("grid", tmp_path / "s3") == [("test", "s3/a", "s3", "a.mpg")]


def test_of_two_files_of_a_grid_clip_only_the_original_is_used(tmp_path):
    touch(tmp_path, "s1/a.mp4", "s1/a.mpg")
    assert [s.file for s in find_sources("grid", tmp_path)] == ["s1/a.mpg"]


def test_videos_of_one_folder_are_in_one_split_and_90_percent_of_the_folders_train(tmp_path):
    touch(tmp_path, *(f"person{i}/{clip}.mov" for i in range(400) for clip in "ab"))
    splits = {}
    for source in find_sources("folder", tmp_path):
        splits.setdefault(source.speaker, set()).add(source.split)
    assert all(len(of_one) == 1 for of_one in splits.values())
    train = sum(of_one == {"train"} for of_one in splits.values())
    assert train == pytest.approx(360, abs=18)  # three standard deviations of a binomial


def test_a_list_of_splits_can_name_videos_or_folders_and_excludes_all_others(tmp_path):
    touch(tmp_path / "v", "ann/1.mp4", "ann/2.mp4", "ben/3.mp4", "cy/4.mp4")
    listed = tmp_path / "splits.txt"
    listed.write_text("# who is where\nann train\nann/2.mp4 test\n\nben/3, val\n")
    assert [s[:2] for s in found("folder", tmp_path / "v", split_list=listed)] == [
        ("test", "ann/2"),
        ("train", "ann/1"),
        ("val", "ben/3"),
    ]


def test_the_error_of_a_wrong_line_in_the_list_of_splits_shows_the_line(tmp_path):
    touch(tmp_path, "a.mp4")
    (tmp_path / "splits.txt").write_text("a.mp4 train\na.mp4 training\n")
    with pytest.raises(TalkfaceError, match=r"line 2: 'a\.mp4 training'"):
        find_sources("folder", tmp_path, split_list=tmp_path / "splits.txt")
    with pytest.raises(TalkfaceError, match="does not exist"):
        find_sources("folder", tmp_path, split_list=tmp_path / "none.txt")


def test_names_are_unique_and_have_no_dot_or_plus_because_these_have_a_meaning_in_shards(tmp_path):
    touch(tmp_path, "a.b.mp4", "a_b.mp4", "a+b.mov", "a_b.mov", "c.mp4", ".hidden/d.mp4", "._c.mp4")
    names = [source.name for source in find_sources("folder", tmp_path)]
    assert len(set(names)) == 5
    assert "c" in names
    assert not any("." in name or "+" in name for name in names)


def test_the_name_of_a_piece_contains_the_name_of_its_video():
    assert piece_name("talks/monday", 3) == "talks/monday+003"
    assert video_name("talks/monday+003") == video_name("talks/monday") == "talks/monday"


def test_a_missing_folder_a_file_and_an_empty_folder_have_different_errors(tmp_path):
    with pytest.raises(TalkfaceError, match="does not exist"):
        find_sources("lrw", tmp_path / "none")
    touch(tmp_path, "file")
    with pytest.raises(TalkfaceError, match="is not a folder"):
        find_sources("lrw", tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TalkfaceError, match="it is empty"):
        find_sources("folder", tmp_path / "empty")


def test_the_error_of_a_folder_in_another_layout_shows_its_content_and_what_was_expected(tmp_path):
    touch(tmp_path, "clips/a.mp4")
    with pytest.raises(TalkfaceError, match=r"lrw layout .*holds clips") as caught:
        find_sources("lrw", tmp_path)
    assert "lipread_mp4/WORD/{train,val,test}" in caught.value.fix
    assert "--data folder" in caught.value.fix


def test_the_error_of_a_missing_split_lists_the_existing_ones(tmp_path):
    touch(tmp_path, *LRW)
    assert [s.split for s in find_sources("lrw", tmp_path, split="val")] == ["val"]
    touch(tmp_path / "g", "s1/a.mpg")
    with pytest.raises(TalkfaceError, match=r"No video of split val .*train 1"):
        find_sources("grid", tmp_path / "g", split="val")


def test_a_source_has_the_path_of_its_file(tmp_path):
    touch(tmp_path, "s1/a.mpg")
    assert find_sources("grid", tmp_path)[0].path == Path(tmp_path / "s1/a.mpg")


def test_links_to_folders_and_files_are_followed(tmp_path):
    touch(tmp_path / "elsewhere", "one.mp4", "deeper/two.mp4", "three.mp4")
    touch(tmp_path / "source/ann", "zero.mp4")
    (tmp_path / "source/ben").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "source/ann/four.mp4").symlink_to(tmp_path / "elsewhere/three.mp4")
    (tmp_path / "source/broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "source/broken.mp4").symlink_to(tmp_path / "nowhere.mp4")
    sources = find_sources("folder", tmp_path / "source")
    assert sorted(source.file for source in sources) == [
        *("ann/four.mp4", "ann/zero.mp4", "ben/deeper/two.mp4", "ben/one.mp4", "ben/three.mp4"),
        "broken.mp4",  # so that it is counted as a video that cannot be read
    ]
    assert all(source.path == tmp_path / "source" / source.file for source in sources)


@pytest.mark.parametrize("layout", ["lrw", "grid"])
def test_folders_of_lrw_and_grid_can_be_links(tmp_path, layout):
    name = {"lrw": "ABOUT/train/ABOUT_00001", "grid": "s1/bbaf2n"}[layout]
    touch(tmp_path / "disk", f"{name}.mp4")
    (tmp_path / "source").mkdir()
    top = name.split("/")[0]
    (tmp_path / "source" / top).symlink_to(tmp_path / "disk" / top, target_is_directory=True)
    assert [source.name for source in find_sources(layout, tmp_path / "source")] == [name]


def test_loops_of_links_end_and_no_video_is_found_twice(tmp_path):
    touch(tmp_path / "source", "ann/one.mp4", "ben/two.mp4")
    (tmp_path / "source/ann/again").symlink_to(tmp_path / "source", target_is_directory=True)
    (tmp_path / "source/ben/itself").symlink_to(tmp_path / "source/ben", target_is_directory=True)
    (tmp_path / "source/above").symlink_to(tmp_path, target_is_directory=True)
    assert [s.file for s in sorted(find_sources("folder", tmp_path / "source"), key=lambda s: s.file)] == [
        *("ann/one.mp4", "ben/two.mp4")
    ]


def test_a_folder_with_several_links_is_found_once_by_its_path_without_links_if_there_is_one(tmp_path):
    touch(tmp_path, "source/zoe/one.mp4", "elsewhere/two.mp4")
    for link, target in (("a_zoe", "source/zoe"), ("b_else", "elsewhere"), ("c_else", "elsewhere")):
        (tmp_path / "source" / link).symlink_to(tmp_path / target, target_is_directory=True)
    assert sorted(s.file for s in find_sources("folder", tmp_path / "source")) == ["b_else/two.mp4", "zoe/one.mp4"]


def sources_of(split, **counts):
    """Sorted sources with that many videos for each speaker, named by their number."""
    return [
        Source(split, f"{speaker}/{i:03d}", speaker, Path(f"{speaker}/{i:03d}.mpg"), f"{speaker}/{i:03d}.mpg")
        for speaker, count in sorted(counts.items())
        for i in range(count)
    ]


def numbers(sources):
    return [int(source.name.split("/")[1]) for source in sources]


def test_a_limit_spreads_evenly_over_the_names_of_a_speaker():
    assert numbers(limit_evenly(sources_of("train", s1=100), 4)) == [0, 25, 50, 75]


def test_a_limit_takes_the_same_number_of_every_speaker_and_all_of_those_with_few_videos():
    chosen = limit_evenly(sources_of("train", s1=100, s2=100, s3=3, s4=50), 33)
    assert Counter(source.speaker for source in chosen) == {"s1": 10, "s2": 10, "s3": 3, "s4": 10}
    assert chosen == sorted(chosen)


def test_speakers_with_one_chosen_video_each_do_not_all_give_the_first_by_name():
    """In GRID the first video of every speaker is the same sentence."""
    chosen = limit_evenly(sources_of("train", **{f"s{i:02d}": 1000 for i in range(10)}), 10)
    assert len({source.speaker for source in chosen}) == 10
    assert sorted(numbers(chosen)) == list(range(0, 1000, 100))


def test_a_limit_below_the_number_of_speakers_spreads_over_them():
    chosen = limit_evenly(sources_of("train", **{f"s{i:02d}": 10 for i in range(16)}), 4)
    assert [source.speaker for source in chosen] == ["s00", "s04", "s08", "s12"]


def test_a_limit_is_for_each_split_and_a_larger_one_adds_videos():
    sources = sorted(sources_of("train", s1=57, s2=31, s3=4) + sources_of("test", s5=12, s6=3))
    before = set()
    for limit in (1, 2, 7, 20, 33, 92, 1000):
        chosen = limit_evenly(sources, limit)
        assert before <= set(chosen)
        assert Counter(source.split for source in chosen) == {"train": min(limit, 92), "test": min(limit, 15)}
        before = set(chosen)
    assert chosen == sources


def test_each_photo_is_another_person_and_videos_among_them_are_left_out(tmp_path):
    touch(tmp_path, "a/one.jpg", "a/two.PNG", "b/three.webp", "a/clip.mp4", "notes.txt")
    splits = tmp_path / "list.split"
    splits.write_text("a train\nb/three.webp val\n")
    assert found("photos", tmp_path, split_list=splits) == [
        ("train", "a/one", "", "a/one.jpg"),
        ("train", "a/two", "", "a/two.PNG"),
        ("val", "b/three", "", "b/three.webp"),
    ]
    with pytest.raises(TalkfaceError, match="No photo in the photos layout"):
        find_sources("photos", touch(tmp_path / "videos", "only.mp4"))
