"""Whole runs over a folder of good and bad videos: what is kept, why the rest is skipped, and resuming after a kill."""

import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from talkface.config import FPS, SOUND_RATE
from talkface.data.reader import open_dataset
from talkface.data.shards import INDEX, ShardWriter, read_lines, shard_indexes
from talkface.errors import TalkfaceError
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.preprocess import PreprocessConfig, preprocess
from talkface.preprocess.limits import QualityLimits
from talkface.preprocess.summary import MANIFEST

GOOD = {"anna/one": 16, "anna/two": 12, "ben/three": 14}  # frames
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory, video_factory):
    """Three good videos, and one for each reason to skip a video."""
    root = tmp_path_factory.mktemp("collection")
    for seed, (name, frames) in enumerate(GOOD.items()):
        video_factory.write_talking(root / "videos" / f"{name}.mp4", frames, seed)
    bad, face, loudness = root / "videos" / "bad", video_factory.portrait(), video_factory.loudness(12)
    talk, sound = video_factory.talking_frames(loudness), video_factory.audio(loudness)
    nobody = np.full((256, 256, 3), 90, np.uint8)
    closer = cv2.resize(face[60:220, 50:210], (256, 256))
    video_factory.write(bad / "mute.mp4", talk)
    video_factory.write(bad / "silent.mp4", talk, np.zeros_like(sound))
    video_factory.write(bad / "two_people.mp4", [np.hstack([one, face[:, ::-1]]) for one in talk], sound)
    video_factory.write(bad / "one_frame.mp4", talk[:1], sound[:640])
    video_factory.write(bad / "cut.mp4", talk[:6] + [closer] * 6, sound)
    video_factory.write(bad / "nobody.mp4", [nobody] * 12, sound)
    video_factory.write(bad / "leaves.mp4", talk[:8] + [nobody] * 4, sound)
    video_factory.write(bad / "far.mp4", [smaller(one) for one in talk], sound)
    video_factory.write(bad / "half_sound.mp4", talk, sound[: len(sound) // 4])
    damaged = bytearray(video_factory.write_talking(bad / "damaged.mp4", 40).read_bytes())
    third = len(damaged) // 3
    damaged[third : 2 * third] = np.random.default_rng(0).bytes(third)
    (bad / "damaged.mp4").write_bytes(damaged)
    (bad / "text.mp4").write_text("This is no video.\n" * 100)
    (bad / "empty.mp4").touch()
    (root / "splits.txt").write_text("anna train\nben val\nbad test\n")
    return root


def smaller(picture):
    """The same at a third of the size, on gray."""
    canvas = np.full_like(picture, 90)
    canvas[80:165, 80:165] = cv2.resize(picture, (85, 85), interpolation=cv2.INTER_AREA)
    return canvas


REASONS = {
    "mute": "no sound",
    "silent": "no sound",
    "two_people": "several faces",
    "one_frame": "too short",
    "cut": "cut inside",
    "nobody": "no face",
    "leaves": "face not seen throughout",
    "far": "face too small",
    "half_sound": "sound and picture differ in length",
    "damaged": "damaged",
    "text": "cannot be read",
    "empty": "cannot be read",
}


def config_of(folder, out, **options):
    return PreprocessConfig(
        data="folder",
        source=folder / "videos",
        out=out,
        split_list=folder / "splits.txt",
        name="videos",
        clips_per_shard=2,
        **options,
    )


@pytest.fixture(scope="module")
def report(folder):
    return preprocess(config_of(folder, folder / "whole", workers=2))


def contents(root):
    """Every file below `root`."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_every_bad_video_is_skipped_for_its_own_reason_and_no_exception_is_raised(report):
    lines = {line["name"]: line for line in read_lines(report.root / MANIFEST)}
    skipped = {name.removeprefix("bad/"): line["reason"] for name, line in lines.items() if line["reason"]}
    assert skipped == REASONS
    assert {name for name, line in lines.items() if line["decision"] == "kept"} == set(GOOD)
    assert lines["bad/text"]["detail"].startswith("text.mp4 cannot be decoded")
    assert lines["bad/two_people"]["faces"] == 2
    assert lines["bad/text"]["source"] == "bad/text.mp4"
    assert lines["bad/damaged"]["decode_errors"] > 20
    assert all(lines[name]["decode_errors"] == 0 for name in GOOD)


def test_the_report_counts_videos_by_reason_and_split(report):
    assert report.rows()[0] == ("kept", {"train": 2, "val": 1, "test": 0})
    assert dict(report.rows())["no sound"] == {"train": 0, "val": 0, "test": 2}
    assert (report.videos, report.frames, report.left, report.workers) == (15, sum(GOOD.values()), 0, 2)
    assert report.summary.bytes_per_clip > 10_000


def test_the_data_set_is_read_by_split_with_its_speakers(report):
    dataset = open_dataset(report.root)
    assert dict(zip(dataset.names, dataset.lengths, strict=True)) == GOOD
    assert dataset.speakers == ["anna", "ben"]
    clip = open_dataset(report.root, "val")[0]
    assert (clip.dataset, clip.split, clip.speaker, clip.source) == ("videos", "val", "ben", "ben/three.mp4")
    assert clip.frame(13).shape == (256, 256, 3)
    assert clip.mfcc.shape == (14, 20, 13)
    assert len(clip.waveform) == pytest.approx(14 / FPS * SOUND_RATE, abs=0.05 * SOUND_RATE)
    assert [line["sound"] for line in read_lines(report.root / INDEX)] == [True] * 3


def test_a_contact_sheet_shows_every_speaker(report):
    sheet = cv2.imread(str(report.contact_sheet))
    assert sheet.shape == (2 * 128, 8 * 128, 3)  # three clips, and two borderline clips for each of four figures
    assert sheet[:128, : 3 * 128].std() > 30


def test_running_again_does_nothing_and_changes_nothing(folder, report):
    before = contents(report.root)
    again = preprocess(config_of(folder, report.root, workers=2))
    assert (again.videos, again.frames) == (0, 0)
    assert again.rows() == report.rows()
    assert contents(report.root) == before


def test_videos_without_sound_are_kept_if_no_sound_is_needed(folder, tmp_path):
    (tmp_path / "splits.txt").write_text("bad/mute.mp4 train\nbad/silent.mp4 train\nanna/two.mp4 train\n")
    config = replace(config_of(folder, tmp_path / "out", workers=1), split_list=tmp_path / "splits.txt")
    assert preprocess(replace(config, limits=QualityLimits(need_sound=False))).frames == 36
    lines = read_lines(tmp_path / "out" / INDEX)
    assert [(line["name"], line["sound"]) for line in lines] == [
        *(("anna/two", True), ("bad/mute", False), ("bad/silent", False))
    ]
    assert [bool(len(clip.waveform)) for clip in open_dataset(tmp_path / "out")] == [True, False, False]


def test_the_run_that_completes_the_data_set_estimates_offsets_also_when_all_videos_are_done(folder, report, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(report.root, root)
    for config, loads in ((config_of(folder, root), 1), (config_of(folder, tmp_path / "half", shard="1/2"), 0)):
        with pytest.MonkeyPatch.context() as patch:
            loaded = []
            patch.setattr("talkface.preprocess.offsets.MIN_FRAMES", 10)
            patch.setattr(
                "talkface.preprocess.load_predictor", lambda path, loaded=loaded: loaded.append(path) or still
            )
            steps = []
            again = preprocess(config, lambda *step, steps=steps: steps.append(step))
        assert (len(loaded), loaded) == (loads, [None] * loads)
        assert set(again.summary.offsets.sources) <= set(GOOD)
        if loads:
            assert steps == [(1, 3), (2, 3), (3, 3)]
            assert set(again.summary.offsets.sources) == set(GOOD)


def still(clip):
    """A stub of the Audio Encoder: the mouth does not move."""
    return np.zeros(len(clip))


def test_an_offset_by_hand_is_written_without_decoding_videos_again(folder, report, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(report.root, root)
    again = preprocess(config_of(folder, root, av_offset=0.06))
    assert again.videos == 0
    assert [line["av_offset"] for line in read_lines(root / INDEX)] == [0.06] * 3


@pytest.mark.parametrize("seconds", [40.0, float("nan")])
def test_an_offset_by_hand_that_is_no_likely_number_of_seconds_is_refused(folder, tmp_path, seconds):
    with pytest.raises(TalkfaceError, match="--av-offset"):
        preprocess(config_of(folder, tmp_path / "out", av_offset=seconds))
    assert not (tmp_path / "out").exists()


def test_weights_beside_an_offset_by_hand_or_that_are_missing_are_an_error_before_any_work(folder, tmp_path):
    with pytest.raises(TalkfaceError, match="--av-weights has no effect"):
        preprocess(config_of(folder, tmp_path / "out", av_offset=0.1, av_weights=tmp_path / "none"))
    with pytest.raises(TalkfaceError, match="none does not exist"):
        preprocess(config_of(folder, tmp_path / "out", av_weights=tmp_path / "none"))
    assert not (tmp_path / "out").exists()


def test_a_limit_takes_videos_of_all_speakers_and_a_larger_one_adds_to_them(tmp_path):
    for speaker in ("ann", "ben"):
        for video in "abcd":
            (tmp_path / "source" / speaker).mkdir(parents=True, exist_ok=True)
            (tmp_path / "source" / speaker / f"{video}.mp4").write_text("not a video")
    (tmp_path / "splits.txt").write_text(". train\n")
    for limit, names in ((2, {"ann/a", "ben/c"}), (4, {"ann/a", "ann/c", "ben/a", "ben/c"})):
        options = {"out": tmp_path / "out", "split_list": tmp_path / "splits.txt", "workers": 1}
        report = preprocess(PreprocessConfig("folder", tmp_path / "source", limit=limit, **options))
        assert report.videos == 2
        assert {line["name"] for line in read_lines(report.root / MANIFEST)} == names


def test_a_run_that_was_killed_and_run_again_gives_the_same_bytes_as_one_run(folder, report):
    out = folder / "killed"
    code = "import pickle, sys; from talkface.preprocess import preprocess; preprocess(pickle.load(sys.stdin.buffer))"
    run = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with run.stdin as pipe:
        pipe.write(pickle.dumps(config_of(folder, out, workers=1)))
    while len(shard_indexes(out)) < 3 and run.poll() is None:
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert 3 <= len(shard_indexes(out)) < len(shard_indexes(report.root))
    with pytest.raises(TalkfaceError, match="has not finished"):
        open_dataset(out)
    rest = preprocess(config_of(folder, out, workers=2))
    assert 0 < rest.videos < report.videos
    assert contents(out) == contents(report.root)


def test_the_parts_of_an_array_job_give_the_whole_data_set(folder, report):
    out = folder / "parts"
    left = [preprocess(config_of(folder, out, workers=1, shard=f"{i}/2")).left for i in (1, 2)]
    assert left[0] > 0
    assert left[1] == 0
    assert contents(out) == contents(report.root)


def test_an_empty_source_is_a_clear_error_and_leaves_no_data_set(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(TalkfaceError, match=r"No video in the folder layout .*it is empty") as caught:
        preprocess(PreprocessConfig(data="folder", source=tmp_path / "empty", out=tmp_path / "out"))
    assert ".mp4" in caught.value.fix
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        *({"data": "lsr"}, {"split": "dev"}, {"workers": -1}, {"limit": 0}, {"engine": "slurm"}, {"shard": "3/2"}),
        {"clips_per_shard": 0},
    ],
    ids=str,
)
def test_a_wrong_option_is_named_before_any_file_is_written(folder, tmp_path, wrong):
    options = {"data": "folder", "source": folder / "videos", "out": tmp_path / "out"} | wrong
    with pytest.raises(TalkfaceError, match="--" + next(iter(wrong)).replace("_", "-")):
        preprocess(PreprocessConfig(**options))
    assert not (tmp_path / "out").exists()


def test_the_error_that_ends_a_run_is_shown_even_if_the_summary_fails_too(folder, tmp_path, monkeypatch):
    def full(*_):
        raise TalkfaceError("The disk is full.")

    def broken(*_):
        raise TalkfaceError("The summary cannot be written.")

    with ShardWriter(tmp_path, "train-00000") as writer:
        writer.skip(name="a", split="train")
    monkeypatch.setattr("talkface.preprocess.run_local", full)
    monkeypatch.setattr("talkface.preprocess.summarise", broken)
    with pytest.raises(TalkfaceError, match="The disk is full"):
        preprocess(config_of(folder, tmp_path))


def test_without_ffmpeg_the_run_ends_before_any_video_is_skipped(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    ffmpeg_exe.cache_clear()
    try:
        with pytest.raises(TalkfaceError, match="No ffmpeg found"):
            preprocess(config_of(folder, tmp_path / "out"))
    finally:
        ffmpeg_exe.cache_clear()
    assert not (tmp_path / "out").exists()


def test_the_default_name_is_that_of_the_layout_or_of_the_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TALKFACE_DATA", str(tmp_path))
    listed = tmp_path / "splits.txt"
    listed.write_text("bad/text.mp4 train\n")
    report = preprocess(PreprocessConfig(data="folder", source=folder / "videos", split_list=listed, workers=1))
    assert (report.name, report.root) == ("videos", tmp_path / "videos")
    with pytest.raises(TalkfaceError, match=r"no clips \(it has train 0"):
        open_dataset("videos")
