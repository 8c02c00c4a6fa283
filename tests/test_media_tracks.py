"""Audio with several channels or tracks: what is heard of it."""

import subprocess

import numpy as np
import pytest
from recordings import convert, pcm16, save_wav, voice

from talkface.errors import TalkfaceError
from talkface.media.audio import SILENT_LEVEL, load_speech, load_waveform
from talkface.media.decode import stream_audio
from talkface.media.ffmpeg import ffmpeg_exe


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
    # The speech recogniser hears the same channel.
    blocks = list(stream_audio(tmp_path / "opposite.wav", 16_000, downmix=speech.downmix))
    np.testing.assert_allclose(np.concatenate(blocks), 0.5 * sound, atol=1e-6)


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
