"""Evaluation of a data set: rows, intervals, files. The mouth is read off a pixel, so that every figure is known."""

import csv
import json
import sys
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from talkface.cli import app
from talkface.data.clip import Clip, encode_frame
from talkface.data.shards import DATASET, FORMAT, INDEX, ShardWriter, read_lines, shard_indexes, write_lines
from talkface.errors import TalkfaceError
from talkface.evaluate import EvalConfig, evaluate, run, videos
from talkface.evaluate.conditions import frame_energy, identity_frame, mismatched_audio, tile_windows
from talkface.evaluate.examples import Example
from talkface.evaluate.score import ClipScore, RowFrames, Scorer
from talkface.face.landmarks import FROM_468_TO_68, LIPS
from talkface.media.windows import mfcc_windows
from talkface.model.amie import StatisticsNetwork
from talkface.model.checkpoint import save_network
from talkface.model.generator import Generator, GeneratorConfig

TINY = GeneratorConfig(window=(96, 144, 64), widths=(8, 8, 8, 8), audio_width=8, audio_features=8, audio_context=0)
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
    """Stands in for the face networks: the top-left pixel's red is the opening in px, its green 255 hides the face."""

    def __init__(self, device="cpu"):
        self.looked_at = 0

    def landmarks_aligned(self, frames):
        self.looked_at += len(frames)
        points = np.stack([face_points(float(f[0, 0, 0])) for f in frames])
        return points, np.where(frames[:, 0, 0, 1] == 255, 0.1, 0.9).astype(np.float32)


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


def write_dataset(root, clips):
    with ShardWriter(root, "test-00000") as writer:
        for clip in clips:
            writer.add(clip, status="kept")
    lines = [line for part in shard_indexes(root) for line in read_lines(part) if line["status"] == "kept"]
    write_lines(root / INDEX, lines)
    (root / DATASET).write_text(json.dumps({"format": FORMAT, "name": "grid"}))


def drawing():
    """The module that draws, where matplotlib is there."""
    pytest.importorskip("matplotlib", reason="no matplotlib: the figures are not drawn")
    from talkface.evaluate import figures

    return figures


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("TALKFACE_DATA", str(tmp_path))
    monkeypatch.setattr(run, "FaceFinder", PixelFinder)
    clips = [a_clip(f"s{s}/{i}", f"s{s}", 10 * s + i, frames=10 + s) for s in (1, 2) for i in range(2)]
    write_dataset(tmp_path / "grid", clips)
    return tmp_path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_network(Generator(TINY), "generator", folder / "generator.safetensors")
    save_network(StatisticsNetwork(TINY), "estimator", folder / "estimator.safetensors")
    return folder


def score(real, fake, metrics=("lmd", "mouth_r", "psnr"), still=False):
    scorer = Scorer(metrics, PixelFinder())
    return scorer.score("clip", "me", real, {"row": RowFrames(fake, still)}, keep_curves=True)[0], scorer


def test_lmd_of_a_mouth_that_opens_too_far_is_that_of_the_closed_form():
    found, _ = score([frame(4)] * 3, [frame(10)] * 3)
    # Of the 20 points the middle one of the upper lip goes up by 3 px, that of the lower lip down; the centroid stays.
    total, count = found.sums["lmd"]
    assert total / count == pytest.approx(2 * 3 / 20)
    assert found.sums["lmd_iod"][0] / 3 == pytest.approx(100 * 0.3 / 70)


def test_opening_is_over_the_eye_distance():
    found, _ = score([frame(7)], [frame(14)])
    assert found.curves["real_opening"] == pytest.approx([0.1])
    assert found.curves["opening"] == pytest.approx([0.2])


def test_a_generated_frame_without_a_face_is_counted_and_costs_a_whole_mouth():
    found, _ = score([frame(4)] * 4, [frame(4), frame(4, hidden=True), frame(4), frame(4)])
    assert (found.lost, found.real_lost) == (1, 0)
    spread = face_points(4.0)[list(FROM_468_TO_68[48:68])]
    collapsed = np.linalg.norm(spread - spread.mean(0), axis=1).mean()
    np.testing.assert_allclose(found.sums["lmd"], [collapsed, 4], rtol=1e-5)
    assert found.curves["opening"][1] == 0


def test_a_real_frame_without_a_face_is_counted_and_nothing_is_compared_with_it():
    found, _ = score([frame(4), frame(4, hidden=True), frame(4)], [frame(4), frame(50), frame(4)])
    assert (found.lost, found.real_lost) == (0, 1)
    np.testing.assert_allclose(found.sums["lmd"], [0, 2], atol=1e-6)
    assert found.sums["psnr"][1] == 3


def test_frames_scored_in_blocks_are_frames_scored_at_once():
    openings = np.random.default_rng(0).integers(0, 40, 75)
    found, _ = score(map(frame, openings), [frame(o // 2) for o in openings])
    np.testing.assert_allclose(found.curves["real_opening"], openings / 70, rtol=1e-5)
    assert found.frames == 75
    assert found.sums["psnr"][1] == 75


def test_a_still_photo_is_looked_at_once():
    real = [frame(o) for o in range(40)]
    found, scorer = score(real, repeat(frame(0)), still=True)
    assert scorer.finder.looked_at == 40 + 1
    slow, _ = score(real, repeat(frame(0)), still=False)
    assert found.sums.keys() == slow.sums.keys()
    assert all(np.array_equal(found.sums[name], slow.sums[name]) for name in found.sums)


def test_without_landmark_metrics_no_face_is_looked_for():
    found, scorer = score([frame(4)] * 2, [frame(4)] * 2, metrics=("psnr", "ssim"))
    assert scorer.finder.looked_at == 0
    assert found.sums["ssim"][0] == pytest.approx(2)


@pytest.mark.parametrize(
    "speakers", [list("aabbcc"), list("aaab"), list("aaaa"), list("abcde"), list("aabbbccccdddd"), list("ab")]
)
def test_wrong_sounds_are_never_the_clips_own_and_each_is_given_once(speakers):
    donors = mismatched_audio(speakers, seed=1)
    assert sorted(donors) == list(range(len(speakers)))
    assert all(donor != clip for clip, donor in enumerate(donors))
    if max(map(speakers.count, speakers)) <= len(speakers) / 2:
        assert all(speakers[donor] != speakers[clip] for clip, donor in enumerate(donors))


def test_wrong_sounds_follow_the_seed():
    speakers = list("aabbccddee")
    assert mismatched_audio(speakers, 0) == mismatched_audio(speakers, 0)
    assert len({tuple(mismatched_audio(speakers, seed)) for seed in range(5)}) > 1


def test_wrong_speech_is_cut_or_repeated_to_the_clips_length():
    windows = np.arange(3)[:, None, None] * np.ones((3, 20, 13))
    assert tile_windows(windows, 7)[:, 0, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert tile_windows(windows, 2)[:, 0, 0].tolist() == [0, 1]


def test_the_identity_frame_is_the_first_the_most_closed_or_drawn_by_the_seed():
    clip = a_clip("s1/x", "s1")
    assert identity_frame(clip, "first", 0) == 0
    assert identity_frame(clip, "closest-mouth", 0) == 4
    drawn = [identity_frame(clip, "random", seed) for seed in range(20)]
    assert len(set(drawn)) > 3
    assert drawn == [identity_frame(clip, "random", seed) for seed in range(20)]


def test_the_energy_of_a_frame_is_that_of_its_own_forty_milliseconds():
    steps = np.zeros((40, 13), np.float32)
    steps[20:24, 0] = 1  # the fifth frame's steps
    energy = frame_energy(mfcc_windows(steps, 10))
    rise = 50 / np.sqrt(26)  # dB in every band
    np.testing.assert_allclose(energy - energy[0], rise * (np.arange(10) == 5), atol=1e-4)


def test_a_data_set_gives_the_three_rows_and_the_papers(data, weights):
    steps = []
    found = evaluate(
        EvalConfig(
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
    assert list(said["rows"]) == ["still", "wrong_sound", "model", "paper"]
    assert said["rows"]["paper"] == {"psnr_lineage": 31.01, "ssim": 0.97, "lmd": 0.78}
    for name, value in found.rows["model"].items():
        if name.endswith("_ci95"):
            continue
        low, high = found.rows["model"][f"{name}_ci95"]
        assert np.isnan(value) or low - 1e-9 <= value <= high + 1e-9
    assert set(said["definitions"]) == {n for n in said["rows"]["model"] if not n.endswith("_ci95")}
    assert "46 frames of 4 clips" in said["definitions"]["lmd"]
    assert "MediaPipe" in said["definitions"]["lmd"]
    assert said["rows"]["still"]["mouth_r"] is None
    assert steps[-1] == (46, 46)
    assert found.table()[0][0] == ""
    assert [row[0] for row in found.table()[1:]] == ["still", "wrong_sound", "model", "paper"]

    lines = list(csv.DictReader((data / "out.csv").open(newline="")))
    assert len(lines) == 4 * 3
    model = [line for line in lines if line["row"] == "model"]
    pooled = np.average([float(m["psnr"]) for m in model], weights=[int(m["frames"]) for m in model])
    assert pooled == pytest.approx(said["rows"]["model"]["psnr"], abs=1e-5)


def test_the_same_command_gives_the_same_bytes_whatever_the_number_of_workers(data, weights):
    for workers in (1, 3):
        evaluate(
            EvalConfig(
                data="grid",
                metrics=("psnr", "ssim", "lmd", "sync"),
                weights=weights / "generator.safetensors",
                workers=workers,
                json=data / f"{workers}.json",
                csv=data / f"{workers}.csv",
            )
        )
    assert (data / "1.json").read_bytes() == (data / "3.json").read_bytes()
    assert (data / "1.csv").read_bytes() == (data / "3.csv").read_bytes()


def test_the_still_row_scores_the_identity_frame_against_every_real_one(data):
    found = evaluate(EvalConfig(data="grid", metrics=("psnr",), rows=("still",)))
    assert found.weights is None
    clip = a_clip("s1/0", "s1", 10, frames=11)
    first, *rest = clip.frames()
    errors = [np.mean((f.astype(float) - first) ** 2) for f in rest]
    expected = (100 + sum(10 * np.log10(255**2 / e) for e in errors)) / 11
    [score] = [s for s in found.scores if s.clip == "s1/0"]
    assert score.sums["psnr"][0] / score.sums["psnr"][1] == pytest.approx(expected)


def test_limit_takes_clips_spread_over_the_split(data):
    found = evaluate(EvalConfig(data="grid", metrics=("psnr",), rows=("still",), limit=2))
    assert [score.clip for score in found.scores] == ["s1/0", "s2/1"]


def test_lmd_alone_works_with_the_defaults_and_says_what_was_used(data, weights, monkeypatch):
    monkeypatch.setattr(run, "load_generator", lambda path, device: Generator(TINY).eval())
    monkeypatch.setattr(run, "weights_hash", lambda path: "0" * 64)
    notes = []
    found = evaluate(EvalConfig(metrics=("lmd",)), on_note=notes.append)
    assert notes == ["--data is not given: grid, split test."]
    assert {name for name in found.rows["model"] if "_ci95" not in name} == {"lmd", "lmd_128", "lmd_iod"}
    assert found.rows["model"]["lmd_128"] == pytest.approx(found.rows["model"]["lmd"] / 2)


def test_one_clip_has_no_wrong_sound_and_the_report_says_so(data, weights):
    found = evaluate(
        EvalConfig(data="grid", metrics=("psnr",), limit=1, weights=weights / "generator.safetensors", workers=1)
    )
    assert list(found.rows) == ["still", "model", "paper"]
    assert "wrong_sound" in found.notes[0]
    assert found.as_json()["rows"]["model"]["psnr_ci95"] == [None, None]


def test_wrong_sound_alone_of_one_clip_is_refused(data):
    with pytest.raises(TalkfaceError, match="--rows wrong_sound: of one clip"):
        evaluate(EvalConfig(data="grid", metrics=("psnr",), limit=1, rows=("wrong_sound",)))


def test_notes_about_videos_are_shown_once(monkeypatch):
    sums = {"psnr": np.array([30.0, 1.0])}
    score = ClipScore("fake.mp4", "", "model", 1, 0, 0, sums)
    monkeypatch.setattr(run, "FaceFinder", PixelFinder)
    monkeypatch.setattr(videos, "compare", lambda *_: (score, ["fake.mp4 is shorter."]))
    shown = CliRunner().invoke(app, ["eval", "real.mp4", "fake.mp4", "--metrics", "psnr", "--device", "cpu"])
    assert shown.exit_code == 0, shown.stderr
    assert shown.stderr.count("fake.mp4 is shorter.") == 1


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
        ({"metrics": ("lmd", "ssim"), "syncnet": Path("s.model")}, "--syncnet is for lse alone.*lmd,ssim"),
        ({"syncnet": Path("s.model")}, "lse needs the videos"),
        ({"identity": "last"}, "--identity last"),
        ({"limit": 0}, "--limit 0"),
        ({"real": "a.mp4"}, "Only one video"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_work(wrong, said):
    with pytest.raises(TalkfaceError, match=said):
        EvalConfig(**wrong)


def test_syncnet_adds_lse_to_the_default_metrics_of_videos():
    of_videos = {"real": Path("a.mp4"), "fake": Path("b.mp4")}
    assert "lse" not in EvalConfig(**of_videos).wanted
    assert "lse" in EvalConfig(**of_videos, syncnet=Path("s.model")).wanted


def test_figures_of_a_data_set_are_drawn(data, weights):
    figures = drawing()
    generator = weights / "generator.safetensors"
    other = data / "no-mi" / generator.name
    other.parent.mkdir()
    other.write_bytes(generator.read_bytes())
    config = EvalConfig(data="grid", metrics=("lmd",), weights=generator, figures=data / "pictures", limit=2)
    evaluate(replace(config, ablation=(generator, other)))
    names = {path.name for path in (data / "pictures").iterdir()}
    kinds = {"lmd.png", "scatter.png"}
    kinds |= {f"{kind}-s{n}_{n - 1}.png" for kind in ("strip", "mouth", "ablation") for n in (1, 2)}
    assert names == kinds
    strip = cv2.imread(str(data / "pictures" / "strip-s1_0.png"))
    assert strip.shape[0] > 3 * 256  # real, model, wrong sound
    ablation = cv2.imread(str(data / "pictures" / "ablation-s1_0.png"))
    assert ablation.shape[0] == figures.LINE + 4 * (256 + figures.GAP)  # real, model, both generators
    first = np.array(next(a_clip("s1/0", "s1", 10, frames=11).frames()))
    shown = strip[figures.LINE :, figures.MARGIN :][:256, :256, ::-1]
    np.testing.assert_array_equal(shown, first)


def test_files_of_one_name_are_told_apart_by_their_folders_and_then_by_a_number():
    files = [Path(name) for name in ("a/g.mp4", "b/g.mp4", "c/b/g.mp4", "b/h.mp4", "b/model.mp4")]
    assert drawing().distinct_names(files, taken=["model"]) == ["a/g", "b/g", "b/g 2", "h", "b/model"]


def test_pairs_whose_fakes_share_a_name_get_strips_of_their_own(tmp_path, monkeypatch):
    figures, names = drawing(), []
    monkeypatch.setattr(figures, "of_videos", lambda name, *_: Example(name, {}, {}, {}, None))
    monkeypatch.setattr(figures, "draw_example", lambda folder, example: names.append(example.name) or example)
    monkeypatch.setattr(figures, "draw_landmarks", lambda *_: None)
    pairs = [(Path("real.mp4"), Path(f"{system}/fake.mp4")) for system in ("ours", "theirs")]
    figures.draw_videos(tmp_path, pairs, Scorer((), PixelFinder()), None)
    assert names == ["ours/fake", "theirs/fake"]


def test_principal_components_are_the_directions_of_most_spread():
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


def test_pictures_that_cannot_be_drawn_are_refused_before_the_work(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(TalkfaceError, match="--figures needs matplotlib"):
        evaluate(EvalConfig(data="grid", figures=data / "pictures"))


UNWRITABLE = [
    ("grid/dataset.json/out", "Not a directory"),
    ("/proc/out", "/proc/out cannot be written"),
    ("n" * 300, "File name too long"),
]


@pytest.mark.parametrize(
    "option, where, said",
    [
        *((option, *case) for option in ("json", "csv", "figures") for case in UNWRITABLE),
        ("json", "none/out", "No such file or directory"),
        ("csv", "grid", "is a folder"),
    ],
)
def test_a_result_that_cannot_be_written_is_refused_before_the_work(data, monkeypatch, option, where, said):
    if option == "figures":
        drawing()
    monkeypatch.setattr(run, "evaluate_dataset", lambda *_: pytest.fail("The work has begun."))
    before = set(data.rglob("*"))
    with pytest.raises(TalkfaceError, match=said):
        evaluate(EvalConfig(data="grid", **{option: data / where}))
    assert set(data.rglob("*")) == before
