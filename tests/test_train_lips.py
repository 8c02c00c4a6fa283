"""The stage "lips": its losses by closed forms, its schedule, and that it learns lips from sound."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from talkface.config import EYE_DISTANCE
from talkface.data.reader import open_dataset
from talkface.data.speech import LipBatches, SpeechClip, mfcc_clips
from talkface.model.audio import AudioEncoder, AudioFeatures
from talkface.model.lips import opening
from talkface.train import lips_stage
from talkface.train.lips_stage import LipsStage, lip_figures, lip_shape_loss, movement_loss
from talkface.train.presets import LipsConfig

pytestmark = pytest.mark.usefixtures("one_thread")

SIGNS = torch.tensor([1.0, -1.0]).repeat(20)[:, None]  # of a change of shape that leaves the mean where it is
MOVE = torch.tensor([0.6, 0.8])  # 1 px long


def test_lip_shapes_are_compared_point_by_point_and_their_place_a_quarter():
    true = torch.rand(3, 2, 40, 2)
    for predicted, expected in ((true + MOVE, 0.25), (true + SIGNS * MOVE, 1.0), (true + (SIGNS + 1) * MOVE, 1.25)):
        assert torch.allclose(lip_shape_loss(predicted, true), torch.full((3, 2), expected), atol=1e-5)


def test_movement_is_compared_without_the_mean_over_the_sequence():
    true = torch.rand(2, 4, 40, 2)
    assert torch.allclose(movement_loss(true + 3 * SIGNS * MOVE, true), torch.zeros(2, 4), atol=1e-5)
    there_and_back = torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None, None]
    assert torch.allclose(movement_loss(true + there_and_back * SIGNS * MOVE, true), torch.ones(2, 4), atol=1e-5)


@pytest.fixture(scope="module")
def clips(tmp_path_factory, synthetic_clips, write_dataset):
    data = write_dataset(tmp_path_factory.mktemp("synthetic"), synthetic_clips.many(4, 30))
    return mfcc_clips([open_dataset(data)])


@pytest.fixture
def stage(clips):
    torch.manual_seed(0)
    return LipsStage(AudioEncoder(0, 16, dropout=0.0), LipsConfig(), clips, augment=False)


def test_the_loss_terms_are_weighted_means_over_the_frames_that_count(clips, stage):
    batch = LipBatches(clips).batch(0, 5, 40)  # longer than the clips: the last frames are repeated
    assert 0 < batch.counts.sum() < batch.counts.numel()
    counted = batch.counts > 0
    stage.encoder.train()
    with torch.no_grad():
        audio = stage.encoder(batch.features, batch.photo_lips)
    shut = (opening(batch.lips) < 0.02).float()
    expected = {
        "lip_shape": lip_shape_loss(audio.lips, batch.lips)[counted].mean(),
        "lip_movement": movement_loss(audio.lips, batch.lips)[counted].mean(),
        "lip_closure": F.binary_cross_entropy_with_logits(audio.closed_logit[counted], shut[counted]),
    }
    stage.config = replace(stage.config, shape_weight=2.0, movement_weight=3.0, closure_weight=5.0)
    terms = stage.step(0, 0.0, batch)
    for (name, value), weight in zip(expected.items(), (2, 3, 5), strict=True):
        assert terms[name].item() == pytest.approx(weight * value.item(), rel=1e-4), name


def test_the_opening_direction_of_the_clips_is_taken_over_once(clips, synthetic_clips):
    """Drawn lips open by moving each lip the same way: an opening of 1 is the eye distance, half for each lip."""
    encoder = AudioEncoder(0, 8)
    LipsStage(encoder, LipsConfig(), clips)
    middle = encoder.direction[[25, 35], 1]
    assert middle.tolist() == pytest.approx([EYE_DISTANCE / 2, -EYE_DISTANCE / 2], rel=0.05)
    encoder.direction.zero_()
    LipsStage(encoder, LipsConfig(), clips, fresh=False)
    assert not encoder.direction.any()


def test_features_of_a_recogniser_are_standardised_by_the_training_clips():
    random = np.random.default_rng(0)
    features = (5 + 3 * random.normal(size=(7000, 6))).astype(np.float16)
    clip = SpeechClip(0, "a", "a", [features], [random.normal(size=(7000, 40, 2)).astype(np.float32)])
    encoder = AudioEncoder(6, 8)
    LipsStage(encoder, LipsConfig(), [clip])
    x = encoder.standardised(torch.from_numpy(features.astype(np.float32)))
    assert x.mean(0).abs().max() < 0.1
    assert (x.std(0) - 1).abs().max() < 0.1


def test_the_learning_rate_rises_over_the_first_tenth_and_falls_along_a_cosine(stage):
    peak = stage.config.learning_rate
    rates = [stage._learning_rate(step / 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.04 * peak)
    assert max(rates) == pytest.approx(peak)
    assert rates.index(max(rates)) == 100
    assert rates[550] == pytest.approx(peak / 2)
    assert rates[1000] == pytest.approx(0, abs=1e-9)
    assert all(type(rate) is float for rate in rates)  # a numpy scalar in the optimiser spoils checkpoints


@pytest.mark.parametrize("augment, times", [(True, 1), (False, 0)])
def test_windows_are_distorted_where_it_is_asked_for(clips, monkeypatch, augment, times):
    calls = []
    monkeypatch.setattr(lips_stage, "distort_sound", lambda windows: calls.append(windows) or windows)
    LipsStage(AudioEncoder(0, 8), LipsConfig(), clips, augment=augment).step(0, 0.5, LipBatches(clips).batch(0, 2, 8))
    assert len(calls) == times


def test_lips_follow_the_sound_after_a_hundred_steps(clips, stage):
    """Movement and shape fall to less than half; the lips of the averaged network correlate with the real ones."""
    batches, shapes, moves = LipBatches(clips, landmark_noise=0.5), [], []
    stage.config = replace(stage.config, learning_rate=5e-3, ema=0.9)
    for step in range(100):
        terms = stage.step(step, step / 100, batches.batch(step, 8, 20))
        shapes.append(terms["lip_shape"].item())
        moves.append(terms["lip_movement"].item())
    assert np.mean(shapes[-10:]) < 0.5 * np.mean(shapes[:5])
    assert np.mean(moves[-10:]) < 0.5 * np.mean(moves[:5])
    figures = lip_figures(stage.ema.network, clips)
    assert figures["r"] > 0.8
    assert figures["share"] < 0.6


class Oracle(torch.nn.Module):
    """In place of an audio encoder: gives the lips that a function of features and photo says, never shut."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer
        self.register_buffer("direction", torch.zeros(40, 2))

    def forward(self, features, photo_lips):
        lips = self.answer(features, photo_lips)
        return AudioFeatures(lips, torch.full(lips.shape[:2], -math.inf))


def test_figures_of_perfect_lips_and_of_the_photos_own(clips):
    whole = {clip.features[0].astype(np.float32).tobytes(): torch.from_numpy(clip.lips[0])[None] for clip in clips}
    perfect = lip_figures(Oracle(lambda features, _: whole[features[0].numpy().tobytes()]), clips, how=None)
    assert perfect["r"] == pytest.approx(1)
    assert (perfect["share"], perfect["spread"], perfect["mean"], perfect["jerk"]) == pytest.approx((0, 1, 1, 1))
    assert perfect["closed"] == perfect["real_closed"] > 0
    still = Oracle(lambda features, photo: photo[:, None].expand(-1, features.shape[1], -1, -1))
    assert lip_figures(still, clips, how=None)["share"] == pytest.approx(1)
