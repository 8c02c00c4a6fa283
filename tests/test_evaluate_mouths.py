"""What is seen between the lips: drawn mouths whose teeth, darkness and sharpness are known."""

import math

import numpy as np
import pytest

from talkface.evaluate import mouths, score
from talkface.evaluate.mouths import EVERY, MouthJudge, halves_kernel_distance, pooled_kernel_distance
from talkface.evaluate.report import Report
from talkface.evaluate.score import ClipScore, RowFrames, Scorer
from talkface.face.landmarks import LIPS
from talkface.metrics.mouth import kernel_distance

SKIN, LIP, TOOTH, DARK = (170, 140, 120), (170, 60, 70), (190, 185, 180), (20, 15, 15)
EYES = ((93.0, 105.0), (163.0, 105.0))


@pytest.fixture(scope="module")
def judge(one_thread):
    return MouthJudge()


@pytest.fixture(scope="module")
def draw(synthetic_clips):
    """A face whose mouth is `gap` px from its middle to either lip, filled with one colour or a pattern."""

    def picture(gap, inside=TOOTH, stripes=0):
        face = synthetic_clips.draw(np.full((256, 256, 3), SKIN, np.uint8), gap)
        mouth = (face.astype(int).sum(2) < 120) & (np.arange(256)[:, None] > 120)
        colours = np.broadcast_to(np.array(inside, float), face.shape).copy()
        colours[:, ::2] += stripes
        face[mouth] = colours[mouth].clip(0, 255).astype(np.uint8)
        face[0, 0] = (round(gap), 0, 0)  # read by the finder
        return face

    return picture


@pytest.fixture(scope="module")
def finder(synthetic_clips):
    """Replaces the face networks: the red of the top-left pixel says how far the drawn mouth is open."""

    class Finder:
        def __init__(self, device="cpu"):
            pass

        def landmarks_aligned(self, frames):
            points = np.zeros((len(frames), 468, 2), np.float32)
            points[:, [33, 133]], points[:, [362, 263]] = EYES[0], EYES[1]
            points[:, list(LIPS)] = np.stack([synthetic_clips.lip_points(float(f[0, 0, 0])) for f in frames])
            return points, np.full(len(frames), 0.9, np.float32)

    return Finder


@pytest.fixture(scope="module")
def scored(judge, finder):
    def run(real, photo=None, **rows):
        scorer = Scorer(("mouth",), finder(), judge=judge)
        return scorer.score("clip", "", real, {name: RowFrames(frames) for name, frames in rows.items()}, photo=photo)

    return run


def test_teeth_darkness_and_sharpness_are_those_of_the_real_mouth_where_the_pictures_are_equal(draw, scored):
    real = [draw(6 + number % 3, TOOTH if number % 2 else DARK, stripes=20) for number in range(12)]
    [same] = scored(real, row=real)
    report = Report("x", None, None, ("mouth",), [same])
    assert [report.rows["row"][name] for name in ("teeth", "dark", "mouth_sharp")] == pytest.approx([1, 1, 1])
    count, teeth, dark, *_ = same.sums["mouth_content"]
    assert count == 12 / EVERY
    assert 0.7 < teeth / 2 <= 1  # two of the four judged mouths are full of teeth but for the soft edge
    assert 0.7 < dark / 2 <= 1


def test_a_blurred_or_closed_mouth_has_too_few_teeth(draw, scored):
    real = [draw(7)] * 9
    [grey, half] = scored(real, grey=[draw(7, (120, 80, 80))] * 9, half=real[:4] + [draw(7, DARK)] * 5)
    assert grey.sums["mouth_content"][4] == 0
    _, teeth, _, _, fake_teeth, fake_dark, _ = half.sums["mouth_content"]
    assert fake_teeth / teeth == pytest.approx(2 / 3)  # frames 0 and 3 of 0, 3, 6
    assert fake_dark > 0


def test_only_every_third_open_mouth_is_judged_across_blocks_and_the_photo_never(draw, scored, monkeypatch):
    gaps = [0, 8, 0, 8, 8, 8, 8, 0, 0, 8, 8, 8]  # half the gap in px; open are 1, 3, 4, 5, 6, 9, 10, 11
    real = [draw(gap, stripes=number) for number, gap in enumerate(gaps)]
    [whole] = scored(real, row=real)
    assert whole.sums["mouth_content"][0] == 3  # 1, 5 and 10
    monkeypatch.setattr(score, "BLOCK", 2)
    [blocks] = scored(real, row=real)
    np.testing.assert_allclose(blocks.sums["mouth_content"], whole.sums["mouth_content"])
    np.testing.assert_allclose(blocks.features["real"], whole.features["real"], atol=2e-3)
    assert blocks.features["real"].dtype == np.float16
    [without] = scored(real[:3], photo=1, row=real[:3])
    assert without.sums["mouth_content"].tolist() == [0] * 7


def test_without_an_open_mouth_there_are_no_values(draw, scored):
    [closed] = scored([draw(0)] * 5, row=[draw(8)] * 5)
    report = Report("x", None, None, ("mouth",), [closed])
    assert closed.features == {}
    assert "mouth_kid" not in report.rows["row"]
    assert math.isnan(report.rows["row"]["teeth"])
    assert "0 frames of 1 clip" in report.definitions()["teeth"]


def clip_of(name, real, fake):
    return ClipScore(name, "", "row", 4, 0, 0, {"mouth_content": np.ones(7)}, {"real": real, "fake": fake})


def test_the_kernel_distance_pools_the_features_of_all_clips():
    rng = np.random.default_rng(0)
    real, fake = (rng.normal(size=(40, 16)).astype(np.float16) for _ in range(2))
    fake += np.float16(0.8)
    clips = [clip_of("a", real[:15], fake[:15]), clip_of("b", real[15:], fake[15:])]
    report = Report("x", None, None, ("mouth",), clips, seed=3)
    expected = kernel_distance(real.astype(np.float32), fake.astype(np.float32))
    assert report.rows["row"]["mouth_kid"] == pytest.approx(expected)
    assert abs(report.rows["row"]["mouth_kid_real"]) < expected / 3
    assert report.as_json()["rows"]["row"]["mouth_kid_ci95"] == [None, None]
    assert "two random halves (seed 3)" in report.definitions()["mouth_kid_real"]
    assert report.columns[0].of_clip(clips[0]) is math.nan


def test_a_large_set_is_thinned_evenly(monkeypatch):
    monkeypatch.setattr(mouths, "MAX_FEATURES", 150)
    many = np.random.default_rng(0).normal(size=(299, 2))
    kept = np.arange(0, 299, 2)
    expected = kernel_distance(many[kept].astype(np.float32), many[kept].astype(np.float32) + 1)
    assert pooled_kernel_distance([many[:100], many[100:]], [many + 1]) == pytest.approx(expected, rel=1e-4)


def test_halves_of_one_distribution_are_close_and_depend_on_the_seed():
    features = [np.random.default_rng(0).normal(size=(400, 32))]
    assert abs(halves_kernel_distance(features, 0)) < 0.1
    assert halves_kernel_distance(features, 0) == halves_kernel_distance(features, 0)
    assert halves_kernel_distance(features, 0) != halves_kernel_distance(features, 1)
