"""The sound offset of each source: estimated from predicted mouth openings, set by hand, or kept."""

import json
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from talkface.config import FPS, SOUND_RATE
from talkface.data.clip import encode_sound
from talkface.data.layouts import piece_name
from talkface.data.reader import open_dataset
from talkface.data.shards import DATASET, ShardWriter
from talkface.errors import TalkfaceError
from talkface.face.landmarks import mouth_opening
from talkface.model.amie import StatisticsNetwork
from talkface.model.checkpoint import save_network
from talkface.preprocess.offsets import (
    MAX_LAG,
    OffsetPlan,
    Offsets,
    SourceOffset,
    best_lag,
    guess_layout,
    lag_sums,
    load_predictor,
    source_names,
)
from talkface.preprocess.summary import summarise
from talkface.preprocess.sync import LAG_SECONDS

FACTS = {"seconds": 1.0, "yaw": 3.0, "jump": 0.05, "change": 2.0, "eye_distance": 45.0}
EDGE = (MAX_LAG + 1) / FPS


def syllables(seed):
    """A smooth curve in [0, 1] over time in seconds."""
    rng = np.random.default_rng(seed)
    rates, phases = rng.uniform(1, 5, 4), rng.uniform(0, 7, 4)
    return lambda times: 0.5 + 0.125 * np.sin(2 * np.pi * np.outer(times, rates) + phases).sum(1)


def talking_clip(clip_factory, synthetic_clips, name, frames, late, speaker="s1", seed=0, sound=True):
    """A clip whose mouth opens with a curve; its sound has that curve as loudness, `late` seconds late."""
    clip, curve = clip_factory(name, frames, speaker=speaker), syllables(f"{name}{seed}".encode()[-1] + seed)
    clip.lips = np.stack([synthetic_clips.lip_points(8 * gap) for gap in curve((np.arange(frames) + 0.5) / FPS)])
    samples = np.arange(round(frames / FPS * SOUND_RATE)) / SOUND_RATE
    clip.sound = encode_sound(curve(samples - late).astype(np.float32)) if sound else b""
    return clip


def hear(clip):
    """A stub of the Audio Encoder: openings are the value of the waveform at the middle of each frame."""
    times = (np.arange(len(clip)) + 0.5) / clip.fps + clip.av_offset + clip.sound_lead
    return np.interp(times, np.arange(len(clip.waveform)) / SOUND_RATE, clip.waveform)


def hear_nothing(clip):
    return np.random.default_rng([*clip.name.encode()]).standard_normal(len(clip))


def fail(problem="The weights are missing."):
    raise TalkfaceError(problem, "Get them.")


def curve_about(lag, height=0.9):
    return [round(float(height * np.exp(-(((at - lag) / 0.08) ** 2))), 3) for at in LAG_SECONDS]


def write(root, clips, lag=0.0):
    """Shards of clips whose loudness is `lag` seconds late."""
    with ShardWriter(root, "train-00000") as writer:
        for clip in clips:
            writer.add(clip, status="kept", facts=FACTS, curve=curve_about(lag))
    return root


@pytest.fixture
def talking(clip_factory, synthetic_clips):
    def make(name, frames=120, late=0.0, **options):
        return talking_clip(clip_factory, synthetic_clips, name, frames, late, **options)

    return make


def stored(root):
    return json.loads((root / DATASET).read_text())


def index_lines(names, speakers=None, frames=60):
    speakers = speakers or [name.rpartition("/")[0] for name in names]
    return [{"name": n, "speaker": s, "frames": frames} for n, s in zip(names, speakers, strict=True)]


@pytest.mark.parametrize("late", [-3.6, -1.3, 0.0, 0.4, 3.8])
def test_the_lag_between_two_curves_is_found_to_a_tenth_of_a_frame(late):
    curve, times = syllables(3), np.arange(400) / FPS
    lag, r = best_lag(lag_sums(curve(times - late / FPS), curve(times)))
    assert lag == pytest.approx(late, abs=0.1)
    assert r > 0.95


def test_sums_at_a_lag_correlate_the_frames_that_overlap():
    rng = np.random.default_rng(0)
    real, heard = rng.random(12), rng.random(12)
    xy, xx, yy = lag_sums(real, heard)[MAX_LAG + 1 + 2]
    assert xy / np.sqrt(xx * yy) == pytest.approx(np.corrcoef(real[2:], heard[:-2])[0, 1])
    xy, xx, yy = lag_sums(real, heard)[MAX_LAG + 1 - 3]
    assert xy / np.sqrt(xx * yy) == pytest.approx(np.corrcoef(real[:-3], heard[3:])[0, 1])
    assert np.all(lag_sums(real[:4], heard[:4])[[0, -1]] == 0)


@pytest.mark.parametrize("late", [-6.0, -4.6, 4.6, 6.0])
def test_a_peak_at_the_edge_or_beyond_is_no_lag(late):
    curve, times = syllables(3), np.arange(400) / FPS
    assert best_lag(lag_sums(curve(times - late / FPS), curve(times)))[0] is None


def test_curves_that_hardly_correlate_and_constant_ones_have_no_lag():
    rng = np.random.default_rng(1)
    lag, r = best_lag(lag_sums(rng.random(4000), rng.random(4000)))
    assert lag is None
    assert abs(r) < 0.1
    assert best_lag(lag_sums(np.ones(200), rng.random(200))) == (None, 0.0)


def test_in_lrw_and_grid_a_source_is_a_speaker_and_unknown_speakers_have_none():
    lines = index_lines(["SPK01/train/a", "SPK01/val/b", "WORD/train/c"], ["SPK01", "SPK01", ""])
    assert source_names(lines, "lrw") == ["SPK01", "SPK01", ""]
    assert source_names(index_lines(["s1/a", "s2/b"]), "grid") == ["s1", "s2"]


def test_in_a_folder_a_source_is_a_video_of_100_frames_or_else_all_short_videos_of_the_folder():
    names = [piece_name("ann/long", 0), piece_name("ann/long", 1), "ann/a", "ann/b", "ben/c", "d"]
    expected = ["ann/long", "ann/long", "ann/", "ann/", "ben/", "./"]
    assert source_names(index_lines(names, frames=50), "folder") == expected
    assert source_names(index_lines(names, frames=49), "folder")[:2] == ["ann/", "ann/"]


def test_frames_without_sound_do_not_make_a_video_long_enough():
    (line,) = index_lines(["ann/long"], frames=500)
    assert source_names([line | {"sound": True}], "folder") == ["ann/long"]
    assert source_names([line | {"sound": False}], "folder") == ["ann/"]


@pytest.mark.parametrize(
    "names, speakers, layout",
    [
        (["s1/bbaf2n", "s23/swbo9s"], None, "grid"),
        (["SPK16/test/SPK16_00001", "SPK01/train/SPK01_00001"], ["SPK16", "SPK01"], "lrw"),
        (["ABOUT/train/ABOUT_00001"], [""], "lrw"),
        (["ann/train/one"], None, "folder"),
        (["s1/bbaf2n", "ann/one"], None, "folder"),
        ([], [], "folder"),
    ],
)
def test_the_layout_of_an_old_data_set_is_seen_in_its_names(names, speakers, layout):
    assert guess_layout(index_lines(names, speakers)) == layout


def test_each_source_gets_its_own_offset_and_the_clips_are_read_with_it(tmp_path, talking):
    clips = [talking(piece_name("ann/x", i), 60, 0.10, speaker="ann", seed=i) for i in range(2)]
    clips += [talking("ben/y", 150, -0.07, speaker="ben"), talking("cid/z", 40, 0.05, speaker="cid")]
    steps = []
    plan = OffsetPlan(load=lambda: hear, on_step=lambda *step: steps.append(step))
    offsets = summarise(write(tmp_path, clips), "talk", "folder", plan).offsets
    assert offsets.sources["ann/x"].av_offset == pytest.approx(0.10, abs=0.004)
    assert offsets.sources["ben/y"].av_offset == pytest.approx(-0.07, abs=0.004)
    assert offsets.sources["ben/y"].r > 0.9
    assert steps == [(1, 3), (2, 3), (3, 3)]
    own = (120 * offsets.sources["ann/x"].av_offset + 150 * offsets.sources["ben/y"].av_offset) / 270
    assert offsets.av_offset == pytest.approx(own, abs=1e-3)
    assert offsets.sources["cid/"] == SourceOffset(offsets.av_offset, None, 40, False)
    for clip in open_dataset(tmp_path):
        assert clip.av_offset == offsets.of("cid/" if clip.name == "cid/z" else clip.name.partition("+")[0])
    facts = stored(tmp_path)
    assert facts["layout"] == "folder"
    assert facts["av_offset"] == offsets.av_offset
    assert facts["sources"] == {name: asdict(source) for name, source in offsets.sources.items()}


def test_offsets_are_told_in_one_sentence():
    a, b = SourceOffset(-0.0702, 0.7, 200, True), SourceOffset(0.1, 0.6, 150, True)
    short = SourceOffset(0.0056, None, 40, False)
    text = "Sound offset: -0.070 to 0.100 s, estimated for 2 of "
    assert str(Offsets(0.0056, {"a": a, "b": b})) == f"{text}2 sources."
    assert str(Offsets(0.0056, {"a": a, "b": b, "c": short})) == f"{text}3 sources; the others take 0.006 s."


def test_the_estimate_is_made_around_the_offset_by_loudness_and_the_same_when_made_again(tmp_path, talking):
    clips = [talking(f"s1/{i:02d}", 40, 0.24, seed=i) for i in range(20)]
    write(tmp_path, clips, lag=0.1)
    plan = OffsetPlan(load=lambda: hear)
    first = summarise(tmp_path, "grid", "grid", plan)
    assert first.offsets.sources["s1"].estimated
    assert first.av_offset == pytest.approx(0.24, abs=0.01)  # further than four frames from 0
    assert summarise(tmp_path, "grid", "grid", plan) == first


def test_without_a_clear_peak_the_offset_is_that_of_the_loudness_which_is_not_believed_beyond_0_12_s(tmp_path, talking):
    for lag, believed in ((0.08, 0.08), (0.26, 0.0)):
        root = tmp_path / str(lag)
        write(root, [talking(f"s1/{i:02d}", 30, seed=i) for i in range(20)], lag)
        offsets = summarise(root, "grid", "grid", OffsetPlan(load=lambda: hear_nothing)).offsets
        assert offsets.av_offset == pytest.approx(believed, abs=0.01)
        assert offsets.sources["s1"].estimated is False
        assert offsets.sources["s1"].r < 0.3
        assert offsets.note == ""
        assert str(offsets) == f"Sound offset: {offsets.av_offset:.3f} s for all 1 sources."


def test_without_weights_the_offset_is_that_of_the_loudness_and_a_note_says_why(tmp_path, talking):
    write(tmp_path, [talking(f"s1/{i:02d}", 10) for i in range(20)], 0.08)
    offsets = summarise(tmp_path, "grid", "grid", OffsetPlan(load=fail)).offsets
    assert offsets.av_offset == pytest.approx(0.08, abs=0.01)
    assert offsets.note.endswith("The weights are missing.")
    assert offsets.sources == {"s1": SourceOffset(offsets.av_offset, None, 200, False)}


def test_sources_that_are_all_short_or_silent_need_no_weights(tmp_path, talking):
    clips = [talking("ann/a", 99), talking("ben/b", 300, sound=False)]
    offsets = summarise(write(tmp_path, clips), "talk", "folder", OffsetPlan(load=fail)).offsets
    assert offsets.note == ""
    assert set(offsets.sources) == {"s1/"}


def test_a_data_set_without_sound_has_no_sources_and_no_offset(tmp_path, talking):
    offsets = summarise(write(tmp_path, [talking("a", sound=False)]), "x", "folder", OffsetPlan(load=fail)).offsets
    assert (offsets, str(offsets)) == (Offsets(0.0, {}), "")
    assert [clip.av_offset for clip in open_dataset(tmp_path)] == [0.0]


def test_of_a_very_long_source_not_all_clips_are_heard(tmp_path, talking, monkeypatch):
    monkeypatch.setattr("talkface.preprocess.offsets.MAX_HEARD", 200)
    write(tmp_path, [talking(f"s1/{i:02d}", 50, 0.08, seed=i) for i in range(12)])
    heard = Counter()

    def count(clip):
        heard[clip.name] += 1
        return hear(clip)

    source = summarise(tmp_path, "grid", "grid", OffsetPlan(load=lambda: count)).offsets.sources["s1"]
    assert sorted(heard) == ["s1/00", "s1/04", "s1/07", "s1/11"]
    assert (source.frames, source.av_offset) == (600, pytest.approx(0.08, abs=0.005))


def test_an_offset_by_hand_is_that_of_all_clips_until_the_next_estimate(tmp_path, talking):
    write(tmp_path, [talking("ann/x", 120, 0.1), talking("ben/y", 30)])
    plan = OffsetPlan(seconds=-0.2)
    assert summarise(tmp_path, "talk", "folder", plan).offsets.sources == {
        "ann/x": SourceOffset(-0.2, None, 120, False),
        "s1/": SourceOffset(-0.2, None, 30, False),
    }
    assert [clip.av_offset for clip in open_dataset(tmp_path)] == [-0.2, -0.2]
    assert stored(tmp_path)["av_offset"] == -0.2
    summarise(tmp_path, "talk", "folder", OffsetPlan(load=lambda: hear))
    assert stored(tmp_path)["av_offset"] == pytest.approx(0.1, abs=0.005)


def test_a_run_that_estimates_nothing_keeps_the_stored_offsets_and_the_layout(tmp_path, talking):
    write(tmp_path, [talking("s1/x", 120, 0.1), talking("s1/y", 40)])
    before = summarise(tmp_path, "talk", "folder", OffsetPlan(load=lambda: hear)).offsets
    assert set(before.sources) == {"s1/x", "s1/"}
    with ShardWriter(tmp_path, "train-00001") as writer:
        writer.add(talking("ben/new", 150, 0.02), status="kept", facts=FACTS, curve=curve_about(0))
    after = summarise(tmp_path, "talk").offsets  # without the stored layout the names look like those of GRID
    new = SourceOffset(before.av_offset, None, 150, False)
    assert after == replace(before, sources={**before.sources, "ben/new": new})


def test_a_data_set_of_an_earlier_version_is_updated(tmp_path, talking):
    write(tmp_path, [talking("s1/x", 120, 0.1)])
    (tmp_path / DATASET).write_text(json.dumps({"format": 2, "name": "grid", "av_offset": 0.04}))
    assert summarise(tmp_path, "grid").offsets == Offsets(0.0, {"s1": SourceOffset(0.0, None, 120, False)})
    assert summarise(tmp_path, "grid", None, OffsetPlan(load=lambda: hear)).av_offset == pytest.approx(0.1, abs=0.005)
    assert stored(tmp_path)["layout"] == "grid"


def test_a_clip_is_out_of_step_relative_to_its_source(tmp_path, talking):
    with ShardWriter(tmp_path, "train-00000") as writer:
        for name, late in (("ann/x", 0.14), ("ben/y", -0.14)):
            writer.add(talking(name, 120, late), status="kept", facts=FACTS, curve=curve_about(0.24))
    summary = summarise(tmp_path, "talk", "folder", OffsetPlan(load=lambda: hear))
    assert open_dataset(tmp_path).names == ["ann/x"]
    assert summary.counts == {("train", "kept"): 1, ("train", "sound and picture out of step"): 1}


def test_openings_are_predicted_with_the_audio_encoder_for_the_lips_of_the_first_frame(
    tmp_path, synthetic_clips, make_generator
):
    generator, clip = make_generator(), synthetic_clips.one(frames=30)
    save_network(generator, tmp_path / "g.safetensors")
    with torch.inference_mode():
        windows, photo = torch.from_numpy(clip.mfcc)[None], torch.from_numpy(clip.lips[:1])
        lips = generator.audio_encoder(windows, photo).lips[0].numpy()
    gaps = lips[:, [24, 25, 26], 1] - lips[:, [36, 35, 34], 1]
    predicted = load_predictor(tmp_path / "g.safetensors")(clip)
    assert predicted == pytest.approx(gaps.mean(1) / 70, abs=1e-5)
    assert np.ptp(mouth_opening(clip.lips, 70.0)) > 0.05


def test_weights_that_are_missing_or_predict_no_lips_are_a_clear_error(tmp_path, mini_estimator):
    with pytest.raises(TalkfaceError, match=r"none\.safetensors does not exist") as caught:
        load_predictor(tmp_path / "none.safetensors")
    assert "--av-weights" in caught.value.fix
    save_network(StatisticsNetwork(mini_estimator), tmp_path / "t.safetensors")
    with pytest.raises(TalkfaceError, match="not a talkface generator"):
        load_predictor(tmp_path / "t.safetensors")
