"""Comparison of videos. Real recordings are read from the data folder beside the repository, if it exists."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from talkface.errors import TalkfaceError
from talkface.evaluate import PairEval, PairListEval, evaluate, videos
from talkface.evaluate.score import ClipScore
from talkface.evaluate.videos import PairSound, TrackedFace, fill_gaps, read_pairs, transforms_for
from talkface.media.video import VideoWriter, read_frames

ROOT = Path(__file__).resolve().parent.parent
GRID = ROOT.parent / "shared" / "data" / "grid"
ALIGN = np.array([[0.5, 0, 3], [0, 0.5, 4]])


@pytest.fixture(scope="module")
def recording():
    """A real clip of GRID, 75 frames. Its mouth and sound correlate so clearly that the peak is unique."""
    clip = GRID / "s1" / "pgiq3s.mpg"
    if not clip.is_file():
        pytest.skip(f"{clip} does not exist: videos of a real mouth are not compared")
    return clip


def rewrite(recording, out, change, audio=True, crf=1):
    """A copy of a recording whose frames went through `change`, with its sound."""
    frames = change(list(read_frames(recording, fps=25)))
    height, width = frames[0].shape[:2]
    with VideoWriter(out, width, height, 25, audio=recording if audio else None, crf=crf) as video:
        for frame in frames:
            video.write(frame)
    return out


def compared(real, fake, **more):
    metrics = more.pop("metrics", ("psnr", "ssim", "lmd", "mouth_r", "sync"))
    return evaluate(PairEval(real=real, fake=fake, metrics=metrics, **more))


def test_a_recording_against_itself_is_perfect(recording, tmp_path):
    report = compared(
        recording,
        recording,
        metrics=("psnr", "psnr_lineage", "ssim", "lmd", "mouth_r", "opening", "mouth"),
        json=tmp_path / "j",
    )
    assert list(report.rows) == ["model"]
    row = report.rows["model"]
    assert (row["psnr"], row["psnr_lineage"], row["lmd"]) == (100, 100, 0)
    assert row["ssim"] == pytest.approx(1)
    assert row["mouth_r"] == pytest.approx(1)
    assert [row[name] for name in ("mouth_open", "teeth", "mouth_sharp")] == pytest.approx([1] * 3)
    assert np.isnan(row["dark"])  # this mouth is well lit
    assert 0 < row["closed"] == row["closed_real"] < 1
    assert row["mouth_kid"] < 0.01  # unbiased, so it is negative for a set against itself
    said = json.loads((tmp_path / "j").read_text())
    assert (said["split"], said["weights"], said["clips"], said["frames"]) == (None, None, 1, 75)
    assert said["frames_without_face"] == {"real": 0, "model": 0}


def test_the_scores_of_static_delayed_and_mirrored_copies(recording, tmp_path):
    copy = compared(recording, rewrite(recording, tmp_path / "copy.mp4", lambda f: f)).rows["model"]
    still = compared(recording, rewrite(recording, tmp_path / "still.mp4", lambda f: [f[0]] * 75)).rows["model"]
    late = compared(recording, rewrite(recording, tmp_path / "late.mp4", lambda f: [f[0]] * 4 + f[:-4])).rows["model"]
    flip = compared(recording, rewrite(recording, tmp_path / "flip.mp4", lambda f: [x[:, ::-1] for x in f])).rows[
        "model"
    ]
    assert copy["psnr"] > 40
    assert copy["lmd"] < 0.4
    assert copy["mouth_r"] > 0.98
    assert copy["psnr"] > late["psnr"] > flip["psnr"]
    assert still["lmd"] > 3 * copy["lmd"]
    assert still["mouth_move"] < 0.2  # the rest is the motion of the real head, by which both are aligned
    assert copy["mouth_move"] == pytest.approx(1, abs=0.05)
    assert late["mouth_r"] < copy["mouth_r"] - 0.2
    assert late["sync_offset"] == pytest.approx(copy["sync_offset"] - 4 / 25)  # the mouth is later, the sound is not
    assert late["sync"] == pytest.approx(copy["sync"], abs=0.15)
    assert flip["mouth_r"] > 0.9  # a mirrored mouth opens as wide


def test_a_copy_of_another_size_is_scored_at_the_same_place(recording, tmp_path):
    half = rewrite(recording, tmp_path / "half.mp4", lambda f: [cv2.resize(x, (180, 144)) for x in f])
    report = compared(recording, half, metrics=("psnr", "lmd"))
    assert report.notes == []
    assert report.rows["model"]["psnr"] > 28
    assert report.rows["model"]["lmd"] < 1.5


def test_a_copy_with_another_crop_is_aligned_by_itself_and_the_report_has_a_note(recording, tmp_path):
    crop = rewrite(recording, tmp_path / "crop.mp4", lambda f: [x[40:280, 60:300].copy() for x in f], audio=False)
    report = compared(recording, crop, metrics=("psnr", "lmd", "sync"))
    assert any("aligned by itself" in note for note in report.notes)
    assert any("has no sound" in note for note in report.notes)
    assert report.rows["model"]["psnr"] > 30
    assert report.rows["model"]["lmd"] < 1


def test_the_shorter_length_is_used_and_the_report_has_a_note(recording, tmp_path):
    short = rewrite(recording, tmp_path / "short.mp4", lambda f: f[:30], audio=False)
    report = compared(recording, short, metrics=("psnr",))
    assert report.frames == 30
    assert report.notes == [f"{recording.name} has 75 frames at 25 fps, short.mp4 30: 30 are compared."]


def test_the_pairs_of_a_list_are_pooled(recording, tmp_path):
    short = rewrite(recording, tmp_path / "short ü.mp4", lambda f: f[:20])
    (tmp_path / "list.csv").write_text(f"real,fake\n{recording},short ü.mp4\n\n{recording},{short}\n", encoding="utf-8")
    report = evaluate(PairListEval(pairs=tmp_path / "list.csv", metrics=("psnr",), csv=tmp_path / "out.csv"))
    assert (report.clips, report.frames) == (2, 40)
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "silent, metrics, said",
    [
        ((), ("sync", "mi", "lse"), []),
        (("fake.mp4",), ("psnr", "mi"), []),
        (("fake.mp4",), ("lse",), ["fake.mp4 has no sound: lse is left out."]),
        (("fake.mp4",), ("sync",), ["fake.mp4 has no sound: sync is measured with the sound of real.mp4."]),
        (("real.mp4",), ("sync", "lse"), []),
        (("real.mp4",), ("sync", "mi", "lse"), ["real.mp4 has no sound: mi is left out."]),
        (
            ("real.mp4", "fake.mp4"),
            ("psnr", "sync", "lse"),
            ["real.mp4 and fake.mp4 have no sound: sync and lse are left out."],
        ),
    ],
)
def test_a_note_names_the_requested_metrics_that_are_left_out_without_sound(monkeypatch, silent, metrics, said):
    monkeypatch.setattr(videos, "probe", lambda path: SimpleNamespace(has_audio=path.name not in silent))
    assert PairSound(Path("real.mp4"), Path("fake.mp4"), 3).notes(metrics) == said


def test_figures_are_drawn_without_tracking_the_videos_again(recording, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="no matplotlib: figures are not drawn")
    copy = rewrite(recording, tmp_path / "copy.mp4", lambda f: f[:20])
    tracked, track = [], videos.track
    monkeypatch.setattr(videos, "track", lambda path, finder: tracked.append(path) or track(path, finder))
    plain = compared(recording, copy, metrics=("psnr",))
    shown = compared(recording, copy, metrics=("psnr",), figures=tmp_path / "pictures")
    assert tracked == [recording, copy, recording, copy]
    assert shown.as_json() == plain.as_json()
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"strip-copy.png", "mouth-copy.png", "lmd.png"}


def test_a_video_without_a_face_is_an_error_that_names_it(tmp_path):
    with VideoWriter(tmp_path / "grey.mp4", 320, 240, 25, audio=None) as video:
        for _ in range(5):
            video.write(np.full((240, 320, 3), 128, np.uint8))
    with pytest.raises(TalkfaceError, match=r"No face found in any of the 5 frames of grey\.mp4"):
        compared(tmp_path / "grey.mp4", tmp_path / "grey.mp4")


@pytest.mark.parametrize("text, said", [("", "no pairs"), ("real,fake\n", "no pairs"), ("a.mp4\n", "line 1")])
def test_a_list_without_pairs_is_an_error(tmp_path, text, said):
    (tmp_path / "list.csv").write_text(text or "\n")
    with pytest.raises(TalkfaceError, match=said):
        read_pairs(tmp_path / "list.csv")


def test_pairs_are_relative_to_the_folder_of_their_list(tmp_path):
    pair = tmp_path / "a.mp4", tmp_path / "sub" / "b.mp4"
    pair[1].parent.mkdir()
    for path in pair:
        path.write_text("a video")
    (tmp_path / "list.csv").write_text("Real,Fake\n a.mp4 , sub/b.mp4\n")
    assert read_pairs(tmp_path / "list.csv") == [pair]


def test_all_videos_of_a_list_are_looked_up_before_the_first_is_scored(tmp_path):
    (tmp_path / "a.mp4").write_text("a video")
    (tmp_path / "list.csv").write_text("a.mp4,a.mp4\na.mp4,missing.mp4\n")
    with pytest.raises(TalkfaceError, match=r"list\.csv, line 2: There is no file .*missing\.mp4"):
        read_pairs(tmp_path / "list.csv")


def test_a_pair_that_cannot_be_scored_is_left_out_with_a_note_and_the_others_are_scored(tmp_path, monkeypatch):
    def compare(name, real, fake, scorer, example):
        if "bad" in name:
            raise TalkfaceError("No face found in bad.mp4.")
        return videos.Comparison(ClipScore(name, "", "model", 1, 0, 0, {"psnr": np.ones(2)}), [])

    monkeypatch.setattr(videos, "compare", compare)
    for name in ("a.mp4", "bad.mp4"):
        (tmp_path / name).write_text("a video")
    config = PairListEval(pairs=tmp_path / "list.csv", metrics=("psnr",), device="cpu")
    config.pairs.write_text("a.mp4,a.mp4\na.mp4,bad.mp4\n")
    report = evaluate(config)
    assert report.clips == 1
    assert report.notes == ["Pair 2: bad.mp4 is left out: No face found in bad.mp4."]
    config.pairs.write_text("a.mp4,bad.mp4\na.mp4,bad.mp4\n")
    with pytest.raises(TalkfaceError, match="No face found"):
        evaluate(config)


def tracked(size, eyes, transform=ALIGN, frames=3):
    return TrackedFace(
        Path("x.mp4"),
        size,
        np.tile(transform, (frames, 1, 1)),
        np.tile(np.float64(eyes), (frames, 1, 1)),
        np.full(frames, 0.3),
        np.zeros((frames, 24, 3), np.float32),
    )


def test_the_alignment_of_the_real_video_is_used_for_both_if_the_faces_are_at_the_same_place():
    real = tracked((400, 300), ((100, 100), (240, 100)))
    made = tracked((400, 300), ((104, 100), (244, 100)), 2 * ALIGN)
    used, notes = transforms_for(real, made, 2)
    np.testing.assert_allclose(used, real.transforms[:2])
    assert notes == []


def test_the_alignment_of_the_real_video_is_scaled_to_a_smaller_copy():
    real = tracked((400, 300), ((100, 100), (240, 100)))
    made = tracked((200, 150), ((49.75, 49.75), (119.75, 49.75)))
    used, notes = transforms_for(real, made, 3)
    assert notes == []
    # The centre of the picture is the centre of the copy: (199.5, 149.5) and (99.5, 74.5) in pixel centres.
    there, here = real.transforms[0] @ (199.5, 149.5, 1), used[0] @ (99.5, 74.5, 1)
    np.testing.assert_allclose(there, here)


def test_a_damaged_video_has_a_note_with_the_errors_of_its_decoder():
    assert tracked((400, 300), ((100, 100), (240, 100))).notes == []
    damaged = replace(tracked((400, 300), ((100, 100), (240, 100))), path=Path("x.mp4"), decode_errors=7)
    assert damaged.notes == ["x.mp4 is damaged: its decoder reports 7 errors."]


def test_a_missing_alignment_is_that_of_the_nearest_frame():
    fits = np.full((6, 2, 3), np.nan)
    fits[1], fits[4] = 1, 4
    assert fill_gaps(fits)[:, 0, 0].tolist() == [1, 1, 1, 4, 4, 4]
