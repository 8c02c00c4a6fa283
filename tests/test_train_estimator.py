"""The stage "estimator": T learns what is said, from lip points first."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from talkface.config import ALIGNED_LIPS
from talkface.data.clip import encode_frame
from talkface.data.moments import MomentBatches
from talkface.data.mouths import face_crop_corner
from talkface.data.reader import open_dataset
from talkface.errors import TalkfaceError
from talkface.metrics.bootstrap import mean_of_sums
from talkface.metrics.mutual_information import MutualInformation
from talkface.model.amie import EstimatorConfig, StatisticsNetwork
from talkface.train.estimator_stage import EstimatorStage
from talkface.train.presets import ObjectiveConfig

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, synthetic_clips, write_dataset):
    return write_dataset(tmp_path_factory.mktemp("synthetic"), synthetic_clips.many(2, 30))


@pytest.fixture(scope="module")
def moments(dataset):
    """2 clips x 4 moments."""
    return MomentBatches([open_dataset(dataset)], (64, 88)).batch(0, 2, 4)


def auc(statistics, clips):
    """How often T scores a frame's own sound above that of another moment of its clip."""
    information = MutualInformation(statistics.eval())
    sums = [
        information.sums(
            information.encode_frames(np.stack([*clip.frames()])),
            information.encode_speech(clip.mfcc.astype(np.float32)),
        )["mi_auc"]
        for clip in clips
    ]
    return float(mean_of_sums(np.sum(sums, 0)))


@pytest.fixture
def make_clip(synthetic_clips):
    """Clips in which every opening is as frequent as any other, so that two moments are seldom alike.

    The mouth lies where `eval` expects it in an aligned face.
    """
    drawn, aligned = synthetic_clips.lip_points(0), np.array(ALIGNED_LIPS, np.float32)
    shift = face_crop_corner(aligned) - face_crop_corner(drawn)

    def make(seed, voice=None):
        random = np.random.default_rng(seed)
        clip = synthetic_clips.one(f"s{seed}/a", f"s{seed}", seed, frames=40)
        openings = np.abs((random.uniform(0, 2) + random.uniform(0.07, 0.2, 40).cumsum()) % 2 - 1)
        background = np.full((256, 256, 3), random.uniform(140, 215, 3)).astype(np.uint8)
        gaps = synthetic_clips.widest * openings
        pictures = [np.roll(synthetic_clips.draw(background, gap), shift[::-1], (0, 1)) for gap in gaps]
        heard = np.interp(np.arange(160) / 4, np.arange(40) + 0.5, openings)[:, None] * np.linspace(1, -1, 13)
        if voice is not None:
            heard = voice + 0.3 * random.normal(size=heard.shape)
        lips = np.stack([synthetic_clips.lip_points(gap) for gap in gaps]) + shift.astype(np.float32)
        encoded = [encode_frame(picture) for picture in pictures]
        return replace(clip, lips=lips, encoded=encoded, mfcc_steps=heard.astype(np.float32))

    return make


def estimated(clips, folder, write_dataset, steps, lips=0.0):
    """T after some steps of the stage "estimator" on these clips."""
    torch.manual_seed(0)
    network = StatisticsNetwork(EstimatorConfig(widths=(8, 8, 16, 16), features=16, dropout=0.0))
    config = ObjectiveConfig(estimator_learning_rate=2e-3, estimator_lips=lips)
    stage = EstimatorStage(network, config, moments=4)
    stage.ema.decay = 0.9
    batches = MomentBatches([open_dataset(write_dataset(folder, clips))], (64, 88), augment=False)
    for step in range(steps):
        stage.step(step + 100, step / steps, batches.batch(step, 4, 4))
    return stage.ema.network


def test_t_tells_moments_of_a_clip_apart_where_the_sound_follows_the_mouth(tmp_path, make_clip, write_dataset):
    network = estimated([make_clip(seed) for seed in range(4)], tmp_path, write_dataset, 120)
    assert auc(network, [make_clip(seed) for seed in range(4, 8)]) > 0.9


def test_t_stays_at_chance_where_sound_and_picture_are_independent_though_the_speakers_differ(
    tmp_path, make_clip, write_dataset
):
    """Each speaker has a face and a voice of their own, and the mouth does not move with the sound."""
    voices = (-1.5, -0.5, 0.5, 1.5)
    clips = [make_clip(seed, voice) for seed, voice in enumerate(voices)]
    network = estimated(clips, tmp_path, write_dataset, 80)
    unseen = [make_clip(seed + 4, voice) for seed, voice in enumerate(voices)]
    assert auc(network, unseen) == pytest.approx(0.5, abs=0.1)


def test_lip_points_are_learned_first_and_mutual_information_after_them(mini_estimator, moments):
    stage = EstimatorStage(StatisticsNetwork(mini_estimator), ObjectiveConfig(estimator_lips=0.25), moments=4)
    assert stage.step(0, 0.2, moments).keys() == {"image_lips", "audio_lips"}
    assert stage.step(0, 0.25, moments).keys() == {"statistics"}


def test_the_audio_encoder_learns_how_lips_differ_within_a_clip_and_not_whose_they_are(mini_estimator, moments):
    stage = EstimatorStage(StatisticsNetwork(mini_estimator).eval(), ObjectiveConfig(), moments=4)
    wider = moments.lips * torch.tensor([1.0] * 4 + [1.0] * 4).reshape(-1, 1, 1) + torch.arange(2.0).repeat_interleave(
        4
    ).reshape(-1, 1, 1)
    before, after = (stage.lip_losses(moments._replace(lips=lips)) for lips in (moments.lips, wider))
    assert after["audio_lips"].item() == pytest.approx(before["audio_lips"].item(), rel=1e-5)
    assert after["image_lips"] != before["image_lips"]


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_of_lip_points_that_leaves_nothing_for_the_estimate_is_refused(share):
    with pytest.raises(TalkfaceError, match="estimator_lips"):
        ObjectiveConfig(estimator_lips=share)


def test_the_rate_rises_once_and_falls_to_a_twentieth_in_each_part_of_the_stage(mini_estimator, moments):
    stage = EstimatorStage(StatisticsNetwork(mini_estimator), ObjectiveConfig(estimator_lips=0.25), moments=4)
    for step, progress, expected in (
        (0, 0.0, 5e-6),
        (99, 0.0, 5e-4),
        (900, 0.2499999, 2.5e-5),
        (901, 0.25, 5e-4),
        (5000, 1.0, 2.5e-5),
    ):
        stage.step(step, progress, moments)
        assert stage.optimizer.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-3)


def test_a_batch_is_a_function_of_seed_and_step_with_the_moments_of_a_clip_side_by_side(dataset):
    batches = MomentBatches([open_dataset(dataset)], (64, 88), seed=3)
    first, again, later = batches.batch(5, 2, 3), batches.batch(5, 2, 3), batches.batch(6, 2, 3)
    assert [tuple(x.shape) for x in first] == [(6, 3, 64, 88), (6, 20, 13), (6, 40, 2)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.frames, later.frames)
    assert first.lips.mean(1).abs().max() < 1e-4
    whole = MomentBatches([open_dataset(dataset)], (256, 256), augment=False).batch(0, 1, 2)
    assert whole.frames.shape == (2, 3, 256, 256)
