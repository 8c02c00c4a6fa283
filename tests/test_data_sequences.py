"""Batches for the paper's objective: several moments of each clip with their sound."""

import numpy as np
import pytest
import torch

from talkface.config import FPS, SIZE
from talkface.data.lip_points import mirrored_lips
from talkface.data.reader import ClipDataset, open_dataset
from talkface.data.sequences import GAP, SequenceBatches, starts
from talkface.errors import TalkfaceError
from talkface.model.amie import APART
from talkface.model.audio import REACH
from talkface.model.generator import HEIGHT, WIDTH

FRAMES, TAG = 40, 0.02  # px


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, write_dataset, synthetic_clips):
    """Clips in which the outer corners of each frame's lips are a little further apart than those of the last one."""
    clips = synthetic_clips.many(3, FRAMES)
    for number, clip in enumerate(clips):
        tags = TAG * (FRAMES * number + np.arange(FRAMES))
        clip.lips[:, 0, 0] -= tags
        clip.lips[:, 10, 0] += tags
    return open_dataset(write_dataset(tmp_path_factory.mktemp("clips"), clips))


def same(a, b):
    return all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


def gaps(lips):
    """Height of the mouth at its middle, px."""
    return lips[..., 25, 1] - lips[..., 35, 1]


def place_of(lips):
    """Clip and number of the frame with these lips, mirrored or not, by the distance of their outer corners."""
    extra = (lips[10, 0] - lips[0, 0]) - (lips[30, 0] - lips[20, 0])
    return divmod(round(float(extra) / 2 / TAG), FRAMES)


def without_sound_entry(dataset):
    """The data set as a talkface wrote it that kept no sound."""
    return ClipDataset(dataset.root, [{k: v for k, v in line.items() if k != "sound"} for line in dataset._lines])


@pytest.mark.parametrize("length,moments,rollout", [(40, 2, 1), (40, 4, 1), (100, 4, 3), (25, 2, 2), (2 * GAP, 2, 1)])
def test_moments_of_a_clip_are_at_least_three_tenths_of_a_second_apart(length, moments, rollout):
    first = []
    for seed in range(50):
        found = starts(length, moments, rollout, np.random.default_rng(seed))
        assert len(found) == moments
        assert min(found) >= 0
        assert max(found) + rollout <= length
        assert np.diff(sorted(found)).min() >= GAP >= APART * FPS
        first.append(found[0])
    assert len(set(first)) > 1  # the order is drawn, too


def test_moments_of_a_clip_that_is_too_short_are_as_far_apart_as_they_can_be():
    assert starts(6, 2, 1, np.random.default_rng(0)) == [0, 5]
    assert starts(2, 3, 4, np.random.default_rng(0)) == [0, 0, 0]


def test_a_batch_follows_from_seed_and_step(dataset):
    one, other = SequenceBatches([dataset]), SequenceBatches([dataset])
    for step in (0, 7, 3):
        assert same(one.batch(step, 2, 2, 2), other.batch(step, 2, 2, 2))
    assert not same(one.batch(0, 2, 2, 2), one.batch(1, 2, 2, 2))
    assert not same(one.batch(0, 2, 2, 2), SequenceBatches([dataset], seed=1).batch(0, 2, 2, 2))


@pytest.mark.parametrize("whole,height,width", [(False, HEIGHT, WIDTH), (True, SIZE, SIZE)])
def test_a_batch_has_a_row_for_each_moment(dataset, whole, height, width):
    batch = SequenceBatches([dataset], whole=whole).batch(0, 2, 3, 2)
    sound = (2 * REACH + 2, 20, 13)
    shapes = [(3, height, width), (2, 3, height, width), (40, 2), (2, 40, 2), (2,), (2, 2), (2,), sound]
    assert [tuple(part.shape) for part in batch] == [(6, *shape) for shape in shapes]
    assert all(part.dtype == torch.float32 for part in batch)
    assert (batch.corner == 0).all() == whole


def test_pictures_points_and_sound_of_a_row_belong_together(dataset):
    batches, clips = SequenceBatches([dataset], augment=False), list(dataset)
    for step in range(5):
        batch = batches.batch(step, 2, 2, 3)
        for row in range(4):
            clip, first = place_of(batch.lips[row, 0])
            assert place_of(batch.photo_lips[row])[0] == clip
            own, (x, y) = clips[clip], batch.corner[row].int().tolist()
            for k in range(3):
                crop = own.frame(first + k)[y : y + HEIGHT, x : x + WIDTH].transpose(2, 0, 1)
                assert np.array_equal((batch.frames[row, k] * 255).round().byte(), crop)
                assert np.array_equal(batch.lips[row, k], own.lips[first + k])
                assert np.array_equal(batch.own_windows[row, k], own.mfcc[first + k])
            around = np.arange(first - REACH, first + 3 + REACH).clip(0, len(own) - 1)
            assert np.array_equal(batch.windows[row], own.mfcc[around])


@pytest.mark.parametrize("augment", [True, False])
def test_neighbouring_rows_are_moments_of_one_clip(dataset, augment):
    batch = SequenceBatches([dataset], augment=augment).batch(0, 4, 3, 2)
    places = np.array([place_of(lips[0]) for lips in batch.lips]).reshape(4, 3, 2)
    assert (places[..., 0] == places[:, :1, 0]).all()
    assert np.diff(np.sort(places[..., 1]), axis=1).min() >= GAP


def test_mirrored_points_fit_mirrored_pictures(tmp_path, write_dataset, synthetic_clips):
    """A mouth to the right of the middle is dark in the picture where its points are, mirrored or not."""
    drawn = type(synthetic_clips)()
    drawn.mouth = (143.0, 180.0)
    clips = drawn.many(2, 24)
    batches = SequenceBatches([open_dataset(write_dataset(tmp_path, clips))])
    known, mirrored = [lips for clip in clips for lips in clip.lips], []
    for step in range(12):
        batch = batches.batch(step, 2, 2, 1)
        for row in range(4):
            lips = batch.lips[row, 0].numpy()
            mirrored.append(lips[:, 0].mean() < 128)
            assert any(np.allclose(mirrored_lips(k) if mirrored[-1] else k, lips, atol=1e-3) for k in known)
            assert batch.noses[row, 0, 0].item() == pytest.approx(127 if mirrored[-1] else 128, abs=0.1)
            if gaps(lips) > 6:
                x, y = (lips[[25, 35]].mean(0) - batch.corner[row].numpy()).round().astype(int)
                picture = batch.frames[row, 0].mean(0)
                assert picture[y, x] < 0.5 * picture.median()
    assert 0.25 < np.mean(mirrored) < 0.75


def test_all_moments_of_a_clip_are_filmed_by_one_camera(dataset):
    """The drawn background does not change within a clip: its colours are equal in all pictures of a clip."""
    batch = SequenceBatches([dataset]).batch(2, 3, 2, 2)
    corners = batch.corner.reshape(3, 2, 2)
    assert torch.equal(corners[:, 0], corners[:, 1])  # drawn mouths do not move
    edge = batch.frames[..., 0, :].reshape(3, 4, 3, WIDTH)  # the top row of each picture
    assert (edge - edge[:, :1]).abs().max() < 0.05
    assert (edge[0] - edge[1]).abs().max() > 0.05


def test_sound_is_distorted_unless_it_is_told_not_to(dataset):
    plain, distorted = (SequenceBatches([dataset], augment=a).batch(0, 1, 2, 1) for a in (False, True))
    clip, first = place_of(plain.lips[0, 0])
    assert np.array_equal(plain.own_windows[0, 0], dataset[clip].mfcc[first])
    clip, first = place_of(distorted.lips[0, 0])
    assert not np.allclose(distorted.own_windows[0, 0], dataset[clip].mfcc[first], atol=1e-3)


def test_a_clip_shorter_than_the_rollout_holds_its_last_frame(tmp_path, write_dataset, synthetic_clips):
    data = open_dataset(write_dataset(tmp_path, [synthetic_clips.one(frames=2)]))
    batch = SequenceBatches([data], augment=False).batch(0, 1, 2, 4)
    assert torch.equal(batch.frames[:, 1], batch.frames[:, 3])
    assert torch.equal(batch.lips[:, 1], batch.lips[:, 3])


def test_clips_without_sound_are_left_out_and_clips_of_format_1_are_not(
    dataset, tmp_path, write_dataset, synthetic_clips
):
    silent = open_dataset(write_dataset(tmp_path, [synthetic_clips.one("z/0", "z", sound=False)]))
    assert SequenceBatches([dataset, silent]).clips == [(0, 0), (0, 1), (0, 2)]
    with pytest.raises(TalkfaceError, match="No training clip has sound"):
        SequenceBatches([silent])
    SequenceBatches([without_sound_entry(dataset)]).batch(0, 1, 2, 1)


def test_people_count_by_the_root_of_their_clips(tmp_path, write_dataset, synthetic_clips):
    clips = [synthetic_clips.one(f"a/{i}", "a", i, 3) for i in range(4)] + [synthetic_clips.one("b/0", "b", 9, 3)]
    weights = SequenceBatches([open_dataset(write_dataset(tmp_path, clips))]).weights
    assert weights[:4].sum() / weights[4] == pytest.approx(2.0)  # root of 4 to root of 1
    assert weights.sum() == pytest.approx(1)
