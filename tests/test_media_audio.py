"""Speech from any recording: MFCC that agree with librosa, at a normalised level, synchronous with the frames."""

import re
import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
from recordings import convert, pcm16, save_wav, voice, wav_bytes

from talkface.errors import TalkfaceError
from talkface.media import decode
from talkface.media.audio import load_speech, load_waveform, mfcc_of, speech_energy
from talkface.media.decode import stream_audio
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.media.windows import SILENCE


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


@pytest.mark.parametrize("damage", [3e38, -1e20])
def test_samples_that_are_huge_are_silence(tmp_path, damage):
    sound = voice(1.0)
    sound[1000:1010] = damage
    speech = load_speech(save_wav(tmp_path / "huge.wav", sound))
    assert np.isfinite(speech.mfcc).all()
    assert np.isfinite(speech.level_db)


def test_floats_on_the_scale_of_integers_are_like_all_others(tmp_path):
    sound = voice(1.0)
    large = load_speech(save_wav(tmp_path / "large.wav", sound * np.float32(2**31)))
    np.testing.assert_allclose(large.mfcc, load_speech(save_wav(tmp_path / "usual.wav", sound)).mfcc, atol=1e-3)


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
    speech = load_speech(joined)
    assert speech.duration == pytest.approx(2.7, abs=0.1)
    streamed = sum(map(len, stream_audio(joined, 16_000, downmix=speech.downmix)))
    assert streamed == pytest.approx(16_000 * speech.duration, abs=160)  # each part is resampled by itself


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


def test_a_damaged_recording_is_read_with_a_note_that_counts_the_errors_of_its_decoder(tmp_path):
    mp3 = convert(save_wav(tmp_path / "a.wav", pcm16(voice(4.0, 44_100)), 44_100), tmp_path / "a.mp3")
    assert load_speech(mp3).notes == ()
    damaged = bytearray(mp3.read_bytes())
    for place in range(5000, len(damaged), 400):
        damaged[place : place + 40] = bytes(40)
    mp3.write_bytes(damaged)
    (note,) = load_speech(mp3).notes
    assert re.fullmatch(r"a\.mp3 is damaged: its decoder reports \d+ errors\. Parts may be missing\.", note)


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
