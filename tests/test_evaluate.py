"""Evaluation of a data set: rows, intervals, files. One pixel encodes the mouth opening, so every score is known."""

import csv
import json
import sys
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from talkface.cli import app
from talkface.data.clip import Clip, encode_frame
from talkface.data.reader import open_dataset
from talkface.errors import TalkfaceError
from talkface.evaluate import DatasetEval, PairEval, PairListEval, conditions, evaluate, mouths, run, score, videos
from talkface.evaluate.conditions import identity_frame, mismatched_audio, tile
from talkface.evaluate.examples import MAX_FRAMES, Recorder, distinct_names
from talkface.evaluate.report import Report
from talkface.evaluate.score import ClipScore, ClipSound, RowFrames, Scorer
from talkface.face.landmarks import FROM_468_TO_68, LIPS
from talkface.media.strips import GAP, LABEL_WIDTH, TIME_HEIGHT
from talkface.media.windows import mfcc_windows
from talkface.metrics.lse import SyncNet
from talkface.metrics.sync import energy_of_windows
from talkface.model.amie import StatisticsNetwork
from talkface.model.checkpoint import load_generator, save_network
from talkface.model.paper import PaperConfig, PaperGenerator

EYES = ((93.0, 105.0), (163.0, 105.0))  # 70 px apart


def face_points(opening):
    """A mesh whose mouth is 40 px wide and opens to `opening` px in the middle."""
    points = np.zeros((468, 2), np.float32)
    points[[33, 133]], points[[362, 263]] = EYES[0], EYES[1]
    mouth = np.array(FROM_468_TO_68[48:68])
    points[list(LIPS)] = points[mouth] = (128, 190)
    points[[61, 291, 78, 308]] = [[108, 190], [148, 190], [108, 190], [148, 190]]
    points[[82, 13, 312]] = (128, 190 - opening / 2)
    points[[87, 14, 317]] = (128, 190 + opening / 2)
    return points


class PixelFinder:
    """Replaces the face networks: the red of the top-left pixel is the opening in px; no face if its green is 255."""

    def __init__(self, device="cpu"):
        self.looked_at = 0

    def landmarks_aligned(self, frames):
        self.looked_at += len(frames)
        points = np.stack([face_points(float(f[0, 0, 0])) for f in frames])
        return points, np.where(frames[:, 0, 0, 1] == 255, 0.1, 0.9).astype(np.float32)


def mean_colours(network, crops, area):
    """Replaces VGG-16, which is slow: the mean colour of the mouth, (N, 3)."""
    return (crops * area).sum((2, 3)) / area.sum((2, 3))


def frame(opening, hidden=False, grey=90):
    picture = np.full((256, 256, 3), grey, np.uint8)
    picture[0, 0] = (opening, 255 if hidden else 0, 0)
    return picture


def a_clip(name, speaker, seed=0, frames=12, split="test"):
    rng = np.random.default_rng(seed)
    grey = rng.integers(60, 190, (256, 256, 3)).astype(np.uint8)
    lips = np.stack([face_points(5.0 + 3 * (i != 4))[list(LIPS)] for i in range(frames)])
    return Clip(
        name=name,
        dataset="grid",
        split=split,
        speaker=speaker,
        source=f"{name}.mpg",
        lips=lips,
        points68=np.zeros((frames, 68, 2), np.float32),
        eyes=np.tile(np.float32(EYES), (frames, 1, 1)),
        transforms=np.zeros((frames, 2, 3)),
        mfcc_steps=rng.normal(size=(4 * frames, 13)).astype(np.float32),
        encoded=[encode_frame(np.roll(grey, i, 0)) for i in range(frames)],
    )


def drawing():
    """The module that draws. Skips the test without matplotlib."""
    pytest.importorskip("matplotlib", reason="no matplotlib: figures are not drawn")
    from talkface.evaluate import figures

    return figures


@pytest.fixture
def data(tmp_path, monkeypatch, write_dataset):
    monkeypatch.setenv("TALKFACE_DATA", str(tmp_path))
    monkeypatch.setattr(score, "FaceFinder", PixelFinder)
    monkeypatch.setattr(mouths, "mouth_features", mean_colours)
    clips = [a_clip(f"s{s}/{i}", f"s{s}", 10 * s + i, frames=10 + s) for s in (1, 2) for i in range(2)]
    write_dataset(tmp_path / "grid", clips)
    return tmp_path


@pytest.fixture(scope="module")
def weights(tmp_path_factory, make_generator, mini_estimator):
    folder = tmp_path_factory.mktemp("weights")
    save_network(make_generator(), folder / "generator.safetensors")
    save_network(PaperGenerator(PaperConfig((4, 4, 4, 4, 4), 4)), folder / "paper.safetensors")
    save_network(StatisticsNetwork(mini_estimator), folder / "estimator.safetensors")
    return folder


def scored(real, fake, metrics=("lmd", "mouth_r", "psnr"), static=False):
    scorer = Scorer(metrics, PixelFinder())
    return scorer.score("clip", "me", real, {"row": RowFrames(fake, static)}, keep_curves=True)[0], scorer


def test_the_lmd_of_a_mouth_that_opens_too_far_is_that_of_the_closed_form():
    found, _ = scored([frame(4)] * 3, [frame(10)] * 3)
    # Of the 20 points the middle one of the upper lip goes up by 3 px, that of the lower lip down; the centroid stays.
    total, count = found.sums["lmd"]
    assert total / count == pytest.approx(2 * 3 / 20)
    assert found.sums["lmd_iod"][0] / 3 == pytest.approx(100 * 0.3 / 70)


def test_the_opening_is_divided_by_the_eye_distance():
    found, _ = scored([frame(7)], [frame(14)])
    assert found.curves["real_opening"] == pytest.approx([0.1])
    assert found.curves["opening"] == pytest.approx([0.2])


def test_a_generated_frame_without_a_face_is_counted_as_a_mouth_shrunk_to_a_point():
    found, _ = scored([frame(4)] * 4, [frame(4), frame(4, hidden=True), frame(4), frame(4)])
    assert (found.lost, found.real_lost) == (1, 0)
    spread = face_points(4.0)[list(FROM_468_TO_68[48:68])]
    collapsed = np.linalg.norm(spread - spread.mean(0), axis=1).mean()
    np.testing.assert_allclose(found.sums["lmd"], [collapsed, 4], rtol=1e-5)
    assert found.curves["opening"][1] == 0


def test_a_real_frame_without_a_face_is_counted_and_left_out_of_landmark_metrics():
    found, _ = scored([frame(4), frame(4, hidden=True), frame(4)], [frame(4), frame(50), frame(4)])
    assert (found.lost, found.real_lost) == (0, 1)
    np.testing.assert_allclose(found.sums["lmd"], [0, 2], atol=1e-6)
    assert found.sums["psnr"][1] == 3


def test_openings_and_closed_mouths_are_counted_over_the_frames_with_a_real_face():
    real = [frame(1), frame(7), frame(7), frame(7, hidden=True)]  # 1 px is 1.4 % of the eye distance
    found, _ = scored(real, [frame(0), frame(1), frame(14), frame(0)], metrics=("opening",))
    np.testing.assert_allclose(found.sums["opening"], [3, 15 / 70, 1, 15 / 70, 2], rtol=1e-5)
    lost, _ = scored(real[:3], [frame(14, hidden=True)] * 3, metrics=("opening",))
    np.testing.assert_allclose(lost.sums["opening"], [3, 15 / 70, 1, 0, 3], rtol=1e-5)
    report = Report("x", None, None, ("opening",), [found])
    assert report.rows["row"]["mouth_open"] == pytest.approx(1)
    assert (report.rows["row"]["closed"], report.rows["row"]["closed_real"]) == pytest.approx((2 / 3, 1 / 3))


def test_picture_metrics_leave_out_the_frame_that_serves_as_the_photo():
    real = [frame(0, grey=grey) for grey in (90, 100, 110)]
    fake = [frame(0, grey=grey) for grey in (95, 100, 110)]
    scorer = Scorer(("psnr", "psnr_lineage", "ssim"), PixelFinder())
    [every] = scorer.score("clip", "", real, {"row": RowFrames(fake)})
    [without] = scorer.score("clip", "", real, {"row": RowFrames(fake)}, photo=1)
    assert [every.sums[name][1] for name in every.sums] == [3, 3, 3]
    assert [without.sums[name][1] for name in without.sums] == [2, 2, 2]
    assert every.sums["psnr"][0] - without.sums["psnr"][0] == pytest.approx(100)


def test_the_scores_do_not_depend_on_the_blocks_of_frames():
    openings = np.random.default_rng(0).integers(0, 40, 75)
    found, _ = scored(map(frame, openings), [frame(o // 2) for o in openings])
    np.testing.assert_allclose(found.curves["real_opening"], openings / 70, rtol=1e-5)
    assert found.frames == 75
    assert found.sums["psnr"][1] == 75


def test_landmarks_of_a_static_photo_are_found_once():
    real = [frame(o) for o in range(40)]
    found, scorer = scored(real, repeat(frame(0)), static=True)
    assert scorer.finder.looked_at == 40 + 1
    slow, _ = scored(real, repeat(frame(0)), static=False)
    assert found.sums.keys() == slow.sums.keys()
    assert all(np.array_equal(found.sums[name], slow.sums[name]) for name in found.sums)


def test_without_landmark_metrics_no_landmarks_are_found():
    scorer = Scorer(("psnr", "ssim"), PixelFinder())
    [found] = scorer.score("clip", "me", [frame(4)] * 2, {"row": RowFrames([frame(4)] * 2)})
    assert scorer.finder.looked_at == 0
    assert found.sums["ssim"][0] == pytest.approx(2)


def test_curves_for_the_figures_do_not_change_the_scores_of_other_metrics():
    found, scorer = scored([frame(4)] * 2, [frame(4), frame(4, hidden=True)], metrics=("psnr",))
    assert scorer.finder.looked_at == 4
    assert list(found.curves) == ["opening", "real_opening", "lmd"]
    assert list(found.sums) == ["psnr"]
    assert (found.lost, found.real_lost) == (0, 0)


@pytest.mark.parametrize(
    "speakers", [list("aabbcc"), list("aaab"), list("aaaa"), list("abcde"), list("aabbbccccdddd"), list("ab")]
)
def test_mismatched_audio_is_never_that_of_the_clip_and_each_is_used_once(speakers):
    donors = mismatched_audio(speakers, seed=1)
    assert sorted(donors) == list(range(len(speakers)))
    assert all(donor != clip for clip, donor in enumerate(donors))
    if max(map(speakers.count, speakers)) <= len(speakers) / 2:
        assert all(speakers[donor] != speakers[clip] for clip, donor in enumerate(donors))


def test_mismatched_audio_depends_on_the_seed():
    speakers = list("aabbccddee")
    assert mismatched_audio(speakers, 0) == mismatched_audio(speakers, 0)
    assert len({tuple(mismatched_audio(speakers, seed)) for seed in range(5)}) > 1


def test_the_rows_of_a_clip_have_the_photo_and_the_speech_of_their_condition(data, monkeypatch):
    heard = {}

    def animate(generator, face, features):
        heard[generator] = features
        return iter([])

    monkeypatch.setattr(conditions, "animate", animate)
    monkeypatch.setattr(conditions, "takes_mfcc", lambda generator: True)
    clips = open_dataset("grid", "test")
    made = conditions.Conditions(clips, {"model": "ours", "other": "theirs"})
    donor = clips[made.donors[0]]
    assert donor.speaker != clips[0].speaker
    rows = made.rows(0, clips[0], ("still", "other", "wrong_sound"))
    assert list(rows) == ["still", "other", "wrong_sound"]
    np.testing.assert_array_equal(next(rows["still"].frames), clips[0].frame(0))
    assert [rows[name].static for name in rows] == [True, False, False]
    np.testing.assert_array_equal(heard["theirs"], clips[0].mfcc)
    np.testing.assert_array_equal(heard["ours"], tile(donor.mfcc, len(clips[0])))


def test_mismatched_audio_is_cut_or_repeated_to_the_length_of_the_clip():
    windows = np.arange(3)[:, None, None] * np.ones((3, 20, 13))
    assert tile(windows, 7)[:, 0, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert tile(windows, 2)[:, 0, 0].tolist() == [0, 1]


def test_the_identity_frame_is_the_first_the_most_closed_or_random_by_the_seed():
    clip = a_clip("s1/x", "s1")
    assert identity_frame(clip, "first", 0) == 0
    assert identity_frame(clip, "closest-mouth", 0) == 4
    drawn = [identity_frame(clip, "random", seed) for seed in range(20)]
    assert len(set(drawn)) > 3
    assert drawn == [identity_frame(clip, "random", seed) for seed in range(20)]


def test_the_energy_of_a_frame_is_that_of_its_own_forty_milliseconds():
    steps = np.zeros((40, 13), np.float32)
    steps[20:24, 0] = 1  # the fifth frame's steps
    energy = energy_of_windows(mfcc_windows(steps, 10))
    rise = 50 / np.sqrt(26)  # dB in every band
    np.testing.assert_allclose(energy - energy[0], rise * (np.arange(10) == 5), atol=1e-4)


def test_the_report_of_a_data_set_has_four_rows_and_that_of_the_paper(data, weights):
    steps = []
    found = evaluate(
        DatasetEval(
            data="grid",
            weights=weights / "generator.safetensors",
            estimator=weights / "estimator.safetensors",
            json=data / "out.json",
            csv=data / "out.csv",
        ),
        on_step=lambda done, total: steps.append((done, total)),
    )
    said = json.loads((data / "out.json").read_text())
    assert list(said)[:8] == ["dataset", "split", "clips", "frames", "detector", "weights", "definitions", "rows"]
    assert (said["dataset"], said["split"], said["clips"], said["frames"]) == ("grid", "test", 4, 46)
    assert list(said["rows"]) == ["still", "wrong_sound", "model", "true_lips", "paper"]
    assert said["rows"]["paper"] == {"psnr_lineage": 31.01, "ssim": 0.97, "lmd": 0.78}
    for name, value in found.rows["model"].items():
        if name.endswith("_ci95"):
            continue
        low, high = found.rows["model"][f"{name}_ci95"]
        assert np.isnan(value) or name.startswith("mouth_kid") or low - 1e-9 <= value <= high + 1e-9
    assert set(said["definitions"]) == {n for n in said["rows"]["model"] if not n.endswith("_ci95")}
    assert "46 frames of 4 clips" in said["definitions"]["lmd"]
    assert "42 frames of 4 clips" in said["definitions"]["ssim"]  # without the photos
    assert "MediaPipe" in said["definitions"]["lmd"]
    assert said["rows"]["still"]["mouth_r"] is None
    assert said["rows"]["still"]["sync_offset"] is None
    assert "seconds by which the sound lags the picture" in said["definitions"]["sync_offset"]
    assert steps[-1] == (46, 46)
    assert found.table()[0][0] == ""
    assert [row[0] for row in found.table()[1:]] == ["still", "wrong_sound", "model", "true_lips", "paper"]

    lines = list(csv.DictReader((data / "out.csv").open(newline="")))
    assert len(lines) == 4 * 4
    model = [line for line in lines if line["row"] == "model"]
    pooled = np.average([float(m["psnr"]) for m in model], weights=[int(m["frames"]) - 1 for m in model])
    assert pooled == pytest.approx(said["rows"]["model"]["psnr"], abs=1e-5)


def test_the_written_bytes_do_not_depend_on_the_number_of_workers(data, weights):
    for workers in (1, 3):
        evaluate(
            DatasetEval(
                data="grid",
                metrics=("psnr", "ssim", "lmd", "opening", "mouth", "sync"),
                weights=weights / "generator.safetensors",
                workers=workers,
                json=data / f"{workers}.json",
                csv=data / f"{workers}.csv",
            )
        )
    assert (data / "1.json").read_bytes() == (data / "3.json").read_bytes()
    assert (data / "1.csv").read_bytes() == (data / "3.csv").read_bytes()


def test_the_still_row_scores_the_photo_against_every_real_frame_but_that_of_the_photo(data):
    found = evaluate(DatasetEval(data="grid", metrics=("psnr",), rows=("still",)))
    assert found.weights is None
    clip = a_clip("s1/0", "s1", 10, frames=11)
    first, *rest = clip.frames()
    errors = [np.mean((f.astype(float) - first) ** 2) for f in rest]
    expected = np.mean([10 * np.log10(255**2 / e) for e in errors])
    [total, count] = next(s.sums["psnr"] for s in found.scores if s.clip == "s1/0")
    assert count == 10
    assert total / count == pytest.approx(expected)


def test_a_data_set_that_the_paper_does_not_have_has_no_row_of_the_paper(data):
    (data / "grid").rename(data / "mine")
    assert list(evaluate(DatasetEval(data="mine", metrics=("psnr",), rows=("still",))).rows) == ["still"]


def test_limit_takes_clips_that_are_evenly_spaced_over_the_split(data):
    found = evaluate(DatasetEval(data="grid", metrics=("psnr",), rows=("still",), limit=2))
    assert [one.clip for one in found.scores] == ["s1/0", "s2/1"]


def test_lmd_alone_works_with_the_defaults_and_a_note_names_the_data_set(data, make_generator, monkeypatch):
    monkeypatch.setattr(conditions, "load_generator", lambda path, device: make_generator())
    monkeypatch.setattr(conditions, "weights_hash", lambda path: "0" * 64)
    notes = []
    found = evaluate(DatasetEval(metrics=("lmd",)), on_note=notes.append)
    assert notes[0] == "--data is not given: grid, split test."
    assert [note for note in notes if "talkface preprocess --data" in note] == notes[1:]
    assert "--data lrw" in notes[1]
    assert {name for name in found.rows["model"] if "_ci95" not in name} == {"lmd", "lmd_128", "lmd_iod"}
    assert found.rows["model"]["lmd_128"] == pytest.approx(found.rows["model"]["lmd"] / 2)


def test_one_clip_has_no_mismatched_audio_and_the_report_has_a_note(data, weights):
    found = evaluate(
        DatasetEval(data="grid", metrics=("psnr",), limit=1, weights=weights / "generator.safetensors", workers=1)
    )
    assert list(found.rows) == ["still", "model", "true_lips", "paper"]
    assert "wrong_sound" in found.notes[0]
    assert found.as_json()["rows"]["model"]["psnr_ci95"] == [None, None]


def test_the_papers_generator_has_no_row_of_true_lips_and_the_report_has_a_note(data, weights):
    paper = {"data": "grid", "metrics": ("psnr",), "limit": 2, "weights": weights / "paper.safetensors", "workers": 1}
    found = evaluate(DatasetEval(**paper))
    assert list(found.rows) == ["still", "wrong_sound", "model", "paper"]
    assert found.notes == ["The row true_lips is left out: the paper's generator takes no lips.", run.STILL_NOTE]
    with pytest.raises(TalkfaceError, match="--rows true_lips leaves no row: the paper's generator takes no lips"):
        evaluate(DatasetEval(**paper, rows=("true_lips",)))


def test_the_row_true_lips_gets_the_real_lips_where_the_photo_has_its_head(data, weights, monkeypatch):
    clips, given = open_dataset("grid", "test"), {}
    clip = clips[0]
    clip.points68[:, 31:36] = np.arange(len(clip))[:, None, None] * np.float32((1, 2))  # the head moves
    monkeypatch.setattr(conditions, "generate_frames", lambda generator, face, lips: given.update(lips=lips) or [])
    model = load_generator(weights / "generator.safetensors")
    rows = conditions.Conditions(clips, {"model": model}).rows(0, clip, ("true_lips",))
    assert list(rows["true_lips"].frames) == []
    np.testing.assert_allclose(given["lips"][5], clip.lips[5] - (5, 10), atol=1e-4)


def test_mismatched_audio_alone_is_an_error_with_one_clip(data):
    with pytest.raises(TalkfaceError, match="--rows wrong_sound needs the speech of another clip"):
        evaluate(DatasetEval(data="grid", metrics=("psnr",), limit=1, rows=("wrong_sound",)))


def test_notes_about_videos_are_shown_once(monkeypatch):
    of_clip = ClipScore("fake.mp4", "", "model", 1, 0, 0, {"psnr": np.array([30.0, 1.0])})
    monkeypatch.setattr(score, "FaceFinder", PixelFinder)
    monkeypatch.setattr(videos, "compare", lambda *_: videos.Comparison(of_clip, ["fake.mp4 is shorter."]))
    shown = CliRunner().invoke(app, ["eval", "real.mp4", "fake.mp4", "--metrics", "psnr", "--device", "cpu"])
    assert shown.exit_code == 0, shown.stderr
    assert shown.stderr.count("fake.mp4 is shorter.") == 1


def test_lse_has_one_value_per_video_and_none_for_a_short_one():
    torch.manual_seed(0)
    scorer = Scorer(("lse",), PixelFinder(), syncnet=SyncNet().eval())
    transforms, sound = np.tile(np.eye(3)[:2], (9, 1, 1)), np.random.default_rng(0).normal(size=9 * 640) * 3000
    frames = [np.full((256, 256, 3), 20 * number, np.uint8) for number in range(9)]
    found = scorer.lse_sums(frames, transforms, sound.astype(np.int16))
    assert list(found) == ["lse_d", "lse_c", "lse_offset"]
    assert all(count == 1 for _, count in found.values())
    assert scorer.lse_sums(frames, transforms[:4], sound.astype(np.int16)) == {}
    assert Scorer(("lse",), PixelFinder()).lse_sums(frames, transforms, sound.astype(np.int16)) == {}


@pytest.mark.parametrize("wrong", ["--workers", "--seed"])
def test_a_negative_number_of_workers_or_seed_is_a_usage_error(wrong):
    shown = CliRunner().invoke(app, ["eval", "--data", "grid", wrong, "-1"])
    assert shown.exit_code == 2
    assert wrong in shown.stderr


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"metrics": ("fid",)}, "fid is not computed"),
        ({"metrics": ("psrn",)}, "psrn is not known"),
        ({"metrics": ("lse_d",)}, "SyncNet"),
        ({"metrics": ("sync_lag",)}, "sync_lag is not known"),
        ({"metrics": ("lmd", "ssim"), "syncnet": Path("s.model")}, "--syncnet is used only by lse.*lmd,ssim"),
        ({"syncnet": Path("s.model")}, "lse needs videos"),
        ({"identity": "last"}, "--identity last"),
        ({"rows": ("still", "fake")}, "--rows still,fake"),
        ({"limit": 0}, "--limit 0"),
    ],
)
def test_options_that_are_not_valid_are_errors_before_any_work(wrong, said):
    with pytest.raises(TalkfaceError, match=said):
        DatasetEval(**wrong)


def test_two_videos_and_a_list_of_pairs_are_an_error():
    shown = CliRunner().invoke(app, ["eval", "real.mp4", "fake.mp4", "--pairs", "list.csv"])
    assert shown.exit_code == 1
    assert "Two videos and --pairs were given." in shown.stderr


@pytest.mark.parametrize(
    "kind, inputs",
    [(PairEval, {"real": Path("a.mp4"), "fake": Path("b.mp4")}), (PairListEval, {"pairs": Path("list.csv")})],
)
def test_syncnet_adds_lse_to_the_default_metrics_of_videos(kind, inputs):
    assert "lse" not in kind(**inputs).wanted
    assert "lse" in kind(**inputs, syncnet=Path("s.model")).wanted


def test_a_column_stands_for_its_metric():
    assert DatasetEval(metrics=("sync_offset", "lmd_iod")).wanted == ("lmd", "sync")
    assert DatasetEval(metrics=("teeth", "closed_real")).wanted == ("opening", "mouth")


def test_figures_of_a_data_set_are_drawn(data, weights):
    drawing()
    generator = weights / "generator.safetensors"
    other = data / "no-mi" / generator.name
    other.parent.mkdir()
    other.write_bytes(generator.read_bytes())
    shown, ablation = {"metrics": ("lmd",), "limit": 2, "weights": generator}, (generator, other)
    found = evaluate(DatasetEval(data="grid", **shown, figures=data / "pictures", ablation=ablation))
    assert found.as_json() == evaluate(DatasetEval(data="grid", **shown)).as_json()
    names = {path.name for path in (data / "pictures").iterdir()}
    kinds = {"lmd.png", "scatter.png"}
    kinds |= {f"{kind}-s{n}_{n - 1}.png" for kind in ("strip", "mouth", "ablation") for n in (1, 2)}
    assert names == kinds
    strip = cv2.imread(str(data / "pictures" / "strip-s1_0.png"))
    assert strip.shape[0] == TIME_HEIGHT + 4 * (256 + GAP)  # real, model, mismatched audio, true lips
    ablation = cv2.imread(str(data / "pictures" / "ablation-s1_0.png"))
    assert ablation.shape[0] == TIME_HEIGHT + 4 * (256 + GAP)  # real, model, both generators
    first = np.array(next(a_clip("s1/0", "s1", 10, frames=11).frames()))
    np.testing.assert_array_equal(strip[TIME_HEIGHT:, LABEL_WIDTH:][:256, :256, ::-1], first)


def test_figures_of_a_data_set_show_the_model_whichever_rows_are_scored(data, weights):
    drawing()
    pictures, generator = data / "pictures", weights / "generator.safetensors"
    found = evaluate(
        DatasetEval(data="grid", metrics=("psnr",), rows=("still",), limit=2, weights=generator, figures=pictures)
    )
    assert list(found.rows) == ["still", "paper"]
    assert found.lost == {"real": 0, "still": 0}
    strip = cv2.imread(str(pictures / "strip-s1_0.png"))
    assert strip.shape[0] == TIME_HEIGHT + 4 * (256 + GAP)  # real, model, mismatched audio, true lips


def test_files_of_one_name_are_distinguished_by_their_folders_and_then_by_a_number():
    files = [Path("/top", name) for name in ("a/g.mp4", "b/g.mp4", "c/b/g.mp4", "b/h.mp4", "b/model.mp4", "b/h.mp4")]
    names = distinct_names(files, taken=["model"])
    assert names == ["a/g", "top/b/g", "c/b/g", "/top/b/h", "b/model", "/top/b/h 2"]


def test_pairs_whose_fakes_share_a_name_get_strips_of_their_own(tmp_path, monkeypatch):
    figures, drawn = drawing(), []

    def compare(name, real, fake, scorer, example):
        return videos.Comparison(ClipScore(name, "", "model", 1, 0, 0, {"psnr": np.ones(2)}), [], example)

    monkeypatch.setattr(score, "FaceFinder", PixelFinder)
    monkeypatch.setattr(videos, "compare", compare)
    monkeypatch.setattr(figures, "draw_videos", lambda folder, examples, report: drawn.extend(examples))
    for name in ("real.mp4", "ours/fake.mp4", "theirs/fake.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a video")
    (tmp_path / "list.csv").write_text("real.mp4,ours/fake.mp4\nreal.mp4,theirs/fake.mp4\n")
    evaluate(PairListEval(pairs=tmp_path / "list.csv", metrics=("psnr",), figures=tmp_path / "pictures", device="cpu"))
    assert drawn == ["ours", "theirs"]


def test_a_recorder_leaves_the_frames_as_they_are_and_copies_those_of_the_first_ten_seconds():
    real, fake = ([frame(number % 200, grey=grey) for number in range(300)] for grey in (90, 120))
    recorder, scorer = Recorder(300), Scorer(("lmd",), PixelFinder())
    rows = recorder.watch_rows({"model": RowFrames(fake)})
    scores = scorer.score("clip", "", recorder.watch("real", real), rows, keep_curves=True)
    [plain] = scorer.score("clip", "", real, {"model": RowFrames(fake)})
    np.testing.assert_array_equal(scores[0].sums["lmd"], plain.sums["lmd"])
    example = recorder.example("clip", scores, ClipSound(mfcc=np.zeros((1200, 13))))
    assert list(example.frames) == ["real", "model"]
    assert example.seconds == [number / 25 for number in (0, 36, 71, 107, 142, 178, 213, 249)]
    assert [int(picture[0, 0, 0]) for picture in example.frames["model"]] == [0, 36, 71, 107, 142, 178, 13, 49]
    assert {len(curve) for curve in (*example.opening.values(), *example.lmd.values())} == {MAX_FRAMES}
    assert example.spectrogram.shape == (1200, 26)
    thumbnails = recorder.thumbnails()
    assert thumbnails.shape == (2, 2, 6, 48, 48)
    np.testing.assert_allclose(thumbnails[:, 1], np.array([90, 120])[:, None, None, None] * np.ones((1, 6, 48, 48)))


def test_principal_components_are_the_directions_of_largest_variance():
    figures = drawing()
    rng = np.random.default_rng(0)
    plane, _ = np.linalg.qr(rng.normal(size=(30, 2)))
    spread = rng.normal(size=(50, 2)) * (5, 2)
    real, fake = figures.project(spread[:20] @ plane.T + 7, spread[20:] @ plane.T + 7)
    found = np.concatenate([real, fake])
    np.testing.assert_allclose(
        np.linalg.norm(found, axis=1), np.linalg.norm(spread - spread.mean(0), axis=1), rtol=1e-6
    )
    assert found[:, 0].var() > found[:, 1].var()


def test_figures_without_matplotlib_are_an_error_before_any_work(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(TalkfaceError, match="--figures needs matplotlib"):
        evaluate(DatasetEval(data="grid", figures=data / "pictures"))


UNWRITABLE = [
    ("grid/dataset.json/out", r"dataset\.json is not a folder"),
    ("/proc/out", "cannot write to the folder /proc"),
    ("n" * 300, "File name too long"),
]


@pytest.mark.parametrize(
    "option, where, said",
    [
        *((option, *case) for option in ("json", "csv", "figures") for case in UNWRITABLE),
        ("json", "none/out", "none does not exist"),
        ("csv", "grid", "is a folder"),
    ],
)
def test_a_result_that_cannot_be_written_is_an_error_before_any_work(data, monkeypatch, option, where, said):
    if option == "figures":
        drawing()
    monkeypatch.setattr(run, "evaluate_dataset", lambda *_: pytest.fail("The work has begun."))
    before = set(data.rglob("*"))
    with pytest.raises(TalkfaceError, match=said):
        evaluate(DatasetEval(data="grid", **{option: data / where}))
    assert set(data.rglob("*")) == before
