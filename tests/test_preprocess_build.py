"""From one video to one clip: alignment, synchronisation, MFCC, sound, and the reasons to skip a video."""

import subprocess
from itertools import chain

import cv2
import librosa
import numpy as np
import pytest

from talkface.config import EYE_CENTRE, EYE_DISTANCE, FPS, SOUND_RATE
from talkface.data.layouts import Source
from talkface.face import align, landmarks
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.media.windows import SILENCE
from talkface.preprocess import reasons
from talkface.preprocess.build import build_clip, decode, face_facts, split_pieces
from talkface.preprocess.limits import QualityLimits
from talkface.preprocess.worker import face_finder

LIMITS = QualityLimits()


def source_of(path):
    return Source("train", path.stem, "anna", path, path.name)


def results_of(path, limits=LIMITS):
    return [build_clip(video, "videos", face_finder(), limits) for video in decode(source_of(path), limits)]


def clip_of(path, limits=LIMITS):
    (result,) = results_of(path, limits)
    assert result.reason == "kept", result.facts
    return result.clip


def overwrite(path, begin, end):
    """Overwrites a part of a file, from share `begin` to share `end` of its length, with random bytes."""
    data = bytearray(path.read_bytes())
    first, last = round(begin * len(data)), round(end * len(data))
    data[first:last] = np.random.default_rng(0).bytes(last - first)
    path.write_bytes(data)


@pytest.fixture(scope="module")
def marked(tmp_path_factory, video_factory):
    """A clip of a tilted, moving face with a blue mark on the forehead, and where the mark is in the source."""
    loudness = video_factory.loudness(20)
    face = video_factory.portrait()
    cv2.circle(face, (129, 76), 4, (0, 0, 255), -1)
    frames, marks = [], []
    for i, frame in enumerate(video_factory.talking_frames(loudness, face)):
        M = cv2.getRotationMatrix2D((128, 128), 8 + 0.5 * i, 1.15)
        M[0, 2] += 0.7 * i
        frames.append(cv2.warpAffine(frame, M, (256, 256), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))
        marks.append(M @ (129, 76, 1))
    path = video_factory.write(tmp_path_factory.mktemp("marked") / "video.mp4", frames, video_factory.audio(loudness))
    return clip_of(path), np.array(marks)


def test_the_inverse_transform_leads_back_to_the_source_within_half_a_pixel(marked):
    clip, marks = marked
    for frame, M, mark in zip(clip.frames(), clip.transforms, marks, strict=True):
        back = align.apply(align.invert(M), centre_of_blue(frame)[None])[0]
        assert np.linalg.norm(back - mark) < 0.5


def centre_of_blue(frame):
    red, green, blue = frame[:120].astype(float).transpose(2, 0, 1)
    weight = (blue - np.maximum(red, green) - 60).clip(0)
    y, x = np.mgrid[: len(weight), : weight.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def test_every_aligned_face_is_upright_and_at_the_standard_position(marked):
    clip, _ = marked
    across = clip.eyes[:, 1] - clip.eyes[:, 0]
    assert np.abs(clip.eyes.mean(1) - EYE_CENTRE).max() < 3
    assert np.abs(across[:, 0] - EYE_DISTANCE).max() < 3
    assert np.abs(across[:, 1]).max() < 3


def test_the_landmarks_agree_with_those_detected_on_the_aligned_frames(marked):
    clip, _ = marked
    points, flags = face_finder().landmarks_aligned(np.stack(list(clip.frames())))
    assert flags.min() > 0.5
    off = np.linalg.norm(landmarks.to_68(points) - clip.points68, axis=-1).mean(0)  # (68,)
    assert off[36:48].mean() < 1.5  # eyes
    assert off[48:].mean() < 4  # lips that are only drawn: less certain for the mesh


def test_a_clip_has_the_facts_of_its_source(marked):
    clip, marks = marked
    assert (clip.name, clip.dataset, clip.split, clip.speaker, clip.source) == (
        *("video", "videos", "train", "anna"),
        "video.mp4",
    )
    assert (len(clip), clip.lead_steps) == (len(marks), 0)
    assert clip.quality["seconds"] == 0.8
    shapes = [getattr(clip, name).shape for name in ("lips", "points68", "eyes", "transforms", "mfcc")]
    assert shapes == [(20, 40, 2), (20, 68, 2), (20, 2, 2), (20, 2, 3), (20, 20, 13)]


@pytest.mark.parametrize("late", [0.0, 0.12, -0.08])
def test_the_lag_of_the_sound_is_measured_on_a_mouth_that_opens_with_it(tmp_path, late, video_factory):
    loudness = video_factory.loudness(50, seed=3)
    shifted = np.roll(loudness, round(100 * late))
    path = video_factory.write(tmp_path / "a.mp4", video_factory.talking_frames(loudness), video_factory.audio(shifted))
    (result,) = results_of(path)
    assert result.facts["lag"] == pytest.approx(late, abs=0.02)
    assert result.facts["lag_correlation"] > 0.5


def test_a_video_at_29_97_frames_a_second_is_resampled_and_stays_synchronous(tmp_path, video_factory):
    loudness = video_factory.loudness(50, seed=3)  # of 2 s
    times = np.arange(60) / (30000 / 1001) + 0.5 / (30000 / 1001)
    by = np.interp(times, np.arange(len(loudness)) / 100, loudness)
    frames = [video_factory.open_mouth(video_factory.portrait(), amount) for amount in by]
    path = video_factory.write(tmp_path / "a.mp4", frames, video_factory.audio(loudness), "30000/1001")
    (result,) = results_of(path)
    assert (result.facts["frames"], result.facts["sound_seconds"]) == (50, pytest.approx(2.0, abs=0.03))
    assert result.facts["lag"] == pytest.approx(0, abs=0.02)


def test_the_windows_agree_with_librosa_called_directly(tmp_path, video_factory):
    path = video_factory.write_talking(tmp_path / "a.mp4", 20, seed=5)
    clip = clip_of(path)
    command = [ffmpeg_exe(), "-v", "error", "-i", path, "-ac", "1", "-af", "aresample=5000:filter_size=64"]
    sound = np.frombuffer(subprocess.run([*command, "-f", "f32le", "-"], capture_output=True).stdout, np.float32)
    mel = librosa.feature.melspectrogram(y=sound, sr=5000, n_fft=256, hop_length=50, win_length=125, n_mels=26)
    decibels = librosa.power_to_db(mel, amin=1e-13, top_db=None)
    loudest = decibels.max(axis=0)
    near = librosa.feature.mfcc(S=(decibels - np.percentile(loudest, 95)).clip(-50, 15), n_mfcc=13).T / 50
    # The level is measured from the loudest steps only: it adds a constant to every band, and thus to c0 alone.
    deviation = np.abs((clip.mfcc_steps - near[: len(clip.mfcc_steps)])[:, 1:]).max()
    assert deviation < 0.02
    for i in (5, 10, 14):
        first = round(100 * (i + 0.5) / 25) - 10
        assert np.abs(clip.mfcc[i] - clip.mfcc_steps[first : first + 20]).max() == 0


def test_a_long_video_becomes_pieces_with_the_windows_and_the_sound_of_the_whole(tmp_path, video_factory):
    path = video_factory.write_talking(tmp_path / "a.mp4", 53, seed=2)
    whole = clip_of(path)
    pieces = [result.clip for result in results_of(path, QualityLimits(piece_frames=20))]
    assert [(clip.name, len(clip)) for clip in pieces] == [("a+000", 20), ("a+001", 20), ("a+002", 13)]
    assert np.array_equal(np.concatenate([clip.mfcc for clip in pieces]), whole.mfcc)
    assert np.abs(np.concatenate([clip.points68 for clip in pieces]) - whole.points68).mean() < 1.5
    for clip in pieces:
        clip.av_offset = whole.av_offset = 0.08
    assert np.array_equal(np.concatenate([clip.mfcc for clip in pieces]), whole.mfcc)
    assert [clip.sound_lead for clip in pieces] == [0.0, 0.8, 1.0]
    for clip, first in zip(pieces, (0, 20, 40), strict=True):
        begin = round((first / FPS - clip.sound_lead) * SOUND_RATE)
        end = round((first + len(clip)) / FPS * SOUND_RATE) + SOUND_RATE
        assert np.array_equal(clip.waveform, whole.waveform[begin:end])


def test_the_sound_of_a_piece_has_a_margin_of_one_second_and_is_at_the_time_of_the_recording(tmp_path, video_factory):
    loudness = video_factory.loudness(160, seed=1)
    recording = video_factory.audio(loudness)
    still = [video_factory.portrait()] * 160
    path = video_factory.write(tmp_path / "a.mp4", still, recording)
    video = list(decode(source_of(path), QualityLimits(piece_frames=50)))[1]
    assert (video.name, video.piece, len(video.frames), video.sound_lead) == ("a+001", 1, 50, 1.0)
    assert len(video.waveform) == 4 * SOUND_RATE  # 2 s of picture, and 1 s before and after
    start = round((50 / FPS - video.sound_lead) * SOUND_RATE)
    shifts = range(-40, 41)
    correlation = [np.dot(video.waveform, recording[start + n :][: len(video.waveform)]) for n in shifts]
    assert abs(shifts[int(np.argmax(correlation))]) <= 3  # samples


@pytest.mark.parametrize("kind", ["no sound track", "muted sound track"])
def test_a_video_without_sound_becomes_a_clip_without_sound_if_no_sound_is_needed(tmp_path, video_factory, kind):
    loudness = video_factory.loudness(12)
    muted = np.zeros_like(video_factory.audio(loudness))
    frames = video_factory.talking_frames(loudness)
    path = video_factory.write(tmp_path / "a.mp4", frames, None if kind == "no sound track" else muted)
    (result,) = results_of(path)
    assert (result.clip, result.reason) == (None, reasons.NO_SOUND)
    clip = clip_of(path, QualityLimits(need_sound=False))
    assert (len(clip), clip.sound, len(clip.waveform), clip.sound_lead) == (12, b"", 0, 0.0)
    assert np.array_equal(clip.mfcc, np.broadcast_to(SILENCE, (12, 20, 13)))
    assert (clip.quality["sound_seconds"], clip.quality["level_db"]) == (0.0, -200.0)


def test_a_video_with_sound_keeps_it_although_no_sound_is_needed(tmp_path, video_factory):
    path = video_factory.write_talking(tmp_path / "a.mp4", 12)
    clip = clip_of(path, QualityLimits(need_sound=False))
    assert np.array_equal(clip.waveform, clip_of(path).waveform)
    assert len(clip.waveform) == pytest.approx(12 / FPS * SOUND_RATE, abs=0.05 * SOUND_RATE)


def test_a_piece_after_the_end_of_the_sound_has_no_sound(tmp_path, video_factory):
    loudness = video_factory.loudness(40)
    audio = video_factory.audio(loudness)[: round(0.72 * SOUND_RATE)]
    path = video_factory.write(tmp_path / "a.mp4", video_factory.talking_frames(loudness), audio)
    pieces = results_of(path, QualityLimits(piece_frames=20, need_sound=False))
    assert [result.reason for result in pieces] == [reasons.KEPT, reasons.KEPT]
    assert [bool(result.clip.sound) for result in pieces] == [True, False]


def test_a_damaged_video_is_skipped_with_the_number_of_errors_of_its_decoder(tmp_path, video_factory):
    path = video_factory.write_talking(tmp_path / "a.mp4", 50)
    (result,) = results_of(path)
    assert result.facts["decode_errors"] == 0
    overwrite(path, 0.3, 0.7)
    (result,) = results_of(path)
    assert result.reason == reasons.DAMAGED
    assert result.facts["decode_errors"] > 20
    (result,) = results_of(path, QualityLimits(max_decode_errors=10_000))
    assert result.reason != reasons.DAMAGED


def test_damage_to_a_long_video_counts_only_for_the_pieces_near_it(tmp_path, video_factory):
    path = video_factory.write(tmp_path / "a.mp4", video_factory.talking_frames(video_factory.loudness(200)))
    overwrite(path, 0.6, 0.65)
    pieces = list(decode(source_of(path), QualityLimits(piece_frames=25, need_sound=False)))
    errors = [video.decode_errors for video in pieces]
    assert len(errors) == 8
    assert max(errors) > 20
    assert errors[:2] == errors[-2:] == [0, 0]


@pytest.mark.parametrize(
    "count, wanted", [(0, []), (2, [2]), (10, [10]), (12, [12]), (13, [10, 3]), (22, [10, 12]), (23, [10, 10, 3])]
)
def test_pieces_keep_all_items_in_order_and_none_is_shorter_than_allowed(count, wanted):
    found = list(split_pieces(iter(range(count)), 10, 3))
    assert [len(piece) for piece, _ in found] == wanted
    assert list(chain.from_iterable(piece for piece, _ in found)) == list(range(count))
    assert [last for _, last in found] == [False] * (len(wanted) - 1) + [True] * bool(wanted)


def test_the_name_of_a_file_does_not_make_it_a_video_without_sound(tmp_path):
    (tmp_path / "no sound.mp4").write_text("This is no video.\n" * 100)
    (video,) = decode(source_of(tmp_path / "no sound.mp4"), LIMITS)
    assert video.reason == reasons.UNREADABLE


def test_a_video_without_faces_has_figures():
    assert face_facts([None] * 4) == {"lost": 1.0, "faces": 0}
