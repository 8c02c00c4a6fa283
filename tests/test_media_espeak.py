import wave

import numpy as np
import pytest

from talkface.errors import TalkfaceError
from talkface.media import espeak
from talkface.media.audio import load_speech


class Tone:
    """In place of eSpeak NG: a tenth of a second of sound for each word."""

    rate = 22_050

    def speak(self, text, voice, rate, pitch):
        samples = len(text.split()) * self.rate // 10
        return 0.2 * np.sin(np.arange(samples, dtype=np.float32) / 10), []


@pytest.fixture
def library():
    try:
        espeak.Synthesizer()
    except TalkfaceError:
        pytest.skip("eSpeak NG is not installed: its speech is NOT tested")


def test_spoken_text_is_a_wav_file_at_a_usual_level(tmp_path, monkeypatch):
    monkeypatch.setattr(espeak, "Synthesizer", Tone)
    espeak.write_speech("one two three", tmp_path / "a.wav")
    with wave.open(str(tmp_path / "a.wav")) as reader:
        assert (reader.getnchannels(), reader.getframerate(), reader.getnframes()) == (1, 22_050, 6615)
        peak = np.abs(np.frombuffer(reader.readframes(6615), "<i2").astype(int)).max()
    assert peak == pytest.approx(espeak.PEAK * 32767, abs=1)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_text_without_words_is_an_error(tmp_path, monkeypatch, text):
    monkeypatch.setattr(espeak, "Synthesizer", Tone)
    with pytest.raises(TalkfaceError, match="has nothing that the voice en-us can say"):
        espeak.write_speech(text, tmp_path / "a.wav")
    assert not list(tmp_path.iterdir())


def test_a_text_of_a_book_is_an_error(tmp_path):
    with pytest.raises(TalkfaceError, match="has 30000 characters"):
        espeak.write_speech("a" * 30_000, tmp_path / "a.wav")


@pytest.mark.usefixtures("library")
def test_espeak_speaks_a_sentence(tmp_path):
    espeak.write_speech("The quick brown fox jumps over the lazy dog.", tmp_path / "a.wav", "en+f3")
    assert 1.5 < load_speech(tmp_path / "a.wav").duration < 5


@pytest.mark.usefixtures("library")
def test_an_unknown_voice_is_an_error(tmp_path):
    with pytest.raises(TalkfaceError, match="--voice martian is not a voice"):
        espeak.write_speech("hello", tmp_path / "a.wav", "martian")
