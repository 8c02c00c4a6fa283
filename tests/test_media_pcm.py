"""Raw samples: their formats, and what is refused."""

import numpy as np
import pytest

from talkface.errors import TalkfaceError
from talkface.media.pcm import SoundFormat, parse_sound_format


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("s16le:16000", SoundFormat("s16le", 16_000, 1)),
        ("f32le:48000:2", SoundFormat("f32le", 48_000, 2)),
        ("u8:8000", SoundFormat("u8", 8_000, 1)),
    ],
)
def test_a_format_is_encoding_rate_and_channels(text, wanted):
    assert parse_sound_format(text) == wanted
    assert str(wanted) == text


@pytest.mark.parametrize("text", ["", "s16le", "mp3:16000", "s16le:16k", "s16le:16000:1:1", "s16le:100", "u8:8000:99"])
def test_another_format_is_refused_with_the_one_that_is_wanted(text):
    with pytest.raises(TalkfaceError, match=f"--sound-format {text} is not valid.*s16le, s32le, f32le, u8") as error:
        parse_sound_format(text)
    assert "s16le:16000" in error.value.fix


@pytest.mark.parametrize(
    "encoding, samples", [("s16le", [-(2**15), 0, 2**14]), ("s32le", [-(2**31), 0, 2**30]), ("u8", [0, 128, 192])]
)
def test_integers_of_all_sizes_have_a_full_scale_of_1(encoding, samples):
    sound = SoundFormat(encoding)
    block = sound.decode(np.array(samples, sound.dtype).tobytes())
    np.testing.assert_allclose(sound.to_mono(block), [-1, 0, 0.5])
    assert not sound.to_mono(sound.silence(3)).any()


def test_channels_take_turns_and_are_averaged():
    sound = SoundFormat("f32le", 16_000, 2)
    block = sound.decode(np.array([1, 0, -0.5, -0.5], "<f4").tobytes())
    np.testing.assert_allclose(sound.to_mono(block), [0.5, -0.5])


def test_floats_that_are_not_numbers_are_silence():
    sound = SoundFormat("f32le")
    np.testing.assert_array_equal(sound.to_mono(np.array([[np.nan], [np.inf], [2]], np.float32)), [0, 0, 1])
