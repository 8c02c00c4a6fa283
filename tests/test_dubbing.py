"""Dubbing: each frame of a video keeps its own head, and only its lips change."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile

from talkface import render, stream
from talkface.dubbing import playback
from talkface.dubbing.geometry import FaceTrack, resting_lips, seen_runs, shown_share, smooth
from talkface.dubbing.playback import Player
from talkface.dubbing.scene import at_rate
from talkface.dubbing.track import KEPT, checksum
from talkface.errors import TalkfaceError
from talkface.media.audio import load_waveform
from talkface.media.kind import is_video
from talkface.media.video import VideoWriter, probe, read_frames

pytestmark = pytest.mark.usefixtures("one_thread")
RATE = 16_000


@pytest.fixture(scope="module")
def weights(tiny_weights):
    return tiny_weights


@pytest.fixture(scope="module")
def video(tmp_path_factory, video_factory):
    """0.8 s of a talking face in 257 x 256 px with sound."""
    return video_factory.write_talking(tmp_path_factory.mktemp("video") / "person.dat.mp4", frames=20)


@pytest.fixture(autouse=True)
def folder(empty_folder):
    return empty_folder


def sound(path, seconds, loudness=0.2):
    samples = np.random.default_rng(1).normal(0, loudness, round(seconds * RATE)).clip(-1, 1)
    soundfile.write(path, samples, RATE)
    return path


def track(seen, shots=None):
    seen = np.array(seen, bool)
    points = np.zeros((len(seen), len(KEPT), 2), np.float32)
    yaw = np.where(seen, 0, np.nan).astype(np.float32)
    shots = np.zeros(len(seen)) if shots is None else np.array(shots)
    return FaceTrack(points, yaw, shots.astype(np.int32), np.zeros(len(seen), np.uint32), 1)


def test_only_the_surroundings_of_the_mouth_change_and_they_do(video, weights):
    speech = sound("speech.wav", 0.6)
    own = list(read_frames(video))
    new = list(stream(video, speech, weights=weights))
    assert len(new) == 15
    changed = np.stack([np.abs(a.astype(int) - b) for a, b in zip(own, new, strict=False)]).max((0, 3))
    rows, columns = np.nonzero(changed)
    assert len(rows)
    # The portrait's mouth is at (127, 147), its eyes are 42 px apart.
    assert rows.min() > 147 - 45
    assert rows.max() < 147 + 65
    assert columns.min() > 127 - 55
    assert columns.max() < 127 + 55


def test_the_result_has_the_rate_and_the_size_of_the_video_and_the_length_of_the_sound(video_factory, weights):
    frames = [np.pad(frame, ((0, 0), (0, 64), (0, 0))) for frame in video_factory.talking_frames(np.zeros(48))]
    source = video_factory.write(Path("a.mp4"), frames, fps="30000/1001")
    report = render(source, sound("b.wav", 1.0), "c.mp4", weights=weights)
    info = probe("c.mp4")
    assert (info.width, info.height, info.fps) == (320, 256, Fraction(30000, 1001))
    assert report.frames == 30
    assert info.audio_duration == pytest.approx(1.0, abs=0.03)
    assert report.frames_without_face == 0


def test_a_video_alone_is_dubbed_with_its_own_sound(video, weights, folder):
    report = render(video, weights=weights, json="j.json")
    assert report.out == Path("person.dat_dubbed.mp4")
    assert report.frames == 20
    assert probe(report.out).has_audio
    assert report.manifest["video"]["path"] == str(video)
    assert report.manifest["face"]["shots"] == 1


def test_frames_without_a_face_keep_their_picture_and_are_counted(video_factory, weights):
    talking = video_factory.talking_frames(video_factory.loudness(24))
    wall = np.random.default_rng(0).integers(80, 120, (256, 256, 3)).astype(np.uint8)
    source = video_factory.write(Path("a.mp4"), [*talking[:12], *[wall] * 5, *talking[12:]])
    report = render(source, sound("b.wav", 1.1), "c.mp4", weights=weights, crf=0)
    assert report.frames_without_face == 5
    assert any("5 of the 29 frames of a.mp4 have no face" in note for note in report.notes)
    own, new = list(read_frames(source)), list(stream(source, "b.wav", weights=weights))
    np.testing.assert_array_equal(np.stack(new[12:17]), np.stack(own[12:17]))


@pytest.mark.parametrize("loop, wanted", [("pingpong", "0123432101"), ("repeat", "0123401234"), ("hold", "0123444444")])
@pytest.mark.parametrize("held", [2, 100])
def test_a_short_video_goes_on_as_wanted(monkeypatch, loop, wanted, held):
    frames = [np.full((16, 16, 3), 10 * k, np.uint8) for k in range(5)]
    monkeypatch.setattr(playback, "BACKWARD_BYTES", held * frames[0].nbytes)
    player = Player(lambda first: iter(frames[first:]), np.array([checksum(frame) for frame in frames]), Path("a"))
    played = list(player.play(10, loop))
    assert "".join(str(number) for number, _ in played) == wanted
    assert all(frame[0, 0, 0] == 10 * number for number, frame in played)


def test_where_seeking_gives_another_frame_the_video_is_read_from_its_beginning():
    frames = [np.full((16, 16, 3), 10 * k, np.uint8) for k in range(5)]
    player = Player(
        lambda first: iter(frames[max(first - 1, 0) :]), np.array([checksum(frame) for frame in frames]), Path("a")
    )
    assert player.frame(3)[0, 0, 0] == 30


def test_a_video_that_has_changed_since_the_first_pass_is_an_error():
    player = Player(lambda first: iter([np.zeros((8, 8, 3), np.uint8)]), np.array([1, 2]), Path("a.mp4"))
    with pytest.raises(TalkfaceError, match=r"a\.mp4 gives other frames"):
        player.frame(1)


@pytest.mark.parametrize("options", [{}, {"fps": "30000/1001"}])
def test_frames_from_a_number_on_are_those_of_the_whole_video(options):
    random = np.random.default_rng(0)
    with VideoWriter("a.mp4", 64, 48, 25) as writer:
        for _ in range(100):
            writer.write(np.kron(random.integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8))
    whole = list(read_frames("a.mp4", **options))
    for first in (1, 60, 95):
        part = list(islice(read_frames("a.mp4", first=first, **options), 4))
        np.testing.assert_array_equal(np.stack(part), np.stack(whole[first : first + 4]))


def test_a_parabola_passes_the_filter_without_lag_and_noise_does_not():
    time = np.arange(60.0)
    parabola = 0.01 * (time - 20) ** 2
    np.testing.assert_allclose(smooth(parabola, 9), parabola, atol=1e-9)
    noise = np.random.default_rng(0).normal(size=4000)
    assert smooth(noise, 9).std() < 0.55


def test_lips_at_rest_follow_the_nose_and_not_the_speech():
    random = np.random.default_rng(0)
    turn = np.sin(np.arange(200) / 30)[:, None] * [3.0, 1.0]
    speech = random.normal(0, 1.0, (200, 40, 2))
    lips = np.zeros((200, 40, 2)) + turn[:, None] * 1.5 + speech
    rest = resting_lips(lips.astype(np.float32), np.concatenate([turn, 2 * turn], 1).astype(np.float32))
    error = rest - 1.5 * turn[:, None]
    assert np.abs(error - error.mean(0)).mean() < 0.25
    still = resting_lips(speech.astype(np.float32), np.zeros((200, 4), np.float32))
    assert np.ptp(still, axis=0).max() < 1e-5


def test_short_gaps_are_bridged_and_longer_ones_and_cuts_are_not():
    seen = [1, 1, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1]
    assert seen_runs(track(seen), 3) == [slice(0, 5), slice(9, 12)]
    assert seen_runs(track(seen, [0] * 10 + [1] * 2), 3) == [slice(0, 5), slice(9, 10), slice(10, 12)]


def test_lips_fade_near_a_gap_and_not_at_a_cut_or_the_ends():
    one = track([1] * 20 + [0] * 10 + [1] * 20, [0] * 40 + [1] * 10)
    share = shown_share(one, seen_runs(one, 3), 25.0)
    assert share[0] == share[39] == share[40] == share[-1] == 1
    assert 0 < share[19] < share[15] < share[10] == 1
    assert (share[20:30] == 0).all()
    assert 0 < share[30] < share[33]


def test_lips_at_another_rate_go_through_those_at_25_frames_a_second():
    lips = [np.full((40, 2), np.sin(k / 4), np.float32) for k in range(50)]
    doubled = np.stack(list(at_rate(iter(lips), Fraction(50))))
    assert len(doubled) == pytest.approx(100, abs=1)
    times = (np.arange(len(doubled)) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(doubled[2:-4, 0, 0], np.sin(times / 4)[2:-4], atol=0.01)
    assert [one[0, 0] for one in at_rate(iter(lips), Fraction(25))] == [one[0, 0] for one in lips]


def test_the_own_sound_stays_below_the_new_one(video, weights):
    samples = np.zeros(RATE, np.float32)
    soundfile.write("silence.wav", samples, RATE)
    render(video, "silence.wav", "kept.mp4", weights=weights, keep_sound=-20.0)
    own, kept = load_waveform(video), load_waveform(Path("kept.mp4"))
    ratio = kept[2000:10_000].std() / own[2000:10_000].std()
    assert 20 * np.log10(ratio) == pytest.approx(-20, abs=1)
    assert probe("kept.mp4").audio_duration == pytest.approx(1.0, abs=0.05)


def test_a_video_is_known_by_its_content(video, video_factory):
    Path("video.jpg").write_bytes(video.read_bytes())
    Path("photo.mp4").write_bytes((Path(__file__).parent.parent / "examples" / "astronaut.jpg").read_bytes())
    assert is_video("video.jpg")
    assert not is_video("photo.mp4")
    assert not is_video(sound("a.wav", 0.2))


ERRORS = {
    "no speech for a photo": (["photo"], {}, "is a photo, and there is no speech"),
    "no sound in the video": (["mute"], {}, "mute.mp4 has no sound"),
    "nothing to keep": (["mute", "speech"], {"keep_sound": -20}, "mute.mp4 has no sound that could be kept"),
    "its own sound twice": (["video"], {"keep_sound": -20}, "--keep-sound keeps a video's own sound"),
    "the sound of a photo": (["photo", "speech"], {"keep_sound": -20}, "which has no sound"),
    "a sound made louder": (["video", "speech"], {"keep_sound": 3}, "--keep-sound 3 is not valid"),
    "an unknown loop": (["video", "speech"], {"loop": "spin"}, "--loop spin is not valid"),
    "slow landmarks": (["video", "speech"], {"landmarks": "fan"}, "too slow"),
    "a face too many": (["video", "speech"], {"face": 2}, "--face 2: a shot of person.dat.mp4 has at most 1 face"),
    "no face": (["wall", "speech"], {}, "No face found in any of the 10 frames of wall.mp4"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_cannot_be_dubbed_is_one_clear_error(video, weights, video_factory, case):
    names, options, message = ERRORS[case]
    wall = [np.full((64, 64, 3), 90, np.uint8)] * 10
    inputs = {
        "photo": lambda: Path(__file__).parent.parent / "examples" / "astronaut.jpg",
        "video": lambda: video,
        "mute": lambda: video_factory.write(Path("mute.mp4"), wall),
        "wall": lambda: video_factory.write(Path("wall.mp4"), wall),
        "speech": lambda: sound("speech.wav", 0.4),
    }
    with pytest.raises(TalkfaceError) as caught:
        render(*(inputs[name]() for name in names), out="out.mp4", weights=weights, **options)
    assert message in str(caught.value)
    assert caught.value.fix
    assert not Path("out.mp4").exists()
