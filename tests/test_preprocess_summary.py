"""From shards to a data set: index, manifest, audio-video offset, counts and contact sheet."""

import json
import shutil

import cv2
import numpy as np
import pytest

from talkface.data.clip import encode_sound
from talkface.data.reader import open_dataset
from talkface.data.shards import INDEX, ShardWriter, read_lines
from talkface.errors import TalkfaceError
from talkface.preprocess.summary import CONTACT_SHEET, MANIFEST, summarise
from talkface.preprocess.sync import LAG_SECONDS

SOUND = encode_sound(np.zeros(1600, np.float32))
FACTS = {"seconds": 1.0, "yaw": 3.0, "jump": 0.05, "change": 2.0, "eye_distance": 45.0}


def curve_about(lag, height=0.9):
    return [round(float(height * np.exp(-(((at - lag) / 0.08) ** 2))), 3) for at in LAG_SECONDS]


@pytest.fixture(scope="module")
def summarised(tmp_path_factory, clip_factory):
    """30 clips with their sound 0.05 s late, a long and a short one 0.36 s late, and one skipped video."""
    root = tmp_path_factory.mktemp("summarised")
    with ShardWriter(root, "train-00000") as writer:
        for i in range(30):
            clip = with_sound(clip_factory(f"s{i % 3}/clip{i:02d}", 2, speaker=f"s{i % 3}"))
            writer.add(clip, status="kept", facts=FACTS | {"yaw": float(i)}, curve=curve_about(0.05))
        for name, frames in (("long", 50), ("short", 2)):
            clip = with_sound(clip_factory(f"s9/{name}", frames, speaker="s9"))
            writer.add(clip, status="kept", facts=FACTS, curve=curve_about(0.36))
        writer.skip(name="s9/none", split="train", speaker="s9", source="s9/none.mpg", status="no face", facts={})
    return root, summarise(root, "grid")


def with_sound(clip):
    clip.sound = SOUND
    return clip


def test_the_offset_of_the_data_set_is_measured_and_corrected_when_clips_are_read(summarised):
    root, summary = summarised
    assert summary.av_offset == pytest.approx(0.05, abs=0.02)
    assert json.loads((root / "dataset.json").read_text())["av_offset"] == summary.av_offset
    assert open_dataset(root)[0].av_offset == summary.av_offset


def test_a_clip_out_of_step_is_skipped_unless_it_is_too_short_for_a_decision(summarised):
    root, summary = summarised
    lines = {line["name"]: line for line in map(json.loads, (root / MANIFEST).read_text().splitlines())}
    assert (lines["s9/long"]["decision"], lines["s9/long"]["reason"]) == ("skipped", "sound and picture out of step")
    assert lines["s9/short"]["decision"] == "kept"
    assert lines["s9/none"]["reason"] == "no face"
    assert summary.counts == {
        ("train", "kept"): 31,
        ("train", "sound and picture out of step"): 1,
        ("train", "no face"): 1,
    }
    assert "s9/long" not in open_dataset(root).names
    assert summary.frames == 62


def test_the_contact_sheet_shows_all_clips_that_fit_and_the_borderline_ones(summarised):
    root, _ = summarised
    sheet = cv2.imread(str(root / CONTACT_SHEET))
    assert sheet.shape == (5 * 128, 8 * 128, 3)  # 31 clips and two for each of four figures
    assert sheet[4 * 128 :, 7 * 128 :].max() == 0


def test_a_full_disk_is_one_clear_error(summarised, tmp_path, disk_limits):
    root = tmp_path / "copy"
    shutil.copytree(summarised[0], root)
    with disk_limits(1000), pytest.raises(TalkfaceError, match=r"manifest\.jsonl cannot be written"):
        summarise(root, "grid")
    with disk_limits(20_000), pytest.raises(TalkfaceError, match=r"contact_sheet\.png cannot be written"):
        summarise(root, "grid")


def test_clips_without_sound_do_not_count_for_the_offset(tmp_path, clip_factory):
    with ShardWriter(tmp_path, "train-00000") as writer:
        for i in range(60):
            clip = clip_factory(f"s1/clip{i:02d}", 2)
            curve = curve_about(0.28) if i % 2 else curve_about(0.04)
            writer.add(clip if i % 2 else with_sound(clip), status="kept", facts=FACTS, curve=curve)
    assert summarise(tmp_path, "grid").av_offset == pytest.approx(0.04, abs=0.01)
    assert [line["sound"] for line in read_lines(tmp_path / INDEX)] == [True, False] * 30


def test_a_data_set_without_clips_has_a_manifest_and_no_contact_sheet(tmp_path):
    with ShardWriter(tmp_path, "train-00000") as writer:
        writer.skip(name="a", split="train", speaker="", source="a.mp4", status="no sound", facts={"detail": "mute"})
    summary = summarise(tmp_path, "none")
    assert (summary.counts, summary.frames, summary.av_offset) == ({("train", "no sound"): 1}, 0, 0.0)
    assert json.loads((tmp_path / MANIFEST).read_text())["detail"] == "mute"
    assert not (tmp_path / CONTACT_SHEET).exists()
