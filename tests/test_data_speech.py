"""Speech features with the lips that go with them: at the right time, of the right clips, by seed and step."""

import numpy as np
import pytest
import torch

from talkface.config import SOUND_RATE
from talkface.data.clip import encode_sound
from talkface.data.lip_points import mirrored_lips
from talkface.data.reader import ClipDataset, open_dataset
from talkface.data.speech import (
    LipBatches,
    SpeechClip,
    SyntheticClip,
    clip_features,
    frame_times,
    mfcc_clips,
    speech_clips,
    synthetic_clips,
)
from talkface.data.visemes import save_visemes
from talkface.errors import TalkfaceError
from talkface.media.windows import mfcc_windows
from talkface.model.hearing import features_at, speech_vectors
from talkface.model.lips import opening
from talkface.model.recogniser import FEATURES, load_speech_encoder

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, write_dataset, synthetic_clips):
    """Three clips; the last keeps no sound."""
    clips = [synthetic_clips.one(f"s{i}/a", f"s{i}", seed=i, frames=20 + 5 * i, sound=i < 2) for i in range(3)]
    return open_dataset(write_dataset(tmp_path_factory.mktemp("clips"), clips))


@pytest.fixture(scope="module")
def old_dataset(dataset):
    """The same as an earlier talkface wrote it, which kept MFCC alone."""
    return ClipDataset(dataset.root, [{k: v for k, v in line.items() if k != "sound"} for line in dataset._lines])


def test_the_time_of_a_frame_is_its_middle_in_the_clips_sound(synthetic_clips):
    clip = synthetic_clips.one(frames=4)
    assert frame_times(clip, 4) == pytest.approx([0.02, 0.06, 0.10, 0.14])
    clip.av_offset, clip.sound_lead = 0.03, 0.4
    assert frame_times(clip, 4) == pytest.approx([0.45, 0.49, 0.53, 0.57])
    # Played twice as fast, lead and offset take half the time; the frame rate stays.
    assert frame_times(clip, 2, speed=2.0) == pytest.approx([0.235, 0.275])


def test_sound_before_the_first_frame_moves_no_feature(synthetic_clips, loudness_encoder):
    clip = synthetic_clips.one(frames=20)
    plain = clip_features(clip, loudness_encoder)
    lead = np.zeros(round(0.4 * SOUND_RATE), np.float32)
    clip.sound, clip.sound_lead = encode_sound(np.concatenate([lead, clip.waveform])), 0.4
    np.testing.assert_allclose(clip_features(clip, loudness_encoder), plain, atol=0.01)


def test_the_features_of_a_loud_frame_are_loud(synthetic_clips, loudness_encoder):
    clip = synthetic_clips.one(frames=60)
    loudness = clip_features(clip, loudness_encoder).mean(1)
    gaps = clip.lips[:, 25, 1] - clip.lips[:, 35, 1]
    best = [np.corrcoef(np.roll(loudness, shift)[3:-3], gaps[3:-3])[0, 1] for shift in (-1, 0, 1)]
    assert np.argmax(best) == 1


def test_the_recognisers_features_are_those_at_the_frames_times(synthetic_clips):
    encoder, clip = load_speech_encoder(), synthetic_clips.one(frames=12)
    features = clip_features(clip, encoder)
    assert features.shape == (12, FEATURES)
    expected = features_at(speech_vectors(encoder, clip.waveform), (np.arange(12) + 0.5) / 25)
    np.testing.assert_allclose(features, expected, atol=1e-4)


def test_without_a_recogniser_the_features_are_mfcc_windows(synthetic_clips):
    clip = synthetic_clips.one()
    assert np.array_equal(clip_features(clip, None), clip.mfcc)


def test_a_clip_that_keeps_no_sound_is_refused_where_the_recogniser_needs_it(synthetic_clips, loudness_encoder):
    with pytest.raises(TalkfaceError, match="keeps no sound") as error:
        clip_features(synthetic_clips.one(sound=False), loudness_encoder)
    assert "preprocess" in error.value.fix


def test_the_recogniser_is_given_the_clips_with_sound_alone(dataset, loudness_encoder):
    told = []
    clips = speech_clips([dataset], loudness_encoder, on_step=lambda *step: told.append(step))
    assert [clip.name for clip in clips] == ["s0/a", "s1/a"]
    assert told == [(1, 2), (2, 2)]
    for number, clip in enumerate(clips):
        assert [f.shape for f in clip.features] == [(20 + 5 * number, FEATURES)]
        assert np.array_equal(clip.lips[0], dataset[number].lips)
        expected = clip_features(dataset[number], loudness_encoder)
        np.testing.assert_allclose(clip.features[0].astype(np.float32), expected, rtol=1e-3)


def test_clips_of_format_1_are_refused_where_the_recogniser_needs_sound(old_dataset, loudness_encoder):
    with pytest.raises(TalkfaceError, match="keeps its sound") as error:
        speech_clips([old_dataset], loudness_encoder)
    assert "preprocess" in error.value.fix


def test_distorted_copies_have_the_lips_of_their_own_speed_and_follow_from_the_seed(dataset, loudness_encoder):
    one, other, third = (speech_clips([dataset], loudness_encoder, copies=3, seed=seed) for seed in (0, 0, 1))
    for a, b, c in zip(one, other, third, strict=True):
        assert len(a.features) == len(a.lips) == 4
        assert [len(f) for f in a.features] == [len(lips) for lips in a.lips]
        assert all(np.array_equal(x, y) for x, y in zip(a.features, b.features, strict=True))
        assert not np.array_equal(a.features[1], c.features[1])
    assert len({len(lips) for clip in one for lips in clip.lips}) > 2


def test_mfcc_windows_come_from_clips_with_sound_and_from_clips_of_format_1(dataset, old_dataset):
    clips = mfcc_clips([dataset])
    assert [clip.name for clip in clips] == ["s0/a", "s1/a"]
    assert np.array_equal(clips[1].features[0], dataset[1].mfcc.astype(np.float16))
    assert len(mfcc_clips([old_dataset])) == 3
    with pytest.raises(TalkfaceError, match="No training clip has sound"):
        mfcc_clips([dataset.select([2])])


def known_clips():
    """Two people with 40 and 10 frames; each feature is its frame's number, and 1000 more in the distorted copy."""
    clips = []
    for person, frames in (("a", 40), ("b", 10)):
        number = np.arange(frames, dtype=np.float16)[:, None] * np.ones(3, np.float16)
        lips = 100 + np.arange(frames)[:, None, None] + np.random.default_rng(frames).random((frames, 40, 2))
        lips = lips.astype(np.float32)
        clips.append(SpeechClip(0, person, person, [number, 1000 + number], [lips, lips + 0.25]))
    return clips


def test_a_batch_says_where_real_lips_are_shut():
    clips = known_clips()
    for lips in (lips for clip in clips for lips in clip.lips):
        lips[::2, 24:27, 1] += 3  # px: the middle of the lower lip
    batch = LipBatches(clips, landmark_noise=0.0).batch(0, 16, 12)
    assert torch.equal(batch.shut, (opening(batch.lips) < 0.02).float())
    assert 0 < batch.shut.mean() < 1
    assert torch.equal(batch.shut_counts, batch.counts)
    assert batch.counts.min() == 0  # one of the clips has 10 frames


def test_synthetic_sequences_are_as_many_as_real_ones_and_teach_closures_alone():
    numbers = np.arange(9)
    spoken = SyntheticClip(
        np.float16(5000 + numbers[:, None] * np.ones(3)), np.float32(numbers % 2), np.float32(numbers > 3)
    )
    batch = LipBatches(known_clips(), synthetic=[spoken]).batch(0, 8, 12)
    assert len(batch.lips) == 16
    synthetic = batch.features[:, 0, 0] >= 5000
    assert synthetic.sum() == 8
    assert not torch.equal(synthetic, synthetic.sort().values)  # each process's rows hold some of both
    assert not batch.counts[synthetic].any()
    assert batch.counts[~synthetic].any()
    for shut, counts in zip(batch.shut[synthetic], batch.shut_counts[synthetic], strict=True):
        assert counts.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0]  # the last frame is repeated and does not count
        assert shut[:9].tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert torch.isfinite(batch.lips).all()


def test_the_features_of_synthetic_speech_are_those_of_its_sound_or_its_mfcc(tmp_path, loudness_encoder):
    rng = np.random.default_rng(0)
    steps, labels = rng.normal(size=(100, 13)), np.repeat([9, 0], 50)
    sound = np.repeat([0.01, 0.5], 8000) * np.sin(np.arange(16_000) / 5)
    save_visemes(tmp_path, steps, labels, np.array([100]), sound)
    heard, windows = (synthetic_clips(tmp_path, encoder)[0] for encoder in (loudness_encoder, None))
    assert heard.features.shape == (25, FEATURES)
    assert heard.features[16:].mean() > heard.features[:9].mean() + 0.1
    assert np.array_equal(windows.features, mfcc_windows(np.float32(np.float16(steps)), 25).astype(np.float16))
    for clip in (heard, windows):
        assert clip.shut[12:14].tolist() == [1, 1]
        assert clip.known[:2].tolist() == [0, 1]


def test_a_batch_of_lips_follows_from_seed_and_step():
    one, other = LipBatches(known_clips()), LipBatches(known_clips())
    for step in (3, 0):
        assert all(map(torch.equal, one.batch(step, 4, 6), other.batch(step, 4, 6)))
    assert not torch.equal(one.batch(0, 4, 6).lips, one.batch(1, 4, 6).lips)
    assert not torch.equal(one.batch(0, 4, 6).lips, LipBatches(known_clips(), seed=1).batch(0, 4, 6).lips)


@pytest.mark.parametrize("distorted,mirror", [(0.0, True), (1.0, True), (0.0, False)])
def test_lips_and_features_are_of_the_same_frames_mirrored_or_not(distorted, mirror):
    clips, mirrored = known_clips(), []
    batch = LipBatches(clips, distorted=distorted, landmark_noise=0.0, mirror=mirror).batch(0, 64, 6)
    for features, lips, photo, counts, *_ in zip(*batch, strict=True):
        assert (features[0, 0] >= 1000) == bool(distorted)
        numbers = features[:, 0].int().numpy() % 1000
        assert (counts == 1).all()
        assert (np.diff(numbers) == 1).all()
        copy = int(distorted)
        for clip in clips:
            if len(clip.lips[0]) > numbers[-1] and np.allclose(clip.lips[copy][numbers], lips, atol=1e-4):
                mirrored.append(False)
                assert any(np.allclose(one, photo, atol=1e-4) for one in clip.lips[0])
            elif len(clip.lips[0]) > numbers[-1] and np.allclose(
                mirrored_lips(clip.lips[copy][numbers]), lips, atol=1e-4
            ):
                mirrored.append(True)
                assert any(np.allclose(mirrored_lips(one), photo, atol=1e-4) for one in clip.lips[0])
    assert len(mirrored) == 64
    assert 0.25 < np.mean(mirrored) < 0.75 if mirror else not any(mirrored)


def test_a_clip_that_is_too_short_repeats_its_last_frame_which_does_not_count():
    batch = LipBatches(known_clips()[1:], distorted=0.0).batch(0, 2, 14)
    assert batch.counts.tolist() == [[1.0] * 10 + [0.0] * 4] * 2
    assert torch.equal(batch.features[:, 9:], batch.features[:, 9:10].expand(-1, 5, -1))
    assert torch.equal(batch.lips[:, 9:], batch.lips[:, 9:10].expand(-1, 5, -1, -1))


def test_the_photos_points_are_as_noisy_as_landmarks_are():
    clips = known_clips()
    plain, noisy = (LipBatches(clips, landmark_noise=noise).batch(0, 64, 2) for noise in (0.0, 2.0))
    assert (noisy.photo_lips - plain.photo_lips).std().item() == pytest.approx(2.0, rel=0.1)
    assert torch.equal(noisy.lips, plain.lips)


def test_people_count_by_the_root_of_their_frames():
    """40 frames to 10: twice as often."""
    assert LipBatches(known_clips()).weights == pytest.approx([2 / 3, 1 / 3])


def test_data_sets_count_by_the_root_of_their_frames_however_many_their_people_are():
    """Two people with 50 frames against one with 200 in another data set: 1/3 to 2/3."""
    other = SpeechClip(1, "c", "c", [np.zeros((200, 3), np.float16)], [np.zeros((200, 40, 2), np.float32)])
    assert LipBatches([*known_clips(), other]).weights == pytest.approx([2 / 9, 1 / 9, 2 / 3])
