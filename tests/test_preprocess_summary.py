"""From shards to a data set: what follows from all clips together."""

import json
import shutil

import cv2
import numpy as np
import pytest
from full_disk import files_no_larger_than
from packed import a_clip

from talkface.data.reader import open_dataset
from talkface.data.shards import ShardWriter
from talkface.errors import TalkfaceError
from talkface.preprocess.summary import CONTACT_SHEET, MANIFEST, summarise
from talkface.preprocess.sync import LAGS

FACTS = {"seconds": 1.0, "yaw": 3.0, "jump": 0.05, "change": 2.0, "eye_distance": 45.0}


def curve_about(lag, height=0.9):
    return [round(float(height * np.exp(-(((at - lag) / 0.08) ** 2))), 3) for at in LAGS]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """30 clips with their sound 0.05 s late, a long and a short one 0.36 s late, and one skipped video."""
    root = tmp_path_factory.mktemp("made")
    with ShardWriter(root, "train-00000") as shard:
        for i in range(30):
            clip = a_clip(f"s{i % 3}/clip{i:02d}", 2, speaker=f"s{i % 3}")
            shard.add(clip, status="kept", facts=FACTS | {"yaw": float(i)}, curve=curve_about(0.05))
        shard.add(a_clip("s9/long", 50, speaker="s9"), status="kept", facts=FACTS, curve=curve_about(0.36))
        shard.add(a_clip("s9/short", 2, speaker="s9"), status="kept", facts=FACTS, curve=curve_about(0.36))
        shard.skip(name="s9/none", split="train", speaker="s9", source="s9/none.mpg", status="no face", facts={})
    return root, summarise(root, "grid")


def test_the_sound_offset_of_the_whole_is_measured_and_made_up_for_when_clips_are_read(made):
    root, summary = made
    assert summary.av_offset == pytest.approx(0.05, abs=0.02)
    assert json.loads((root / "dataset.json").read_text())["av_offset"] == summary.av_offset
    assert open_dataset(root)[0].av_offset == summary.av_offset


def test_a_clip_that_is_out_of_step_is_left_out_with_its_reason_unless_it_is_too_short_to_tell(made):
    root, summary = made
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


def test_the_contact_sheet_holds_all_clips_that_fit_and_the_most_doubtful(made):
    root, _ = made
    sheet = cv2.imread(str(root / CONTACT_SHEET))
    assert sheet.shape == (5 * 128, 8 * 128, 3)  # 31 clips and two for each of four figures
    assert sheet[4 * 128 :, 7 * 128 :].max() == 0


def test_a_full_disk_is_one_clear_error(made, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(made[0], root)
    with files_no_larger_than(1000), pytest.raises(TalkfaceError, match=r"manifest\.jsonl cannot be written"):
        summarise(root, "grid")
    with files_no_larger_than(20_000), pytest.raises(TalkfaceError, match=r"contact_sheet\.png cannot be written"):
        summarise(root, "grid")


def test_a_data_set_of_nothing_has_a_manifest_and_no_picture(tmp_path):
    with ShardWriter(tmp_path, "train-00000") as shard:
        shard.skip(name="a", split="train", speaker="", source="a.mp4", status="no sound", facts={"detail": "mute"})
    summary = summarise(tmp_path, "none")
    assert (summary.counts, summary.frames, summary.av_offset) == ({("train", "no sound"): 1}, 0, 0.0)
    assert json.loads((tmp_path / MANIFEST).read_text())["detail"] == "mute"
    assert not (tmp_path / CONTACT_SHEET).exists()
