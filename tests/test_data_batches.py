"""Training batches: the same by seed and step, mirrored faithfully, the same from disk and from memory."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from talkface.data import batches
from talkface.data.batches import MIRRORED_LIPS, ClipBatches, ahead, context_windows, mirrored, mirrored_lips
from talkface.data.reader import open_dataset
from talkface.errors import TalkfaceError

WINDOW, CONTEXT = (80, 128, 96), (-1, 0, 1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, write_dataset, synthetic_clips):
    return open_dataset(write_dataset(tmp_path_factory.mktemp("synthetic"), synthetic_clips.many(3, 9)))


def batches_of(dataset, seed=0, window=WINDOW, **options):
    return ClipBatches([dataset], window, CONTEXT, seed, **options)


def same(a, b):
    names = a._fields if isinstance(a, tuple) else [f.name for f in fields(a)]
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


def test_a_batch_follows_from_seed_and_step(dataset):
    one, other = batches_of(dataset), batches_of(dataset, workers=1)
    for step in (0, 7, 3):  # in whatever order they are asked for
        assert same(one.frames(step, 4, 2), other.frames(step, 4, 2))
        assert same(one.sound(step, 4), other.sound(step, 4))
    assert not same(one.frames(0, 4, 2), one.frames(1, 4, 2))
    assert not same(one.frames(0, 4, 2), batches_of(dataset, seed=1).frames(0, 4, 2))
    assert not same(one.sound(0, 4), batches_of(dataset, seed=1).sound(0, 4))


def test_the_shares_of_two_processes_are_the_joint_batch(dataset):
    made = batches_of(dataset)
    joint, halves = made.frames(5, 4, 2), [made.frames(5, 4, 2, (rank, 2)) for rank in range(2)]
    for f in fields(joint):
        assert torch.equal(torch.cat([getattr(half, f.name) for half in halves]), getattr(joint, f.name))


def test_a_sequence_is_consecutive_frames_of_one_clip_with_their_sound_and_lips(dataset):
    left, top, side = WINDOW
    clips = {clip.name: clip for clip in dataset}
    for step in range(6):
        batch = batches_of(dataset, mirror=False).frames(step, 2, 3)
        for row in range(2):
            clip = next(c for c in clips.values() if np.allclose(c.lips.mean(0), batch.clip_mean_lips[row], atol=1e-4))
            pictures = [f[top : top + side, left : left + side] for f in clip.frames()]
            first = next(i for i, lips in enumerate(clip.lips) if np.array_equal(lips, batch.lips[row, 0]))
            photo = next(i for i, lips in enumerate(clip.lips) if np.array_equal(lips, batch.identity_lips[row]))
            assert np.array_equal(batch.identity_frame[row].permute(1, 2, 0), pictures[photo])
            assert np.array_equal(batch.previous_frame[row].permute(1, 2, 0), pictures[max(first - 1, 0)])
            for k in range(3):
                assert np.array_equal(batch.frames[row, k].permute(1, 2, 0), pictures[first + k])
                assert np.array_equal(batch.lips[row, k], clip.lips[first + k])
                near = np.clip(np.arange(first + k - 1, first + k + 2), 0, len(clip) - 1)
                assert np.array_equal(batch.windows[row, k], clip.mfcc[near])


def test_a_clip_shorter_than_the_rollout_holds_its_last_frame(tmp_path, write_dataset, synthetic_clips):
    batch = batches_of(open_dataset(write_dataset(tmp_path, [synthetic_clips.one(frames=2)]))).frames(0, 2, 4)
    assert torch.equal(batch.frames[:, 1], batch.frames[:, 3])
    assert torch.equal(batch.windows[:, 1], batch.windows[:, 3])


@pytest.mark.parametrize("mirror", [True, False])
def test_the_sound_lesson_gets_lips_and_their_clips_mean(dataset, mirror):
    batch = batches_of(dataset, mirror=mirror).sound(2, 64)
    known = {}
    for clip in dataset:
        windows = context_windows(clip.mfcc, np.arange(len(clip)), CONTEXT)
        known |= {w.tobytes(): np.stack([lips, clip.lips.mean(0)]) for w, lips in zip(windows, clip.lips, strict=True)}
    flipped = 0
    for windows, *lips in zip(*batch, strict=True):
        true, given = known[windows.numpy().tobytes()], np.stack(lips)
        if not np.allclose(true, given, atol=1e-4):
            assert np.allclose(mirrored_lips(true), given, atol=1e-4)
            flipped += 1
    assert 16 <= flipped <= 48 if mirror else flipped == 0


def test_of_very_many_clips_the_sound_of_some_is_kept(dataset, monkeypatch):
    monkeypatch.setattr(batches, "MAX_AUDIO_CLIPS", 2)
    made = batches_of(dataset)
    made.sound(0, 4)
    assert len(made.speech.clips) == 2
    assert made.speech.mfcc.shape == (18, 20, 13)
    made.frames(0, 4, 2)  # these still come from all


@pytest.mark.parametrize("mirror", [True, False])
def test_batches_from_memory_are_those_from_disk(dataset, mirror):
    disk, memory = (batches_of(dataset, mirror=mirror) for _ in range(2))
    memory.keep_in_memory(torch.device("cpu"))
    assert memory.pictures.nbytes == memory.memory_needed() == 27 * 3 * 96 * 96
    for step in range(4):
        assert same(disk.frames(step, 4, 3), memory.frames(step, 4, 3))
        assert same(disk.sound(step, 8), memory.sound(step, 8))


def test_mirrored_twice_is_the_sequence_itself(dataset):
    batch = batches_of(dataset, mirror=False).frames(0, 2, 2)
    row = tuple(getattr(batch, f.name)[0].numpy() for f in fields(batch))
    twice = mirrored(mirrored(row))
    for before, after in zip(row, twice, strict=True):
        assert before.dtype == after.dtype
        assert np.allclose(before, after, atol=1e-4)


def test_a_mirrored_mouth_has_its_points_where_the_mirrored_picture_shows_them(synthetic_clips):
    """An asymmetric mouth: the left half of the mirrored lips is the right half of the lips."""
    lips = synthetic_clips.lip_points(6.0) + np.array([7.0, 0.0], np.float32)  # off the middle
    swapped = mirrored_lips(lips)
    face = synthetic_clips.draw(np.full((256, 256, 3), 200, np.uint8), 6.0)
    assert np.abs(face.astype(int) - face[:, ::-1]).mean() < 0.5  # symmetric about x = 128, the picture about 127.5
    assert np.allclose(swapped, synthetic_clips.lip_points(6.0) - np.array([8.0, 0.0], np.float32), atol=1e-3)


def test_mirroring_swaps_the_meshs_left_and_right_points():
    """Each point of either ring goes to its partner on the other side, as MediaPipe's rings run."""
    from talkface.face.landmarks import LIPS

    corners = {61: 291, 78: 308}
    tops = {0: 0, 17: 17, 13: 13, 14: 14}
    index = {point: i for i, point in enumerate(LIPS)}
    for point, partner in (corners | tops).items():
        assert MIRRORED_LIPS[index[point]] == index[partner]


def test_a_window_off_the_middle_is_never_mirrored(dataset):
    assert batches_of(dataset).mirror
    assert not batches_of(dataset, window=(64, 128, 96)).mirror


def test_half_of_the_sequences_are_mirrored(dataset):
    made = batches_of(dataset)
    made.keep_in_memory(torch.device("cpu"))
    middles = torch.cat([made.frames(step, 8, 1).clip_mean_lips[:, :, 0].mean(1) for step in range(100)])
    mirrored = middles < 127.5  # px; the drawn mouths are around 128 px, their mirror images around 127 px
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.06)


def test_speakers_count_by_the_root_of_their_clips(tmp_path, write_dataset, synthetic_clips):
    clips = [synthetic_clips.one(f"a/{i}", "a", i, 3) for i in range(4)] + [synthetic_clips.one("b/0", "b", 9, 3)]
    made = batches_of(open_dataset(write_dataset(tmp_path, clips)))
    by_speaker = made.weight[:4].sum() / made.weight[4]
    assert by_speaker == pytest.approx(2.0)  # root of 4 to root of 1


def test_several_data_sets_are_drawn_from_together(dataset, tmp_path, write_dataset, synthetic_clips):
    other = open_dataset(write_dataset(tmp_path, [synthetic_clips.one("z/0", "z", 5, 9)]))
    made = ClipBatches([dataset, other], WINDOW, CONTEXT, mirror=False)
    made.keep_in_memory(torch.device("cpu"))
    means = {clip.name: torch.tensor(clip.lips.mean(0)) for clips in (dataset, other) for clip in clips}
    drawn = torch.cat([made.frames(step, 4, 1).clip_mean_lips for step in range(30)])
    names = {name for lips in drawn for name, mean in means.items() if torch.allclose(lips, mean, atol=1e-4)}
    assert names == set(means) == {"s0/train", "s1/train", "s2/train", "z/0"}


def test_no_clip_at_all_is_told(dataset):
    with pytest.raises(TalkfaceError, match="no clips"):
        batches_of(dataset.select([]))


def test_batches_prepared_ahead_come_in_order_and_stop_where_they_should():
    asked = []
    made = ahead(lambda step: asked.append(step) or step, 3, 9)
    assert next(made) == 3
    assert max(asked) <= 6  # not all at once
    assert list(made) == [4, 5, 6, 7, 8]
    assert list(ahead(lambda step: step, 4, 4)) == []


def test_what_goes_wrong_while_preparing_is_told_to_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda step: 1 // step, -1, 2))
