"""Makes talkface/data/grid_sample, the clips of the data set "sample", from the GRID corpus.

    python examples/make_grid_sample.py GRID_FOLDER

GRID_FOLDER holds s26/bwaq8s.mpg and so on, as downloaded from https://zenodo.org/records/3625687 (CC BY 4.0). The clips
are encoded again (H.264, AAC of 16 kHz) and preprocessed; the landmarks and the sound offsets are stored beside them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from talkface.data.layouts import GRID_TEST
from talkface.data.reader import open_dataset
from talkface.data.sample import CLIPS, LANDMARKS, SOURCE, pack_landmarks
from talkface.files import write_bytes
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.media.video import read_frames
from talkface.preprocess import PreprocessConfig, preprocess

TRAIN = ("s26/bwaq8s", "s26/lrbi7p", "s26/pbbg5p", "s31/bgiq6p", "s31/lbwo3s", "s31/prwa4n")
VAL = ("s26/srizza", "s31/lrau5s")  # of the same people: they show whether training works, not how it generalises
TEST = ("s2/pwij3p", "s2/swwp2s", "s3/sbia1a", "s22/lbbc2a", "s23/lrwp9a", "s23/priazn")


def encode(source: Path, target: Path) -> None:
    """Write a small mp4 of a clip: the frames at 25 frames per second as talkface reads them, and its sound."""
    target.parent.mkdir(parents=True, exist_ok=True)
    frames = list(read_frames(source))
    height, width = frames[0].shape[:2]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "25", "-i", "pipe:0"]
    sound = ["-i", str(source), "-map", "0:v", "-map", "1:a", "-ac", "1", "-ar", "16000", "-c:a", "aac", "-b:a", "40k"]
    picture = ["-c:v", "libx264", "-preset", "veryslow", "-crf", "20", "-pix_fmt", "yuv420p", "-map_metadata", "-1"]
    tags = ["-vf", "scale=out_color_matrix=bt709:out_range=limited", "-colorspace", "bt709", "-color_range", "tv"]
    command = [ffmpeg_exe(), "-v", "error", "-y", *raw, *sound, *picture, *tags, "-movflags", "+faststart", str(target)]
    subprocess.run(command, input=b"".join(frame.tobytes() for frame in frames), check=True)


def main(grid: Path) -> None:
    """Encode, preprocess and pack the clips."""
    split_of = {**dict.fromkeys(TRAIN, "train"), **dict.fromkeys(VAL, "val"), **dict.fromkeys(TEST, "test")}
    for folder in SOURCE.glob("s*/"):
        shutil.rmtree(folder)
    for name in split_of:
        encode(grid / f"{name}.mpg", SOURCE / f"{name}.mp4")
    with tempfile.TemporaryDirectory() as folder:
        preprocess(PreprocessConfig("grid", SOURCE, out=Path(folder), workers=2))
        clips = {clip.name: clip for clip in open_dataset(folder)}
        assert set(clips) == set(split_of), set(split_of) - set(clips)
        assert {clip.speaker for clip in clips.values() if split_of[clip.name] == "test"} <= GRID_TEST
        facts = [
            {"name": name, "split": split_of[name], "speaker": clips[name].speaker, "av_offset": clips[name].av_offset}
            for name in sorted(split_of)
        ]
        np.savez_compressed(SOURCE / LANDMARKS, **pack_landmarks([clips[name] for name in sorted(clips)]))
    write_bytes(SOURCE / CLIPS, ("[\n" + ",\n".join(json.dumps(one) for one in facts) + "\n]\n").encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
