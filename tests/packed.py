"""Small clips, and data sets made of them as preprocess would."""

import json

import numpy as np

from talkface.data.clip import Clip, encode_frame, pack
from talkface.data.shards import DATASET, FORMAT, INDEX, ShardWriter, read_lines, shard_indexes, write_lines


def a_clip(name="s1/bbaf2n", frames=7, split="train", speaker="s1"):
    rng = np.random.default_rng(len(name) + frames)
    picture = np.linspace(0, 255, 256 * 256 * 3).reshape(256, 256, 3).astype(np.uint8)
    return Clip(
        name=name,
        dataset="grid",
        split=split,
        speaker=speaker,
        source=f"{name}.mpg",
        lips=rng.random((frames, 40, 2), np.float32),
        points68=rng.random((frames, 68, 2), np.float32),
        eyes=rng.random((frames, 2, 2), np.float32),
        transforms=rng.random((frames, 2, 3)),
        mfcc_steps=rng.random((4 * frames, 13), np.float32),
        encoded=[encode_frame(np.roll(picture, i, 0)) for i in range(frames)],
        quality={"eye_distance": 40.5},
    )


def write_dataset(root, clips, shard="train-00000"):
    with ShardWriter(root, shard) as writer:
        for clip in clips:
            writer.add(clip, status="kept")
    lines = [line for part in shard_indexes(root) for line in read_lines(part) if line["status"] == "kept"]
    write_lines(root / INDEX, lines)
    (root / DATASET).write_text(json.dumps({"format": FORMAT, "name": "grid"}))


def assert_same(a, b):
    assert pack(a) == pack(b)
