"""Drawn faces whose mouth opens with the sound: clips for training that need no recording and no detector."""

import json

import cv2
import numpy as np

from talkface.config import MFCC_COEFFS
from talkface.data.clip import Clip, encode_frame
from talkface.data.shards import DATASET, FORMAT, INDEX, ShardWriter, read_lines, shard_indexes, write_lines

MOUTH = (128.0, 180.0)  # px of the aligned face
HALF_WIDTH = 24.0  # px
WIDEST = 12.0  # px, half the height of the widest gap
LIP = 6.0  # px, thickness of a lip
STEPS = 4  # of sound for each frame


def lip_points(gap):
    """float32 (40, 2): outer and inner ring, 20 points each, from the left corner over the upper lip."""
    turn = 2 * np.pi * np.arange(20) / 20
    x, y = MOUTH[0] - HALF_WIDTH * np.cos(turn), -np.sin(turn)
    rings = [np.stack([x, MOUTH[1] + y * (gap + LIP)], -1), np.stack([x, MOUTH[1] + y * gap], -1)]
    return np.concatenate(rings).astype(np.float32)


def drawn(background, gap):
    """uint8 RGB (256, 256, 3): red lips around a dark mouth, `gap` px from its middle to either lip."""
    picture = background.copy()
    for points, colour in zip(lip_points(gap).reshape(2, 20, 2), ((170, 60, 70), (30, 10, 15)), strict=True):
        shifted = np.round(points * 16 - 8).astype(np.int32)  # sixteenths of a px, pixel centres at integers
        cv2.fillPoly(picture, [shifted[None]], colour, cv2.LINE_AA, 4)
    return picture


def gap_of(picture):
    """Half the height of the dark mouth in px, read off the picture's middle columns."""
    columns = picture[140:232, 124:132].astype(float).mean((1, 2))
    return float((columns < 60).sum()) / 2


def puppet(name="s1/a", speaker="s1", seed=0, frames=20, split="train"):
    """A clip of a drawn face; its sound is loud where the mouth is open."""
    rng = np.random.default_rng(seed)
    turns = np.cumsum(rng.uniform(0.2, 0.9, frames))
    gaps = WIDEST * (0.5 + 0.5 * np.sin(turns)) ** 1.5
    tone = rng.uniform(140, 215, 3)
    shade = np.linspace(-25, 15, 256)[:, None, None] + np.linspace(-15, 15, 256)[None, :, None]
    background = (tone + shade).clip(0, 255).astype(np.uint8)
    loud = np.interp(np.arange(STEPS * frames) / STEPS, np.arange(frames) + 0.5, gaps / WIDEST)
    pattern = np.random.default_rng(99).normal(size=MFCC_COEFFS)
    sound = loud[:, None] * pattern + 0.02 * rng.normal(size=(STEPS * frames, MFCC_COEFFS))
    return Clip(
        name=name,
        dataset="puppets",
        split=split,
        speaker=speaker,
        source=f"{name}.mp4",
        lips=np.stack([lip_points(gap) for gap in gaps]),
        points68=np.zeros((frames, 68, 2), np.float32),
        eyes=np.tile(np.float32([(93, 105), (163, 105)]), (frames, 1, 1)),
        transforms=np.tile(np.eye(2, 3), (frames, 1, 1)),
        mfcc_steps=sound.astype(np.float32),
        encoded=[encode_frame(drawn(background, gap)) for gap in gaps],
    )


def puppets(count=4, frames=20, split="train"):
    return [
        puppet(f"s{i}/{split}", f"s{i}", seed=10 * i + len(split), frames=frames, split=split) for i in range(count)
    ]


def write_dataset(root, clips):
    """A data set as `talkface preprocess` leaves it; its folder."""
    for split in dict.fromkeys(clip.split for clip in clips):
        with ShardWriter(root, f"{split}-00000") as writer:
            for clip in clips:
                if clip.split == split:
                    writer.add(clip, status="kept")
    lines = [line for part in shard_indexes(root) for line in read_lines(part)]
    write_lines(root / INDEX, lines)
    (root / DATASET).write_text(json.dumps({"format": FORMAT, "name": "puppets"}))
    return root
