"""What live frames are made of: no later sound than the look-ahead, and otherwise what a whole recording gives."""

from fractions import Fraction

import numpy as np
import pytest

from talkface.config import SOUND_RATE
from talkface.live.hearing import MfccFeatures, RecogniserFeatures, live_lips
from talkface.live.sound import LiveSound
from talkface.live.source import stamped
from talkface.media.audio import mfcc_of
from talkface.media.pcm import SoundFormat
from talkface.media.windows import SILENCE, mfcc_windows
from talkface.model.audio import REACH
from talkface.model.hearing import features_at, speech_vectors
from talkface.model.inference import AlignedFace, predict_lips

pytestmark = pytest.mark.usefixtures("one_thread")
LOOK_AHEAD = 0.24
FPS = Fraction(25)


def syllables(seconds, seed=0):
    random = np.random.default_rng(seed)
    level = np.repeat(random.random(int(4 * seconds) + 1), SOUND_RATE // 4)[: int(seconds * SOUND_RATE)]
    return (0.2 * (level + 0.02) * random.standard_normal(len(level))).astype(np.float32)


def live(samples):
    return LiveSound(stamped([samples[:, None]]), SoundFormat("f32le"))


@pytest.fixture(params=["recogniser", "mfcc"])
def make_features(request, loudness_encoder):
    """Makes the features of samples at 16 kHz."""

    def make(samples, look_ahead=LOOK_AHEAD):
        sound = live(samples)
        if request.param == "mfcc":
            return MfccFeatures(sound, FPS, look_ahead)
        return RecogniserFeatures(loudness_encoder, sound, FPS, look_ahead)

    return make


def hear(features, number):
    features.sound.wait_until(float(number / FPS) + LOOK_AHEAD)
    return features.around(number)


@pytest.mark.parametrize("number", [0, 3, 40])
def test_sound_after_the_look_ahead_has_no_effect(make_features, number):
    sound = syllables(3)
    changed = sound.copy()
    changed[round((number / 25 + LOOK_AHEAD) * SOUND_RATE) :] = 0.9
    one, other = hear(make_features(sound), number), hear(make_features(changed), number)
    np.testing.assert_array_equal(one.features, other.features)
    assert one.place == other.place


@pytest.mark.parametrize("number, before", [(0, 0), (3, 3), (40, REACH)])
def test_a_frame_comes_with_those_before_it_and_the_known_ones_after_it(make_features, number, before):
    heard = hear(make_features(syllables(3)), number)
    assert heard.place == before
    assert 1 <= len(heard.features) - 1 - before <= LOOK_AHEAD * 25


def test_without_look_ahead_a_frame_has_its_own_features(make_features):
    features = make_features(syllables(3), 0.02)
    features.sound.wait_until(1.02)
    heard = features.around(25)
    assert len(heard.features) == heard.place + 1


def test_the_recognisers_features_are_those_of_the_whole_recording(loudness_encoder):
    """The stand-in for the recogniser depends on two columns of the spectrogram only, so that windows agree."""
    samples = syllables(4)
    vectors = speech_vectors(loudness_encoder, samples)
    features = RecogniserFeatures(loudness_encoder, live(samples), FPS, LOOK_AHEAD)
    for number in (0, 1, 30, 99):
        heard = hear(features, number)
        first = number - heard.place
        wanted = features_at(vectors, (first + np.arange(len(heard.features)) + 0.5) / 25)
        # The last column of a window is cut off; Whisper's floor depends on the loudest value of each window.
        np.testing.assert_allclose(heard.features[:-1], wanted[:-1], atol=0.02)


def test_mfcc_windows_are_those_of_the_whole_recording_up_to_the_speech_level():
    samples = syllables(8)
    whole = mfcc_windows(mfcc_of(samples, SOUND_RATE), 200)
    features = MfccFeatures(live(samples), FPS, LOOK_AHEAD)
    for number in range(200):
        heard = hear(features, number)
        if number in (110, 150, 199):
            wanted = whole[number - heard.place :][: len(heard.features)]
            # A level that differs by some dB shifts the first coefficient: 5.1 a dB, divided by 50.
            assert np.abs(heard.features[..., 0] - wanted[..., 0]).max() < 5.1 / 50 * 3
            np.testing.assert_allclose(heard.features[..., 1:], wanted[..., 1:], atol=0.15)


def test_how_loud_speech_is_has_no_effect_on_mfcc_windows():
    loud, soft = (MfccFeatures(live(gain * syllables(3)), FPS, LOOK_AHEAD) for gain in (1, 0.1))
    for number in range(60):
        one, other = hear(loud, number), hear(soft, number)
    np.testing.assert_allclose(one.features, other.features, atol=0.02)


def test_silence_is_silence_before_any_speech():
    heard = hear(MfccFeatures(live(np.zeros(SOUND_RATE, np.float32)), FPS, LOOK_AHEAD), 10)
    np.testing.assert_allclose(heard.features, np.broadcast_to(SILENCE, heard.features.shape), atol=1e-5)


def test_the_last_frames_have_silence_after_them(make_features):
    """The sound ends after 1 s: what follows must not be asked for."""
    features = make_features(syllables(1))
    heard = hear(features, 24)
    assert np.isfinite(heard.features).all()
    assert heard.place == REACH


def test_live_lips_are_the_lips_of_the_sequence_about_each_frame(make_generator):
    generator, samples = make_generator(), syllables(2)
    face = AlignedFace(np.zeros((256, 256, 3), np.uint8), generator.audio_encoder.template.numpy() + 150, np.ones(2))
    face = face._replace(lips=face.lips.astype(np.float32))
    features = MfccFeatures(live(samples), FPS, LOOK_AHEAD)
    features.sound.wait_until(2)
    found = list(live_lips(generator, face, features, range(3)))
    heard = MfccFeatures(features.sound, FPS, LOOK_AHEAD)
    for number in range(3):
        around = heard.around(number)
        wanted = list(predict_lips(generator, face, around.features))[around.place]
        np.testing.assert_array_equal(found[number], wanted)


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_frames_and_sound_are_in_step_after_ten_minutes(loudness_encoder, rate):
    """A sound that repeats every second has the same features in every second."""
    second = np.interp(np.arange(rate) / rate, np.arange(SOUND_RATE) / SOUND_RATE, syllables(1)).astype(np.float32)
    sound = LiveSound(stamped(second[:, None] for _ in range(600)), SoundFormat("f32le", rate))
    features = RecogniserFeatures(loudness_encoder, sound, FPS, LOOK_AHEAD)
    early, late = hear(features, 10 * 25 + 3), hear(features, 598 * 25 + 3)
    np.testing.assert_allclose(early.features, late.features, atol=0.02)
    assert np.ptp(early.features) > 0.1
