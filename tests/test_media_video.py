"""Reading and writing of videos: sizes, rates, colours and audio, and no partial file after a failure."""

import signal
import struct
import subprocess
import sys
import time
import wave
from fractions import Fraction

import numpy as np
import pytest

from talkface.errors import TalkfaceError
from talkface.media import ffmpeg as running
from talkface.media.audio import load_speech
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.media.timing import frame_count
from talkface.media.video import VideoInfo, VideoWriter, probe, read_frames


def run_ffmpeg(*arguments):
    """Run ffmpeg; its stderr."""
    command = [ffmpeg_exe(), "-hide_banner", "-y", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def synthetic(path, *options, size="128x96", rate="25", seconds="2", source="testsrc2", after=()):
    """A synthetic video; `options` stand before the output."""
    lavfi = f"{source}=size={size}:rate={rate}:duration={seconds}"
    run_ffmpeg("-f", "lavfi", "-i", lavfi, *after, "-pix_fmt", "yuv420p", *options, path)
    return path


def sound_file(path, seconds=1.5, rate=44_100, channels=2):
    """Noise in bursts, as 16-bit wav or what the ending asks for."""
    time_axis = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).normal(size=(len(time_axis), channels)) * (np.sin(11 * time_axis) > 0)[:, None]
    plain = path.with_suffix(".wav")
    with wave.open(str(plain), "wb") as out:
        out.setparams((channels, 2, rate, 0, "NONE", ""))
        out.writeframes((noise * 5000).astype("<i2").tobytes())
    if path.suffix != ".wav":
        run_ffmpeg("-i", plain, path)
    return path


def flat(colour, width=64, height=48):
    return np.full((height, width, 3), colour, np.uint8)


def write(path, frames, width=64, height=48, fps=25, audio=None, **options):
    with VideoWriter(path, width, height, fps, audio, **options) as video:
        for index in range(frames):
            video.write(flat(index * 7 % 256, width, height))
    return path


def frames_in(path):
    return sum(1 for _ in read_frames(path, fps=None))


def test_probe_returns_the_properties_of_what_is_read(tmp_path):
    path = synthetic(tmp_path / "a.mp4", rate="30000/1001", after=("-f", "lavfi", "-i", "sine=duration=1.7"))
    info = probe(path)
    assert (info.width, info.height, info.fps) == (128, 96, Fraction(30_000, 1001))
    assert info.duration == pytest.approx(60 * 1001 / 30_000, abs=1e-6)
    assert info.has_audio
    assert info.audio_duration == pytest.approx(1.7, abs=0.03)
    assert not probe(synthetic(tmp_path / "mute.mp4")).has_audio


@pytest.mark.parametrize("rate", ["24000/1001", "24", "25", "30000/1001", "30", "50", "12.5"])
def test_frame_k_is_the_one_shown_at_k_twenty_fifths_of_a_second(tmp_path, rate):
    # The brightness of the picture is its time: 100 steps a second.
    path = tmp_path / "clock.mkv"
    clock = f"color=black:size=64x48:rate={rate}:duration=2,format=gray,geq=lum='T*100'"
    run_ffmpeg("-f", "lavfi", "-i", clock, "-c:v", "ffv1", path)
    shown = np.array([frame[24, 32].mean() for frame in read_frames(path)])
    assert len(shown) == pytest.approx(50, abs=1)
    half_a_source_frame = 50 / float(Fraction(rate))
    assert np.abs(shown - 4 * np.arange(len(shown))).max() <= half_a_source_frame + 1.5


def test_the_rate_of_the_file_is_kept_on_request(tmp_path):
    path = synthetic(tmp_path / "a.mp4", rate="30")
    assert sum(1 for _ in read_frames(path, fps=None)) == 60
    assert sum(1 for _ in read_frames(path)) == 50
    assert sum(1 for _ in read_frames(path, fps=12.5)) == 25


def test_a_picture_that_begins_late_is_repeated_from_time_zero(tmp_path):
    sound = sound_file(tmp_path / "a.wav", seconds=2)
    path = tmp_path / "late.mkv"
    run_ffmpeg("-i", sound, "-itsoffset", "0.4", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=1", path)
    assert sum(1 for _ in read_frames(path)) == 35


def test_a_video_turned_by_its_metadata_is_read_upright(tmp_path):
    path = synthetic(tmp_path / "a.mp4")
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # of the track: 3 x 3 fixed-point numbers; this one turns it clockwise
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(content)
    assert (probe(turned).width, probe(turned).height) == (96, 128)
    upright, lying = next(read_frames(turned)), next(read_frames(path))
    np.testing.assert_allclose(upright.astype(int), np.rot90(lying, -1).astype(int), atol=40)
    assert np.abs(upright.astype(int) - np.rot90(lying, -1)).mean() < 2


def test_pixels_that_are_not_square_are_made_square(tmp_path):
    path = synthetic(tmp_path / "pal.mkv", "-vf", "setsar=16/11")
    assert (probe(path).width, probe(path).height) == (186, 96)
    assert next(read_frames(path)).shape == (96, 186, 3)


@pytest.mark.parametrize("max_size,shape", [(64, (48, 64, 3)), (128, (96, 128, 3)), (1000, (96, 128, 3))])
def test_a_bound_on_the_longer_side_shrinks_and_never_enlarges(tmp_path, max_size, shape):
    frames = list(read_frames(synthetic(tmp_path / "a.mp4", seconds="0.2"), max_size=max_size))
    assert {frame.shape for frame in frames} == {shape}


def test_odd_sizes_are_read_as_they_are(tmp_path):
    path = synthetic(tmp_path / "odd.mkv", "-vf", "scale=63:47", "-c:v", "ffv1")
    assert next(read_frames(path)).shape == (47, 63, 3)


def test_reading_may_stop_early(tmp_path, monkeypatch):
    path = synthetic(tmp_path / "a.mp4", size="640x480", seconds="20")
    started = []

    class RecordedPopen(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", RecordedPopen)
    frames = read_frames(path)
    first, second = next(frames), next(frames)
    frames.close()
    assert [decoder.returncode for decoder in started] == [-signal.SIGKILL]  # killed, not decoded to the end
    assert not np.shares_memory(first, second)


def test_a_cover_picture_is_not_a_video(tmp_path):
    sound = sound_file(tmp_path / "a.wav")
    cover = tmp_path / "cover.png"
    run_ffmpeg("-f", "lavfi", "-i", "color=size=64x48:duration=1", "-frames:v", "1", cover)
    song = tmp_path / "song.mp3"
    run_ffmpeg("-i", sound, "-i", cover, "-map", "0", "-map", "1", "-disposition:v", "attached_pic", song)
    with pytest.raises(TalkfaceError, match="has no picture"):
        probe(song)
    assert load_speech(song).duration == pytest.approx(1.5, abs=0.03)


def test_a_file_that_is_not_a_video_is_refused_with_the_reason(tmp_path):
    whole = synthetic(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.mp4").write_text("This is a letter and no video.\n" * 50)
    (tmp_path / "empty.mp4").touch()
    sound_file(tmp_path / "sound.wav")
    for name, words in {
        "cut.mp4": "cannot be decoded as video: moov atom not found",
        "text.mp4": "cannot be decoded as video",
        "empty.mp4": "is empty",
        "sound.wav": "has no picture, only sound",
        "missing.mp4": "There is no file",
        ".": "is a folder",
    }.items():
        for look in (probe, lambda path: next(read_frames(path))):
            with pytest.raises(TalkfaceError, match=words) as error:
                look(tmp_path / name)
            assert error.value.fix


def test_a_truncated_video_is_read_as_far_as_it_goes(tmp_path):
    whole = synthetic(tmp_path / "whole.mpg", "-c:v", "mpeg1video", size="320x240").read_bytes()
    (tmp_path / "cut.mpg").write_bytes(whole[: len(whole) // 2])
    assert 10 < sum(1 for _ in read_frames(tmp_path / "cut.mpg")) < 40


@pytest.mark.parametrize(
    "ending,fps",
    [("wav", 25), ("wav", "30000/1001"), ("mp3", "24000/1001"), ("wav", 12.5), ("m4a", 60), ("flac", 25), ("ogg", 25)],
)
def test_a_video_has_ceil_of_duration_times_fps_frames_and_the_length_of_its_sound(tmp_path, ending, fps):
    sound = sound_file(tmp_path / f"speech.{ending}")
    duration = load_speech(sound).duration
    path = write(tmp_path / "out.mp4", frame_count(duration, fps), fps=fps, audio=sound)
    info = probe(path)
    assert info.fps == Fraction(fps)
    assert frames_in(path) == frame_count(duration, fps)
    assert 0 <= info.duration - duration < 1 / info.fps
    heard = load_speech(path)
    assert heard.channels == 2
    assert heard.duration == pytest.approx(duration, abs=0.024)  # older ffmpeg plays AAC's last packet to its end


@pytest.mark.parametrize("ending,codec", [("m4a", "aac"), ("mp3", "mp3"), ("wav", "aac"), ("flac", "aac")])
def test_audio_that_every_player_plays_is_copied_exactly(tmp_path, ending, codec):
    sound = sound_file(tmp_path / f"speech.{ending}")
    path = write(tmp_path / "out.mp4", 38, audio=sound)
    assert f"Audio: {codec}" in run_ffmpeg("-i", path)

    def packets(file):
        command = [ffmpeg_exe(), "-v", "error", "-i", file, "-map", "0:a", "-c", "copy", "-f", "data", "-"]
        return subprocess.run(command, capture_output=True, check=True).stdout

    assert (packets(path) == packets(sound)) == (ending in ("m4a", "mp3"))


@pytest.mark.parametrize("ending", ["mp3", "m4a", "wav"])
def test_audio_keeps_its_position_in_time(tmp_path, ending):
    sound = sound_file(tmp_path / f"speech.{ending}")
    before = load_speech(sound).mfcc[:, 0]
    after = load_speech(write(tmp_path / "out.mp4", 38, audio=sound)).mfcc[:, 0]
    agreement = [np.corrcoef(before[10:130], after[10 + lag : 130 + lag])[0, 1] for lag in range(-5, 6)]
    assert np.argmax(agreement) == 5
    assert agreement[5] > 0.98


@pytest.mark.parametrize("rate,channels", [(8000, 1), (11_025, 1), (96_000, 2), (48_000, 6)])
def test_audio_of_any_rate_and_channels_is_written(tmp_path, rate, channels):
    sound = sound_file(tmp_path / "speech.wav", 1.0, rate, channels)
    heard = load_speech(write(tmp_path / "out.mp4", 25, audio=sound))
    assert heard.duration == pytest.approx(1.0, abs=0.13)  # a packet of AAC at 8 kHz
    assert heard.channels == channels


def test_mp3_of_a_low_rate_is_encoded_as_aac(tmp_path):
    sound = sound_file(tmp_path / "speech.mp3", 1.0, 8000, 1)
    assert "Audio: aac" in run_ffmpeg("-i", write(tmp_path / "out.mp4", 25, audio=sound))


@pytest.mark.parametrize("channels, written", [(9, 1), (10, 2), (11, 1), (16, 2)])
def test_audio_of_more_channels_than_aac_has_is_mixed(tmp_path, channels, written):
    sound = sound_file(tmp_path / "speech.wav", 1.0, 16_000, channels)
    speech = load_speech(write(tmp_path / "out.mp4", 25, audio=sound))
    assert speech.channels == written
    assert speech.duration == pytest.approx(1.0, abs=0.07)
    assert speech.level_db > -30


def test_ambisonic_audio_is_written_as_mono(tmp_path):
    sound = sound_file(tmp_path / "speech.wav", 1.0, 48_000, 1)
    options = ["-af", "pan=ambisonic 1|c0=c0|c1=c0|c2=c0|c3=c0", "-c:a", "libopus", "-mapping_family", "2"]
    run_ffmpeg("-i", sound, *options, tmp_path / "field.opus")
    assert load_speech(write(tmp_path / "out.mp4", 25, audio=tmp_path / "field.opus")).channels == 1


def test_the_audio_track_is_the_requested_one_or_the_default_one(tmp_path):
    for name, seconds in {"first": 1.0, "second": 2.0}.items():
        sound_file(tmp_path / f"{name}.wav", seconds)
    tracks = ["-map", "0", "-map", "1", "-disposition:a:0", "0", "-disposition:a:1", "default"]
    run_ffmpeg("-i", tmp_path / "first.wav", "-i", tmp_path / "second.wav", *tracks, tmp_path / "both.mka")
    durations = {
        track: load_speech(write(tmp_path / "out.mp4", 50, audio=tmp_path / "both.mka", audio_track=track)).duration
        for track in (None, 1, 2)
    }
    assert durations == pytest.approx({None: 2.0, 1: 1.0, 2: 2.0}, abs=0.03)
    with pytest.raises(TalkfaceError, match=r"--track 3: both\.mka has 2 audio tracks"):
        VideoWriter(tmp_path / "out.mp4", 64, 48, audio=tmp_path / "both.mka", audio_track=3)


def test_the_video_has_the_format_that_every_player_plays(tmp_path):
    path = write(tmp_path / "out.mp4", 10)
    said = run_ffmpeg("-i", path)
    assert "Video: h264" in said
    assert "yuv420p(tv, bt709" in said
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("colour", [(200, 30, 60), (20, 180, 90), (224, 172, 150), (255, 255, 255), (0, 0, 0)])
def test_colours_are_preserved(tmp_path, colour):
    path = tmp_path / "out.mp4"
    with VideoWriter(path, 64, 48, crf=1) as video:
        for _ in range(5):
            video.write(flat(colour))
    for frame in read_frames(path):
        np.testing.assert_allclose(frame.reshape(-1, 3).mean(axis=0), colour, atol=2)


def test_the_mark_says_that_the_video_is_synthetic_and_can_be_left_out(tmp_path):
    marked = run_ffmpeg("-i", write(tmp_path / "a.mp4", 2, metadata={"artist": "Ann = Bob"}))
    assert "Synthetic video made with talkface" in marked
    assert "comment         : Synthetic" in marked
    assert "Ann = Bob" in marked
    assert "ynthetic" not in run_ffmpeg("-i", write(tmp_path / "b.mp4", 2, mark=False))


@pytest.mark.parametrize("name", ['-my "video" é.mp4', "a b's.mp4", "50%d.mp4", "no_ending", "c:d.mp4", "upper.MP4"])
def test_output_names_are_taken_literally(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(name, 3)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert frames_in(tmp_path / name) == 3


def test_an_existing_video_is_replaced_by_the_complete_one(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_text("old")
    with VideoWriter(path, 64, 48) as video:
        video.write(flat(0))
        assert path.read_text() == "old"
    assert frames_in(path) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, GeneratorExit])
def test_an_exception_in_the_block_leaves_no_partial_file(tmp_path, error):
    path = tmp_path / "out.mp4"
    path.write_text("old")

    def go_wrong():
        with VideoWriter(path, 64, 48) as video:
            video.write(flat(0))
            raise error

    with pytest.raises(error):
        go_wrong()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("out.mp4", "old")]


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent otherwise there")
def test_ctrl_c_leaves_no_partial_file(tmp_path):
    code = """
import signal, sys, numpy as np
from talkface.media.video import VideoWriter
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background may have it ignored
with VideoWriter(sys.argv[1], 640, 480) as video:
    print("go", flush=True)
    while True:
        video.write(np.zeros((480, 640, 3), np.uint8))
"""
    command = [sys.executable, "-c", code, str(tmp_path / "out.mp4")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout.readline() == b"go\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert b"KeyboardInterrupt" in said
    assert process.returncode != 0
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_clear_error(tmp_path, monkeypatch):
    script = tmp_path / "full-disk"
    script.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "sys.stdin.buffer.read(100_000)\n"
        "print('[out#0/mp4 @ 0x5] Error muxing a packet: No space left on device', file=sys.stderr)\n"
        "print('Conversion failed!', file=sys.stderr)\n"
        "sys.exit(228)\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(running, "ffmpeg_exe", lambda: str(script))
    folder = tmp_path / "videos"
    folder.mkdir()
    with pytest.raises(TalkfaceError, match=r"out\.mp4 cannot be written: No space left on device") as error:
        write(folder / "out.mp4", 1000, 640, 480)
    assert "space" in error.value.fix
    assert list(folder.iterdir()) == []


def test_a_failure_of_the_encoder_is_not_blamed_on_the_disk(tmp_path, monkeypatch):
    script = tmp_path / "broken-encoder"
    script.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "sys.stdin.buffer.read(100_000)\n"
        "print('[aac @ 0x5] Unsupported channel layout', file=sys.stderr)\n"
        "sys.exit(234)\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(running, "ffmpeg_exe", lambda: str(script))
    with pytest.raises(TalkfaceError, match=r"out\.mp4 cannot be encoded: Unsupported channel layout") as error:
        write(tmp_path / "out.mp4", 1000, 640, 480)
    assert "disk" not in error.value.fix


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of this kind there")
def test_a_video_larger_than_the_file_size_limit_is_one_clear_error(tmp_path):
    code = """
import resource, sys, numpy as np
from talkface.errors import TalkfaceError
from talkface.media.video import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
try:
    with VideoWriter(sys.argv[1], 640, 480) as video:
        for _ in range(300):
            video.write(noise)
except TalkfaceError as error:
    print(error)
"""
    out = tmp_path / "out.mp4"
    run = subprocess.run([sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.startswith(f"{out} cannot be written: ")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_an_error_before_the_first_frame(tmp_path):
    for place, words in [("missing/out.mp4", "No such file"), (".", "is a folder"), ("x" * 255 + ".mp4", "too long")]:
        with pytest.raises(TalkfaceError, match=words):
            write(tmp_path / place, 1)
    assert list(tmp_path.iterdir()) == []


def test_an_audio_file_without_sound_is_an_error_before_the_first_frame(tmp_path):
    with pytest.raises(TalkfaceError, match=r"mute\.mp4 has no sound"):
        write(tmp_path / "out.mp4", 1, audio=synthetic(tmp_path / "mute.mp4"))
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("width,height", [(63, 48), (64, 47), (0, 0)])
def test_odd_sizes_are_refused(tmp_path, width, height):
    with pytest.raises(ValueError, match="must be even"):
        VideoWriter(tmp_path / "out.mp4", width, height)


@pytest.mark.parametrize(
    "frame", [np.zeros((48, 64, 3)), np.zeros((48, 62, 3), np.uint8), np.zeros((48, 64), np.uint8)]
)
def test_frames_of_another_shape_or_type_are_refused(tmp_path, frame):
    with pytest.raises(ValueError, match="a frame has shape"), VideoWriter(tmp_path / "out.mp4", 64, 48) as video:
        video.write(frame)


def test_the_same_frames_make_the_same_file(tmp_path):
    first, second = (write(tmp_path / f"{name}.mp4", 20).read_bytes() for name in "ab")
    assert first == second


def test_video_infos_with_equal_values_are_equal():
    info = VideoInfo(640, 480, Fraction(25), 2.0, None)
    assert not info.has_audio
    assert info == VideoInfo(640, 480, Fraction(25), 2.0, None)


def test_every_error_of_the_decoder_is_reported_and_an_intact_file_has_none(tmp_path):
    path = synthetic(tmp_path / "a.mp4")
    errors = []
    assert sum(1 for _ in read_frames(path, on_error=lambda: errors.append("whole"))) == 50
    assert errors == []
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : 2 * third] = np.random.default_rng(0).bytes(third)
    path.write_bytes(data)
    assert sum(1 for _ in read_frames(path, on_error=lambda: errors.append("damaged"))) == 50
    assert len(errors) > 10
