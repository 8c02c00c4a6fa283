"""From one video to one clip: aligned, in step, with the windows that librosa would give; or the reason why not."""

import subprocess
from itertools import chain

import cv2
import films
import librosa
import numpy as np
import pytest

from talkface.config import EYE_CENTRE, EYE_DISTANCE
from talkface.data.layouts import Source
from talkface.face import align, landmarks
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.preprocess import gates
from talkface.preprocess.build import face_facts, make, parts, take
from talkface.preprocess.gates import Gates
from talkface.preprocess.worker import finder


def source_of(path):
    return Source("train", path.stem, "anna", path, path.name)


LIMITS = Gates()


def made_of(path, limits=LIMITS):
    return [make(taken, "films", finder(), limits) for taken in take(source_of(path), limits)]


def clip_of(path):
    (made,) = made_of(path)
    assert made.reason == "kept", made.facts
    return made.clip


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """A clip of a tilted, moving face with a blue mark on the forehead, and where the mark is in the source."""
    loudness = films.syllables(20)
    face = films.portrait()
    cv2.circle(face, (129, 76), 4, (0, 0, 255), -1)
    frames, marks = [], []
    for i, frame in enumerate(films.talking(loudness, face)):
        M = cv2.getRotationMatrix2D((128, 128), 8 + 0.5 * i, 1.15)
        M[0, 2] += 0.7 * i
        frames.append(cv2.warpAffine(frame, M, (256, 256), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))
        marks.append(M @ (129, 76, 1))
    path = films.write_film(tmp_path_factory.mktemp("marked") / "film.mp4", frames, films.sound_of(loudness))
    return clip_of(path), np.array(marks)


def test_alignment_leads_there_and_back_within_half_a_pixel(marked):
    clip, marks = marked
    for frame, M, mark in zip(clip.frames(), clip.transforms, marks, strict=True):
        back = align.apply(align.invert(M), centre_of_blue(frame)[None])[0]
        assert np.linalg.norm(back - mark) < 0.5


def centre_of_blue(frame):
    red, green, blue = frame[:120].astype(float).transpose(2, 0, 1)
    weight = (blue - np.maximum(red, green) - 60).clip(0)
    y, x = np.mgrid[: len(weight), : weight.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def test_every_aligned_face_is_upright_and_in_its_place(marked):
    clip, _ = marked
    across = clip.eyes[:, 1] - clip.eyes[:, 0]
    assert np.abs(clip.eyes.mean(1) - EYE_CENTRE).max() < 3
    assert np.abs(across[:, 0] - EYE_DISTANCE).max() < 3
    assert np.abs(across[:, 1]).max() < 3


def test_the_landmarks_are_those_that_are_found_on_the_aligned_frames(marked):
    clip, _ = marked
    points, flags = finder().landmarks_aligned(np.stack(list(clip.frames())))
    assert flags.min() > 0.5
    off = np.linalg.norm(landmarks.to_68(points) - clip.points68, axis=-1).mean(0)  # (68,)
    assert off[36:48].mean() < 1.5  # eyes
    assert off[48:].mean() < 4  # lips that are only drawn: the mesh is less sure of them


def test_a_clip_says_what_it_was_made_of(marked):
    clip, marks = marked
    assert (clip.name, clip.dataset, clip.split, clip.speaker, clip.source) == (
        *("film", "films", "train", "anna"),
        "film.mp4",
    )
    assert (len(clip), clip.lead_steps) == (len(marks), 0)
    assert clip.quality["seconds"] == 0.8
    shapes = [getattr(clip, name).shape for name in ("lips", "points68", "eyes", "transforms", "mfcc")]
    assert shapes == [(20, 40, 2), (20, 68, 2), (20, 2, 2), (20, 2, 3), (20, 20, 13)]


@pytest.mark.parametrize("late", [0.0, 0.12, -0.08])
def test_the_lag_of_the_sound_is_measured_on_a_mouth_that_opens_with_it(tmp_path, late):
    loudness = films.syllables(50, seed=3)
    shifted = np.roll(loudness, round(100 * late))
    path = films.write_film(tmp_path / "a.mp4", films.talking(loudness), films.sound_of(shifted))
    (made,) = made_of(path)
    assert made.facts["lag"] == pytest.approx(late, abs=0.02)
    assert made.facts["lag_correlation"] > 0.5


def test_a_film_at_29_97_frames_a_second_is_timed_anew_and_stays_in_step(tmp_path):
    loudness = films.syllables(50, seed=3)  # of 2 s
    times = np.arange(60) / (30000 / 1001) + 0.5 / (30000 / 1001)
    by = np.interp(times, np.arange(len(loudness)) / 100, loudness)
    frames = [films.mouth_opened(films.portrait(), amount) for amount in by]
    made = made_of(films.write_film(tmp_path / "a.mp4", frames, films.sound_of(loudness), "30000/1001"))[0]
    assert (made.facts["frames"], made.facts["sound_seconds"]) == (50, pytest.approx(2.0, abs=0.03))
    assert made.facts["lag"] == pytest.approx(0, abs=0.02)


def test_the_windows_are_those_of_librosa_called_directly(tmp_path):
    path = films.write_talk(tmp_path / "a.mp4", 20, seed=5)
    clip = clip_of(path)
    command = [ffmpeg_exe(), "-v", "error", "-i", path, "-ac", "1", "-af", "aresample=5000:filter_size=64"]
    sound = np.frombuffer(subprocess.run([*command, "-f", "f32le", "-"], capture_output=True).stdout, np.float32)
    mel = librosa.feature.melspectrogram(y=sound, sr=5000, n_fft=256, hop_length=50, win_length=125, n_mels=26)
    decibels = librosa.power_to_db(mel, amin=1e-13, top_db=None)
    loudest = decibels.max(axis=0)
    near = librosa.feature.mfcc(S=(decibels - np.percentile(loudest, 95)).clip(-50, 15), n_mfcc=13).T / 50
    # Of the level only frames near the loudest count; here that is a constant, the same in every band.
    level = np.abs((clip.mfcc_steps - near[: len(clip.mfcc_steps)])[:, 1:]).max()
    assert level < 0.02
    for i in (5, 10, 14):
        first = round(100 * (i + 0.5) / 25) - 10
        assert np.abs(clip.mfcc[i] - clip.mfcc_steps[first : first + 20]).max() == 0


def test_a_long_video_becomes_pieces_whose_windows_are_those_of_the_whole(tmp_path):
    path = films.write_talk(tmp_path / "a.mp4", 53, seed=2)
    whole = clip_of(path)
    pieces = [made.clip for made in made_of(path, Gates(piece_frames=20))]
    assert [(clip.name, len(clip)) for clip in pieces] == [("a+000", 20), ("a+001", 20), ("a+002", 13)]
    assert np.array_equal(np.concatenate([clip.mfcc for clip in pieces]), whole.mfcc)
    assert np.abs(np.concatenate([clip.points68 for clip in pieces]) - whole.points68).mean() < 1.5
    for clip in pieces:
        clip.av_offset = whole.av_offset = 0.08
    assert np.array_equal(np.concatenate([clip.mfcc for clip in pieces]), whole.mfcc)


@pytest.mark.parametrize(
    "count, wanted", [(0, []), (2, [2]), (10, [10]), (12, [12]), (13, [10, 3]), (22, [10, 12]), (23, [10, 10, 3])]
)
def test_parts_keep_all_items_in_order_and_none_is_shorter_than_allowed(count, wanted):
    found = list(parts(iter(range(count)), 10, 3))
    assert [len(part) for part, _ in found] == wanted
    assert list(chain.from_iterable(part for part, _ in found)) == list(range(count))
    assert [last for _, last in found] == [False] * (len(wanted) - 1) + [True] * bool(wanted)


def test_a_video_whose_name_says_no_sound_is_not_thereby_without(tmp_path):
    (tmp_path / "no sound.mp4").write_text("This is no video.\n" * 100)
    (taken,) = take(source_of(tmp_path / "no sound.mp4"), LIMITS)
    assert taken.reason == gates.UNREADABLE


def test_a_video_without_faces_has_figures_too():
    assert face_facts([None] * 4) == {"lost": 1.0, "faces": 0}
