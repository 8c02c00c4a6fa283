"""Batches for the mouth generator: the same by seed and step, crops and points that fit, who and what is drawn."""

import numpy as np
import pytest
import torch

from talkface.config import SIZE
from talkface.data.clip import encode_frame
from talkface.data.mouths import (
    APART,
    JITTER,
    MEASURED,
    OPEN,
    MouthBatches,
    face_crop_corner,
    recoloured,
    relit,
    softened,
)
from talkface.data.reader import ClipDataset, open_dataset
from talkface.errors import TalkfaceError
from talkface.face.mouth_colours import inner_mask
from talkface.model.frames import BELOW_CORNERS, HEIGHT, WIDTH

ASIDE = 15.0  # px by which the mouths of `lopsided` are to the right of the nose


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, write_dataset, synthetic_clips):
    return open_dataset(write_dataset(tmp_path_factory.mktemp("clips"), synthetic_clips.many(3, 24)))


@pytest.fixture(scope="module")
def lopsided(tmp_path_factory, write_dataset, synthetic_clips):
    """Clips whose mouths are to the right of the nose, so that a mirrored one is known by its place."""
    drawn = type(synthetic_clips)()
    drawn.mouth = (128 + ASIDE, 180.0)
    return open_dataset(write_dataset(tmp_path_factory.mktemp("lopsided"), drawn.many(2, 24)))


def same(a, b):
    return all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


def gaps(lips):
    """Height of the mouth at its middle, px."""
    return lips[..., 25, 1] - lips[..., 35, 1]


def numbers_of(dataset, lips):
    """Clip and number of the frame with lips of this shape: their gaps are all different."""
    found = []
    for i, clip in enumerate(dataset):
        close = np.abs(gaps(clip.lips) - float(gaps(lips))) < 1e-3
        found += [(i, number) for number in np.flatnonzero(close)]
    assert len(found) == 1
    return found[0]


def test_a_batch_follows_from_seed_and_step(dataset):
    one, other = (MouthBatches([dataset], workers=workers) for workers in (1, 3))
    for step in (0, 7, 3):  # in whatever order they are asked for
        assert same(one.batch(step, 3, 2), other.batch(step, 3, 2))
    assert not same(one.batch(0, 3, 2), one.batch(1, 3, 2))
    assert not same(one.batch(0, 3, 2), MouthBatches([dataset], seed=1).batch(0, 3, 2))


def test_a_batch_has_crops_and_points_of_photo_and_frames(dataset):
    batch = MouthBatches([dataset]).batch(0, 3, 2)
    shapes = [(3, HEIGHT, WIDTH), (2, 3, HEIGHT, WIDTH), (40, 2), (2, 40, 2), (2,), (2, 2)]
    assert [tuple(part.shape[1:]) for part in batch] == shapes
    for part in batch:
        assert part.dtype == torch.float32
        assert len(part) == 3
    for picture in (batch.photo, batch.frames):
        assert picture.min() >= 0
        assert picture.max() <= 1
    assert torch.equal(batch.head_shifts, batch.noses - batch.photo_nose[:, None])


def test_a_sequence_ends_on_a_frame_with_an_open_mouth_and_the_photo_is_another_moment_of_its_clip(dataset):
    """Without distortions every picture is a crop of a frame of the clip."""
    batches, clips = MouthBatches([dataset], augment=False), list(dataset)
    for step in range(6):
        batch = batches.batch(step, 2, 3)
        for row in range(2):
            clip, last = numbers_of(dataset, batch.lips[row, -1])
            assert gaps(clips[clip].lips[last]) > OPEN
            clip_of_photo, photo = numbers_of(dataset, batch.photo_lips[row])
            assert clip_of_photo == clip
            assert abs(photo - last) >= APART
            x, y = face_crop_corner(clips[clip].lips[last])
            for k, number in enumerate(range(last - 2, last + 1)):
                number = max(number, 0)
                crop = clips[clip].frame(number)[y : y + HEIGHT, x : x + WIDTH].transpose(2, 0, 1)
                assert np.array_equal((batch.frames[row, k] * 255).round().byte(), crop)
                assert np.allclose(batch.lips[row, k] + torch.tensor([x, y]), clips[clip].lips[number], atol=1e-3)
            crop = clips[clip].frame(photo)[y : y + HEIGHT, x : x + WIDTH].transpose(2, 0, 1)
            assert np.array_equal((batch.photo[row] * 255).round().byte(), crop)


def test_points_fit_the_pictures_mirrored_turned_and_scaled_as_they_are(lopsided):
    """The drawn mouth is dark: where a picture is dark, there its inner lip points are."""
    batches, mirrored = MouthBatches([lopsided]), []
    for step in range(12):
        batch = batches.batch(step, 4, 1)
        pictures = torch.cat([batch.photo, batch.frames[:, 0]]).permute(0, 2, 3, 1).numpy()
        for picture, lips in zip(pictures, torch.cat([batch.photo_lips, batch.lips[:, 0]]).numpy(), strict=True):
            if gaps(lips) < 6 or lips[20:, 0].min() < 2 or lips[20:, 0].max() > WIDTH - 3:
                continue
            inside = inner_mask(lips, picture.shape)
            luma = picture.mean(-1)
            dark = luma < 0.5 * np.median(luma[inner_mask(np.roll(lips, 20, 0), picture.shape) & ~inside])
            assert (dark & inside).sum() / (dark | inside).sum() > 0.75
        mirrored += (batch.lips[:, 0, :, 0].mean(1) < batch.noses[:, 0, 0]).tolist()
    assert 0.25 < np.mean(mirrored) < 0.75


def test_mirrored_lips_keep_their_order(lopsided):
    """The first point of each ring is its left corner in the picture, the lower lip comes before the upper one."""
    batch = MouthBatches([lopsided]).batch(1, 16, 1)
    for ring in (batch.lips[:, 0, :20], batch.lips[:, 0, 20:]):
        assert (ring[:, :, 0].argmin(1) == 0).all()
        assert (ring[:, :, 0].argmax(1) == 10).all()
        assert (ring[:, 5, 1] > ring[:, 15, 1]).all()


def test_the_crop_is_displaced_by_a_few_pixels_at_most(dataset):
    batch = MouthBatches([dataset]).batch(0, 32, 1)
    centre = batch.lips[:, 0, [20, 30]].mean(1) + torch.tensor([0.0, BELOW_CORNERS])
    offset = (centre - torch.tensor([WIDTH / 2, HEIGHT / 2])).abs()
    assert 2 < offset.max() <= JITTER + 1.5


def test_clips_without_sound_and_of_format_1_are_used(tmp_path, write_dataset, synthetic_clips):
    silent = open_dataset(write_dataset(tmp_path / "silent", [synthetic_clips.one(sound=False)]))
    assert silent.has_sound == [False]
    MouthBatches([silent]).batch(0, 2, 1)
    old = ClipDataset(silent.root, [{k: v for k, v in line.items() if k != "sound"} for line in silent._lines])
    MouthBatches([old]).batch(0, 2, 1)


def test_clips_without_an_open_mouth_are_refused(tmp_path, write_dataset, synthetic_clips):
    clip = synthetic_clips.one()
    clip.lips[:] = synthetic_clips.lip_points(0.0)
    with pytest.raises(TalkfaceError, match="open mouth"):
        MouthBatches([open_dataset(write_dataset(tmp_path, [clip]))])


def test_the_darkness_of_open_mouths_is_measured_once_and_can_be_given_again(dataset):
    batches = MouthBatches([dataset])
    opened = np.concatenate([gaps(clip.lips) for clip in dataset]) > 1.2 * MEASURED
    assert batches.darkness[opened].min() > 0.8  # drawn mouths are dark all over
    assert batches.darkness[np.concatenate([gaps(clip.lips) for clip in dataset]) < MEASURED].max() == 0
    given = MouthBatches([dataset], darkness=batches.darkness)
    assert same(given.batch(3, 2, 2), batches.batch(3, 2, 2))


def test_dark_and_wide_mouths_are_drawn_more_often(dataset):
    frames = sum(dataset.lengths)
    everywhere = np.ones(frames, np.float32)
    everywhere[: dataset.lengths[0]] = 0
    batches = MouthBatches([dataset], augment=False, darkness=everywhere)
    widths = {}
    for (clip, weight), _ in zip([pair for person in batches.people for pair in person], range(3), strict=True):
        opened = weight > 0
        assert np.array_equal(opened, clip.gap > OPEN)
        widths[clip.number] = weight[opened] / np.minimum(clip.gap[opened], 16)
    assert np.allclose(widths[0], 1)
    assert np.allclose(widths[1], 6)
    assert batches.weights[0] < batches.weights[1]


def test_a_good_share_of_the_photos_has_a_closed_mouth(tmp_path, write_dataset, synthetic_clips):
    """Two in five by choice, and some by chance."""
    clips = [synthetic_clips.one(seed=3, frames=60)]
    batches = MouthBatches([open_dataset(write_dataset(tmp_path, clips))], augment=False)
    closed = [gaps(batches.batch(step, 4, 1).photo_lips) < OPEN for step in range(25)]
    by_chance = (gaps(clips[0].lips) < OPEN).mean()
    assert torch.cat(closed).float().mean().item() == pytest.approx(0.4 + 0.6 * by_chance, abs=0.15)


def test_people_of_the_same_name_in_two_data_sets_are_two_people(dataset, lopsided):
    assert len(MouthBatches([dataset, lopsided]).people) == 5


def test_one_camera_films_a_whole_sequence():
    picture = np.random.default_rng(0).random((HEIGHT, WIDTH, 3)).astype(np.float32)
    pictures = np.stack([picture, picture])
    for change in (recoloured, softened, relit):
        for seed in range(8):
            seen = change(pictures, np.random.default_rng(seed))
            assert np.array_equal(seen[0], seen[1])
            assert seen.shape == pictures.shape
            assert seen.min() >= 0
            assert seen.max() <= 1


def test_another_light_is_brighter_and_warmer_or_colder():
    grey = np.full((1, 8, 8, 3), 0.5, np.float32)
    seen = np.array([relit(grey, np.random.default_rng(seed))[0, 0, 0] for seed in range(200)])
    assert np.array_equal(seen[:, 0], seen[:, 1])
    assert (seen[:, 0] >= 0.5).all()
    assert seen[:, 0].max() == pytest.approx(0.8, abs=0.02)
    blue = seen[:, 2] / seen[:, 0]
    assert (blue.min(), blue.max()) == pytest.approx((0.55, 1.15), abs=0.03)
    assert relit(np.ones((1, 8, 8, 3), np.float32), np.random.default_rng(0)).max() == 1


def test_the_share_of_sequences_in_another_light(dataset):
    plain, relit_all = (MouthBatches([dataset], relit=share) for share in (0.0, 1.0))
    a, b = (batches.batch(0, 24, 1) for batches in (plain, relit_all))
    brighter = b.frames.mean((1, 2, 3, 4)) / a.frames.mean((1, 2, 3, 4))
    assert torch.equal(a.lips, b.lips)
    assert (brighter != 1).all()
    half = MouthBatches([dataset], relit=0.5).batch(0, 200, 1)
    same = [torch.equal(x, y) for x, y in zip(half.frames, plain.batch(0, 200, 1).frames, strict=True)]
    assert np.mean(same) == pytest.approx(0.5, abs=0.1)


def test_a_quarter_of_the_sequences_is_softened():
    picture = np.random.default_rng(0).random((1, HEIGHT, WIDTH, 3)).astype(np.float32)
    softer = [softened(picture, np.random.default_rng(seed)).std() < 0.95 * picture.std() for seed in range(200)]
    assert np.mean(softer) == pytest.approx(0.25, abs=0.08)


@pytest.fixture(scope="module")
def portraits(tmp_path_factory, write_dataset, synthetic_clips):
    """Three clips of one frame with an open mouth, each of another person."""
    drawn = type(synthetic_clips)()
    clips = [drawn.one(f"photo{n}", "", seed=n, frames=1, sound=False) for n in range(3)]
    for clip in clips:
        clip.lips = drawn.lip_points(8.0)[None]
        clip.encoded = [encode_frame(drawn.draw(np.full((SIZE, SIZE, 3), (200, 160, 140), np.uint8), 8.0))]
    return open_dataset(write_dataset(tmp_path_factory.mktemp("portraits"), clips))


def test_the_photo_of_a_portrait_is_the_portrait_with_its_mouth_shut(dataset, portraits):
    batches = MouthBatches([dataset, portraits], augment=False)
    batch = batches.batch(0, 24, 2)
    wanted = float(gaps(torch.from_numpy(portraits.arrays(0)["lips"]))[0])
    still = (gaps(batch.lips) - wanted).abs().amax(1) < 1e-3
    assert still.any()
    assert not still.all()
    chosen = [tensor[still] for tensor in batch]
    photo, frames, photo_lips, lips = chosen[:4]
    assert gaps(photo_lips).abs().max() < 1.0
    assert torch.equal(lips[:, 0], lips[:, 1])
    assert torch.equal(frames[:, 0], frames[:, 1])
    shut, opened = (int((picture.mean(0) < 0.15).sum()) for picture in (photo[0], frames[0, 0]))
    assert opened > 300  # px of the dark between the lips
    assert shut < 0.2 * opened


def test_of_several_data_sets_one_with_few_people_is_drawn_more_than_its_share(dataset, portraits):
    batches = MouthBatches([dataset, portraits])
    owners = np.array([clips[0][0].dataset for clips in batches.people])
    alone = [MouthBatches([one]) for one in (dataset, portraits)]
    raw = [sum(one._people()[1]) for one in alone]
    shares = [batches.weights[owners == number].sum() for number in (0, 1)]
    assert shares[0] / shares[1] == pytest.approx((raw[0] / raw[1]) ** 0.5, rel=1e-6)
    assert sum(shares) == pytest.approx(1)
