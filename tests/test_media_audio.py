"""Speech from any recording: MFCC that agree with librosa, at a normalised level, synchronous with the frames."""

import re
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import librosa
import numpy as np
import pytest

from talkface.errors import TalkfaceError
from talkface.media import decode
from talkface.media.audio import SILENT_LEVEL, load_speech, load_waveform, mfcc_of, speech_energy
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.media.timing import exact_rate, frame_count
from talkface.media.windows import SILENCE


def voice(seconds: float, rate: int = 5000, pitch: float = 120.0, seed: int = 0) -> np.ndarray:
    """Audio similar to speech: harmonics of a pitch, in syllables, with some noise. float32 in [-1, 1]."""
    time = np.arange(round(seconds * rate)) / rate
    harmonics = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 12))
    noise = np.random.default_rng(seed).normal(size=len(time))
    return (0.2 * (np.sin(2 * np.pi * 3 * time) ** 2) * (harmonics + 0.1 * noise)).astype(np.float32)


def wav_bytes(sound: np.ndarray, rate: int, channels: int = 1, lies: dict[str, int] | None = None) -> bytes:
    """A wav file of float32 or int16 samples; `lies` are wrong values for its header."""
    data = np.ascontiguousarray(sound).tobytes()
    width = sound.dtype.itemsize
    true = {"size": len(data), "rate": rate, "channels": channels, "kind": 3 if sound.dtype.kind == "f" else 1}
    said = true | (lies or {})
    frame = channels * width
    head = struct.pack("<IHHII", 16, said["kind"], said["channels"], said["rate"], rate * frame)
    head += struct.pack("<HH", frame, 8 * width)
    size = min(said["size"], 0xFFFFFFFF)
    return (
        b"RIFF"
        + struct.pack("<I", min(36 + size, 0xFFFFFFFF))
        + b"WAVEfmt "
        + head
        + b"data"
        + struct.pack("<I", size)
        + data
    )


def save_wav(path, sound, rate=5000, channels=1, lies=None):
    path.write_bytes(wav_bytes(sound, rate, channels, lies))
    return path


def pcm16(sound: np.ndarray) -> np.ndarray:
    return np.round(sound * 32767).astype("<i2")


def convert(source, target, *options):
    command = [ffmpeg_exe(), "-v", "error", "-y", "-i", f"file:{source}", *options, f"file:{target}"]
    subprocess.run(command, check=True)
    return target


def mfcc_at_once(sound: np.ndarray) -> np.ndarray:
    """An independent implementation of the features: all at once, with librosa; (steps, 13)."""
    power = librosa.feature.melspectrogram(y=sound, sr=5000, n_fft=256, hop_length=50, win_length=125, n_mels=26)
    decibels = 10 * np.log10(np.maximum(power, 1e-13))
    loudest = decibels.max(axis=0)
    spoken = loudest[loudest >= np.sort(loudest)[-min(10, len(loudest))] - 30]
    decibels = np.clip(decibels - np.percentile(spoken, 95), -50, 15)
    return librosa.feature.mfcc(S=decibels, n_mfcc=13).T / 50


@pytest.mark.filterwarnings("ignore:n_fft=256 is too large")
@pytest.mark.parametrize("seconds", [0.05, 1.0, 1.2345, 30.0])
def test_mfcc_computed_in_blocks_equal_those_of_the_whole_recording(tmp_path, seconds):
    sound = voice(seconds)
    speech = load_speech(save_wav(tmp_path / "speech.wav", sound))
    assert speech.mfcc.shape == (1 + len(sound) // 50, 13)
    assert speech.mfcc.dtype == np.float32
    np.testing.assert_allclose(speech.mfcc, mfcc_at_once(sound), atol=1e-4)


@pytest.mark.filterwarnings("ignore:n_fft=256 is too large")  # librosa, about sounds shorter than a window
@pytest.mark.parametrize("length", [1, 127, 128, 255, 256, 257, 5000, 70_001])
@pytest.mark.parametrize("block", [1000, 65_536])
def test_the_mfcc_do_not_depend_on_the_length_of_the_blocks(tmp_path, monkeypatch, length, block):
    monkeypatch.setattr(decode, "BLOCK", block)
    sound = np.random.default_rng(length).normal(size=length).astype(np.float32)
    speech = load_speech(save_wav(tmp_path / "speech.wav", sound))
    np.testing.assert_allclose(speech.mfcc, mfcc_at_once(sound), atol=1e-4)


def test_loudness_has_no_effect(tmp_path):
    loud, soft = voice(3.0), voice(3.0) * np.float32(10 ** (-30 / 20))
    a, b = (load_speech(save_wav(tmp_path / f"{i}.wav", x)) for i, x in enumerate((loud, soft)))
    np.testing.assert_allclose(a.mfcc, b.mfcc, atol=1e-3)
    assert a.level_db - b.level_db == pytest.approx(30, abs=0.01)


def test_loudness_has_little_effect_after_rounding_to_16_bits(tmp_path):
    loud, soft = pcm16(voice(3.0)), pcm16(voice(3.0) * 0.0316)
    a, b = (load_speech(save_wav(tmp_path / f"{i}.wav", x)) for i, x in enumerate((loud, soft)))
    assert np.median(np.abs(a.mfcc - b.mfcc)) < 2e-3
    assert np.abs(a.mfcc - b.mfcc).max() < 0.2


def test_a_long_pause_does_not_change_the_level_of_a_short_sentence(tmp_path):
    hiss = np.random.default_rng(1).normal(size=60 * 5000).astype(np.float32) * 1e-3
    late = hiss.copy()
    late[-2 * 5000 :] += voice(2.0)
    alone = load_speech(save_wav(tmp_path / "alone.wav", voice(2.0) + hiss[-2 * 5000 :]))
    paused = load_speech(save_wav(tmp_path / "paused.wav", late))
    assert paused.level_db == pytest.approx(alone.level_db, abs=0.5)


@pytest.mark.parametrize(
    "sound", [np.zeros(5000, "<i2"), np.tile([1, -1], 2500).astype("<i2")], ids=["zeros", "dither"]
)
def test_digital_silence_and_dither_are_silence_with_a_note(tmp_path, sound):
    speech = load_speech(save_wav(tmp_path / "silence.wav", sound))
    assert np.abs(speech.mfcc - SILENCE).max() < 1e-5
    (note,) = speech.notes
    assert re.fullmatch(r"silence\.wav is silent \(-\d+ dB\): the mouth stays closed\.", note)


def test_silence_has_every_band_at_the_floor():
    np.testing.assert_allclose(
        SILENCE, librosa.feature.mfcc(S=np.full((26, 1), -50.0), n_mfcc=13)[:, 0] / 50, atol=1e-6
    )


def test_samples_that_are_not_finite_are_silence(tmp_path):
    sound = voice(1.0)
    sound[2000:2100] = np.nan
    sound[3000] = np.inf
    assert np.isfinite(load_speech(save_wav(tmp_path / "nan.wav", sound)).mfcc).all()


@pytest.mark.parametrize("rate,channels", [(8000, 1), (16_000, 1), (44_100, 2), (48_000, 6), (11_025, 1), (96_000, 2)])
def test_rate_and_channels_have_no_effect_on_the_features(tmp_path, rate, channels):
    sound = np.repeat(voice(1.5, rate)[:, None], channels, axis=1)
    speech = load_speech(save_wav(tmp_path / "speech.wav", sound, rate, channels))
    assert (speech.sample_rate, speech.channels) == (rate, channels)
    assert speech.duration == pytest.approx(len(sound) / rate, abs=1e-9)
    reference = load_speech(save_wav(tmp_path / "mono.wav", voice(1.5, rate), rate)).mfcc
    assert np.median(np.abs(speech.mfcc - reference)) < 0.02


@pytest.mark.parametrize("ending", ["mp3", "m4a", "flac", "ogg", "mka", "aif"])
def test_all_common_formats_give_similar_features(tmp_path, ending):
    source = save_wav(tmp_path / "speech.wav", pcm16(voice(2.0, 44_100)), 44_100)
    speech, original = load_speech(convert(source, tmp_path / f"speech.{ending}")), load_speech(source)
    assert speech.duration == pytest.approx(2.0, abs=0.03)
    assert speech.sample_rate == 44_100
    steps = min(len(speech.mfcc), len(original.mfcc))
    loudness = [x.mfcc[:steps, 0] - x.mfcc[:steps, 0].mean() for x in (speech, original)]
    assert np.corrcoef(*loudness)[0, 1] > 0.98
    lags = [np.dot(loudness[0][10:-10], loudness[1][10 + lag : steps - 10 + lag]) for lag in range(-5, 6)]
    assert np.argmax(lags) == 5  # synchronous within 10 ms


@pytest.mark.parametrize(
    "name", ['-my "speech" é.WAV', "a b's.wav", "sound%03d.wav", "no_ending", "c:d.wav", "$HOME.wav"]
)
def test_file_names_are_taken_literally(tmp_path, monkeypatch, name):
    save_wav(tmp_path / name, voice(0.5))
    monkeypatch.chdir(tmp_path)
    assert load_speech(name).duration == pytest.approx(0.5)


def test_the_content_determines_the_format_and_not_the_name(tmp_path):
    assert load_speech(save_wav(tmp_path / "speech.mp3", voice(0.5))).duration == pytest.approx(0.5)


def test_no_silence_is_added_between_joined_recordings_of_different_formats(tmp_path):
    mono = convert(save_wav(tmp_path / "a.wav", voice(1.2, 44_100), 44_100), tmp_path / "a.mp3", "-ac", "1")
    stereo = convert(save_wav(tmp_path / "b.wav", voice(1.5, 44_100), 44_100), tmp_path / "b.mp3", "-ac", "2")
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(mono.read_bytes() + stereo.read_bytes())
    assert load_speech(joined).duration == pytest.approx(2.7, abs=0.1)


def test_audio_that_begins_after_its_picture_is_preceded_by_silence(tmp_path):
    sound = save_wav(tmp_path / "speech.wav", pcm16(voice(1.0, 16_000)), 16_000)
    video = tmp_path / "late.mkv"
    options = ["-f", "lavfi", "-i", "color=size=64x64:rate=25:duration=2", "-itsoffset", "0.5", "-i", str(sound)]
    subprocess.run([ffmpeg_exe(), "-v", "error", *options, "-c:a", "pcm_s16le", str(video)], check=True)
    speech = load_speech(video)
    assert speech.duration == pytest.approx(1.5, abs=0.002)
    np.testing.assert_allclose(speech.mfcc[:45], np.tile(SILENCE, (45, 1)), atol=1e-5)
    np.testing.assert_allclose(speech.mfcc[55:140], load_speech(sound).mfcc[5:90], atol=0.05)


@pytest.mark.parametrize("size", [0, 10**9, 0xFFFFFFFF])
def test_a_wrong_length_in_the_header_is_ignored(tmp_path, size):
    path = save_wav(tmp_path / "lying.wav", pcm16(voice(2.0, 8000)), 8000, lies={"size": size})
    assert load_speech(path).duration == pytest.approx(2.0)


@pytest.mark.parametrize("lies", [{"rate": 0}, {"rate": 1}, {"channels": 0}, {"kind": 99}], ids=str)
def test_an_impossible_header_is_a_clear_error(tmp_path, lies):
    path = save_wav(tmp_path / "lying.wav", pcm16(voice(2.0, 8000)), 8000, lies=lies)
    with pytest.raises(TalkfaceError, match=r"lying\.wav"):
        load_speech(path)


def test_a_truncated_recording_is_read_as_far_as_it_goes(tmp_path):
    whole = wav_bytes(pcm16(voice(2.0, 8000)), 8000)
    (tmp_path / "cut.wav").write_bytes(whole[: 44 + 8001])
    assert load_speech(tmp_path / "cut.wav").duration == pytest.approx(0.5)


def test_an_m4a_without_its_index_is_a_clear_error(tmp_path):
    whole = convert(save_wav(tmp_path / "a.wav", pcm16(voice(3.0, 44_100)), 44_100), tmp_path / "whole.m4a")
    (tmp_path / "cut.m4a").write_bytes(whole.read_bytes()[:9000])
    with pytest.raises(TalkfaceError, match=r"cut\.m4a cannot be decoded as sound: moov atom not found"):
        load_speech(tmp_path / "cut.m4a")


def test_a_file_without_sound_is_refused_with_the_reason(tmp_path):
    save_wav(tmp_path / "nothing.wav", np.zeros(0, "<i2"))
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("This is a letter and no recording.\n" * 50)
    video = ["-f", "lavfi", "-i", "color=size=64x64:rate=25:duration=1", str(tmp_path / "mute.mp4")]
    subprocess.run([ffmpeg_exe(), "-v", "error", *video], check=True)
    for name, words in {
        "nothing.wav": "has no sound",
        "empty.wav": "is empty",
        "mute.mp4": "has no sound",
        "text.wav": "cannot be decoded as sound",
        "missing.wav": "There is no file",
        ".": "is a folder",
    }.items():
        with pytest.raises(TalkfaceError, match=words) as error:
            load_speech(tmp_path / name)
        assert error.value.fix


def level_db(sound: np.ndarray) -> float:
    return 10 * float(np.log10(np.mean(sound.astype(np.float64) ** 2)))


def test_a_waveform_at_its_own_rate_has_the_samples_of_the_recording(tmp_path):
    sound = voice(1.5, 16_000)
    waveform = load_waveform(save_wav(tmp_path / "speech.wav", sound, 16_000))
    assert waveform.dtype == np.float32
    np.testing.assert_allclose(waveform, sound, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_a_waveform_has_the_length_level_and_samples_of_a_direct_resample(tmp_path, rate):
    sound = voice(1.5, rate)
    waveform = load_waveform(save_wav(tmp_path / "speech.wav", sound, rate))
    expected = librosa.resample(sound, orig_sr=rate, target_sr=16_000)
    assert len(waveform) == pytest.approx(24_000, abs=2)
    assert level_db(waveform) == pytest.approx(level_db(expected), abs=0.05)
    count = min(len(waveform), len(expected))
    error = waveform[:count] - expected[:count]
    assert level_db(error[200:-200]) < level_db(expected) - 30  # the resamplers differ in their low-pass filters


def test_a_waveform_is_the_mix_of_two_channels_with_equal_power(tmp_path):
    left, right = voice(1.0, 16_000), voice(1.0, 16_000, pitch=200.0)
    path = save_wav(tmp_path / "speech.wav", np.stack([left, right], 1), 16_000, 2)
    np.testing.assert_allclose(load_waveform(path), (left + right) / np.sqrt(2), atol=1e-6)


def test_a_waveform_begins_at_time_zero_of_the_file(tmp_path):
    sound = save_wav(tmp_path / "speech.wav", pcm16(voice(1.0, 16_000)), 16_000)
    late = tmp_path / "late.mkv"
    options = ["-f", "lavfi", "-i", "color=size=64x64:rate=25:duration=2", "-itsoffset", "0.5", "-i", str(sound)]
    subprocess.run([ffmpeg_exe(), "-v", "error", *options, "-c:a", "pcm_s16le", str(late)], check=True)
    waveform = load_waveform(late)
    assert len(waveform) == pytest.approx(24_000, abs=20)
    assert np.abs(waveform[:7900]).max() == 0


@pytest.mark.parametrize("channels", [9, 11])
def test_channels_at_unknown_positions_are_averaged(tmp_path, channels):
    sound = np.stack([voice(1.0, 16_000, pitch=100.0 + 20 * i) for i in range(channels)], 1)
    path = save_wav(tmp_path / "many.wav", sound, 16_000, channels)
    np.testing.assert_allclose(load_waveform(path), sound.mean(1), atol=1e-4)
    assert load_speech(path).channels == channels


def test_ten_channels_are_read(tmp_path):
    sound = np.repeat(voice(1.0, 16_000)[:, None], 10, 1)
    speech = load_speech(save_wav(tmp_path / "ten.wav", sound, 16_000, 10))
    assert (speech.channels, speech.notes) == (10, ())
    assert speech.level_db > -30


def test_ambisonic_audio_is_reduced_to_its_omnidirectional_channel(tmp_path):
    source = save_wav(tmp_path / "speech.wav", pcm16(voice(1.0, 48_000)), 48_000)
    pan = "pan=ambisonic 1|c0=c0|c1=0*c0|c2=0*c0|c3=0*c0"
    convert(source, tmp_path / "field.opus", "-af", pan, "-c:a", "libopus", "-mapping_family", "2")
    speech = load_speech(tmp_path / "field.opus")
    assert speech.channels == 4
    assert speech.level_db == pytest.approx(load_speech(source).level_db, abs=1)


def tracks(path, *sounds, default=None):
    """An mkv with one audio track for each sound (16 kHz); the one at index `default` is marked as default."""
    options = []
    for index, sound in enumerate(sounds):
        options += ["-i", save_wav(path.with_name(f"track{index}.wav"), sound, 16_000)]
    for index in range(len(sounds)):
        options += ["-map", str(index), f"-disposition:a:{index}", "default" if index == default else "0"]
        options += [f"-metadata:s:a:{index}", f"language={('eng', 'fra', 'deu')[index]}"]
    command = [ffmpeg_exe(), "-v", "error", "-y", *map(str, options), "-c:a", "pcm_f32le", str(path)]
    subprocess.run(command, check=True)
    return path


@pytest.mark.parametrize("default, number", [(None, 1), (0, 1), (1, 2), (2, 3)])
def test_the_default_track_is_used_with_a_note(tmp_path, default, number):
    sounds = [voice(1.0 + index / 2, 16_000) for index in range(3)]
    path = tracks(tmp_path / "film.mkv", *sounds, default=default)
    speech = load_speech(path)
    assert speech.track == number
    assert speech.duration == pytest.approx(len(sounds[number - 1]) / 16_000, abs=0.002)
    (note,) = speech.notes
    assert "film.mkv has 3 audio tracks" in note
    assert f"number {number} ({('eng', 'fra', 'deu')[number - 1]}) is used (see --track)" in note


def test_a_track_is_selected_by_its_number_without_a_note(tmp_path):
    path = tracks(tmp_path / "film.mkv", voice(1.0, 16_000), voice(1.5, 16_000), default=0)
    speech = load_speech(path, track=2)
    assert (speech.track, speech.notes) == (2, ())
    assert speech.duration == pytest.approx(1.5, abs=0.002)


@pytest.mark.parametrize("number", [0, -1, 3])
def test_a_track_that_does_not_exist_is_a_clear_error(tmp_path, number):
    path = tracks(tmp_path / "film.mkv", voice(0.5, 16_000), voice(0.5, 16_000))
    with pytest.raises(TalkfaceError, match=f"--track {number}: film.mkv has 2 audio tracks") as error:
        load_speech(path, track=number)
    assert error.value.fix


def test_channels_that_cancel_each_other_are_replaced_by_the_loudest_one(tmp_path):
    sound = voice(2.0, 16_000)
    opposite = np.stack([0.5 * sound, -0.49 * sound], 1)
    speech = load_speech(save_wav(tmp_path / "opposite.wav", opposite, 16_000, 2))
    alone = load_speech(save_wav(tmp_path / "alone.wav", 0.5 * sound, 16_000))
    np.testing.assert_allclose(speech.mfcc, alone.mfcc, atol=1e-4)
    assert speech.level_db == pytest.approx(alone.level_db, abs=0.01)
    (note,) = speech.notes
    assert "opposite.wav would be more than 20 dB softer when mixed; channel 1 is used alone" in note
    np.testing.assert_allclose(load_waveform(tmp_path / "opposite.wav"), 0.5 * sound, atol=1e-6)


def test_speech_in_one_channel_of_two_is_mixed_as_usual(tmp_path):
    sound = np.stack([np.zeros(16_000, np.float32), voice(1.0, 16_000)], 1)
    path = save_wav(tmp_path / "right.wav", sound, 16_000, 2)
    assert load_speech(path).notes == ()
    np.testing.assert_allclose(load_waveform(path), sound[:, 1] / np.sqrt(2), atol=1e-6)


def test_loud_ultrasound_in_one_channel_does_not_replace_the_mix(tmp_path):
    """The channel is more than 20 dB louder than the mix, but not at frequencies below 2.5 kHz."""
    sound = 0.01 * voice(1.0, 48_000)
    hiss = sound + 0.9 * np.sin(2 * np.pi * 21_000 * np.arange(48_000) / 48_000).astype(np.float32)
    path = save_wav(tmp_path / "hiss.wav", np.stack([sound, hiss], 1), 48_000, 2)
    speech = load_speech(path)
    assert speech.level_db > SILENT_LEVEL
    assert speech.notes == ()


def test_the_frame_count_covers_the_duration_and_no_more():
    assert frame_count(1.2, 25) == 30
    assert frame_count(1.2 + 1e-12, 25) == 30
    assert frame_count(1.2001, 25) == 31
    assert frame_count(0.28, 25) == 7
    assert frame_count(0.05, 25) == 2
    assert frame_count(1.001, Fraction(30_000, 1001)) == 30
    assert frame_count(0.0, 25) == 1


@pytest.mark.parametrize(
    "meant,exact",
    [
        (29.97, Fraction(30_000, 1001)),
        ("23.976", Fraction(24_000, 1001)),
        (59.94, Fraction(60_000, 1001)),
        (25, 25),
        (12.5, Fraction(25, 2)),
        ("30000/1001", Fraction(30_000, 1001)),
        (30.0, 30),
        (23.98, Fraction(24_000, 1001)),
    ],
)
def test_a_frame_rate_is_an_exact_fraction(meant, exact):
    assert exact_rate(meant) == exact


def test_the_energy_is_that_of_the_band_of_speech(tmp_path):
    time = np.arange(32_000) / 16_000
    sound = 0.5 * np.sin(2 * np.pi * 1000 * time) * (time > 1) + 0.5 * np.sin(2 * np.pi * 60 * time)
    energy = speech_energy(save_wav(tmp_path / "tone.wav", sound.astype(np.float32), 16_000))
    assert energy.shape == (201,)
    # A tone of amplitude a in a Hann window of 400 samples: sum over bins |X|^2 = 512 a^2/4 sum(w^2), one side.
    expected = 10 * np.log10(512 * 0.25 / 4 * (3 / 8) * 400)
    np.testing.assert_allclose(energy[110:190], expected, atol=0.1)
    assert energy[10:90].max() < expected - 40


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_a_long_recording_needs_no_more_memory_than_its_features(tmp_path):
    code = """
import re, sys
from pathlib import Path
from talkface.media.audio import load_speech
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
load_speech(sys.argv[1])
before = peak()
assert load_speech(sys.argv[2]).mfcc.shape == (12001, 13)
print(peak() - before)
"""
    short = save_wav(tmp_path / "short.wav", pcm16(voice(20.0, 44_100)), 44_100)
    minutes = save_wav(tmp_path / "long.wav", np.tile(pcm16(voice(20.0, 44_100)), 6), 44_100)
    run = subprocess.run([sys.executable, "-c", code, short, minutes], capture_output=True, text=True, check=True)
    assert int(run.stdout) * 1024 < 8e6  # as samples at 44.1 kHz: 21 MB


@pytest.mark.parametrize("seconds", [0.05, 20.0])
def test_samples_in_memory_have_the_mfcc_of_a_recording_of_them(tmp_path, seconds):
    sound = voice(seconds, 20_000)
    recorded = load_speech(save_wav(tmp_path / "a.wav", sound, 20_000)).mfcc
    assert np.array_equal(mfcc_of(sound, 20_000), recorded)
