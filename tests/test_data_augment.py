"""Distortions: other cameras and microphones, the same for all processes that share a batch."""

from dataclasses import fields

import pytest
import torch

from talkface.data.augment import GRAY, as_float, distort_sound, recolour
from talkface.data.batches import FrameBatch


def a_batch(count=6):
    random = torch.Generator().manual_seed(0)
    picture = lambda *shape: torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)  # noqa: E731
    points = torch.rand(count, 40, 2, generator=random)
    return FrameBatch(
        picture(count, 3, 8, 8),
        picture(count, 3, 8, 8),
        picture(count, 2, 3, 8, 8),
        torch.rand(count, 2, 3, 20, 13, generator=random),
        points,
        points[:, None].expand(-1, 2, -1, -1),
        points,
    )


def test_pictures_become_floats_from_zero_to_one():
    batch, raw = as_float(a_batch()), a_batch()
    assert batch.frames.dtype == torch.float32
    assert torch.equal((batch.frames * 255).round().byte(), raw.frames)


def test_one_camera_films_photo_and_frames_of_a_sequence():
    """The same affine map of colours for all of a sequence's pictures; another for the next sequence."""
    batch = as_float(a_batch())
    batch.identity_frame = batch.frames[:, 0].clone()  # if photo and frame are the same before, they are so after
    batch.previous_frame = batch.identity_frame.clone()
    torch.manual_seed(0)
    seen = recolour(batch)
    assert torch.equal(seen.identity_frame, seen.previous_frame)
    assert torch.equal(seen.identity_frame, seen.frames[:, 0])
    assert seen.identity_frame.min() >= 0
    assert seen.identity_frame.max() <= 1
    plain = as_float(a_batch())
    plain.identity_frame = plain.identity_frame[:1].expand(6, -1, -1, -1).clone()
    assert len({tuple(row.flatten().tolist()) for row in recolour(plain).identity_frame}) == 6


def test_some_cameras_are_black_and_white():
    torch.manual_seed(0)
    greys = 0
    for _ in range(40):
        batch = as_float(a_batch())
        before = batch.identity_frame.clone()
        seen = recolour(batch).identity_frame
        for old, new in zip(before, seen, strict=True):
            if torch.allclose(new[0], new[1], atol=1e-5) and torch.allclose(new[1], new[2], atol=1e-5):
                greys += 1
                light = torch.einsum("c,chw->hw", torch.tensor(GRAY), old)
                order = light.flatten().argsort()
                assert (new[0].flatten()[order].diff() > -1e-5).all()  # brighter stays brighter
    assert greys / 240 == pytest.approx(0.1, abs=0.06)


def test_sound_and_lips_are_not_recoloured():
    batch, raw = recolour(as_float(a_batch())), a_batch()
    for name in ("windows", "identity_lips", "lips", "clip_mean_lips"):
        assert torch.equal(getattr(batch, name), getattr(raw, name))


@pytest.mark.parametrize("shape", [(64, 3, 20, 13), (64, 2, 3, 20, 13)])
def test_sound_is_distorted_by_as_much_as_is_said(shape):
    torch.manual_seed(0)
    windows = torch.randn(shape)
    heard = distort_sound(windows)
    assert heard.shape == windows.shape
    gaps = (heard == 0).all(-1)
    assert gaps.float().mean().item() == pytest.approx(0.03, abs=0.006)
    moved = (heard - windows)[~gaps]
    assert 0.05 < moved.std() < 0.2
    assert moved[:, 12].std() < moved[:, 0].std()  # the tilt is smooth: mostly in the low coefficients


@pytest.mark.parametrize("world", [2, 3])
def test_the_shares_of_several_processes_are_distorted_as_the_joint_batch(world):
    raw = a_batch()
    torch.manual_seed(4)
    joint = recolour(as_float(a_batch()))
    heard = distort_sound(raw.windows)
    size = 6 // world
    for rank in range(world):
        rows = slice(rank * size, (rank + 1) * size)
        share = as_float(FrameBatch(*(getattr(raw, f.name)[rows] for f in fields(raw))))
        torch.manual_seed(4)
        seen = recolour(share, (rank, world))
        mine = distort_sound(raw.windows[rows], (rank, world))
        assert torch.allclose(seen.identity_frame, joint.identity_frame[rows], atol=1e-6)
        assert torch.allclose(seen.frames, joint.frames[rows], atol=1e-6)
        assert torch.equal(mine, heard[rows])
