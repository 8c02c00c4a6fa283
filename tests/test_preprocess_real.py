"""Real clips in the layouts of LRW and GRID; they are not part of the project (see TALKFACE_TEST_CLIPS)."""

import os
from pathlib import Path

import numpy as np
import pytest

from talkface.config import EYE_CENTRE, EYE_DISTANCE
from talkface.data.layouts import find_sources
from talkface.face.landmarks import mouth_opening
from talkface.preprocess.build import build_clip, decode
from talkface.preprocess.limits import QualityLimits
from talkface.preprocess.worker import face_finder

CLIPS = Path(os.environ.get("TALKFACE_TEST_CLIPS", Path(__file__).resolve().parent.parent.parent / "shared/data"))
LRW, GRID = CLIPS / "lrw-ar", CLIPS / "grid"
pytestmark = pytest.mark.skipif(
    not (LRW.is_dir() and GRID.is_dir()),
    reason=f"NO REAL CLIPS TESTED: {CLIPS} lacks lrw-ar and grid; set TALKFACE_TEST_CLIPS to a folder that has them",
)


@pytest.fixture(scope="module")
def sources():
    return {"lrw": find_sources("lrw", LRW), "grid": find_sources("grid", GRID)}


def test_all_videos_of_both_layouts_are_found_and_no_speaker_is_in_training_and_test(sources):
    count = {(name, split): 0 for name in sources for split in ("train", "val", "test")}
    for name, found in sources.items():
        for source in found:
            count[name, source.split] += 1
        trained = {source.speaker for source in found if source.split == "train"}
        assert trained
        assert not trained & {source.speaker for source in found if source.split != "train"}
    assert [count["lrw", split] for split in ("train", "val", "test")] == [1671, 68, 159]
    assert (count["grid", "train"], count["grid", "val"], count["grid", "test"]) == (1011, 0, 9)


@pytest.mark.parametrize("name, frames", [("lrw", (28, 33)), ("grid", (74, 75))])
def test_the_faces_of_clips_of_each_layout_are_aligned_and_their_mouths_move(sources, name, frames):
    of_speakers = {source.speaker: source for source in sources[name]}
    for speaker in sorted(of_speakers)[:2]:
        (video,) = decode(of_speakers[speaker], QualityLimits())
        result = build_clip(video, name, face_finder(), QualityLimits())
        clip = result.clip
        assert result.reason == "kept", result.facts
        assert frames[0] <= len(clip) <= frames[1]
        assert np.abs(clip.eyes.mean(1) - EYE_CENTRE).max() < 6
        opening = mouth_opening(clip.lips, EYE_DISTANCE)
        assert 0.02 < np.ptp(opening) < 0.6
        assert clip.mfcc.std() > 0.1
