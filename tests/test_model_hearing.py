"""From sound to the features of video frames: in blocks of any size as in one piece, and at the right time."""

import numpy as np
import pytest
import torch

from talkface.config import SOUND_RATE
from talkface.model import hearing
from talkface.model.hearing import features_at, speech_vectors, stream_features, stream_vectors
from talkface.model.logmel import log_mel
from talkface.model.recogniser import PADDING, VECTORS_PER_SECOND, WIDTH, load_speech_encoder

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def encoder():
    return load_speech_encoder()


def syllables(seconds, seed=0):
    """Noise whose loudness changes a few times a second; it is loud somewhere in every window."""
    random = np.random.default_rng(seed)
    level = np.repeat(random.random(int(4 * seconds) + 1), SOUND_RATE // 4)[: int(seconds * SOUND_RATE)]
    return (0.2 * (level + 0.02) * random.standard_normal(len(level))).astype(np.float32)


def blocks_of(sound, *sizes):
    """The sound in blocks of these sizes, over and over."""
    start, number = 0, 0
    while start < len(sound):
        yield sound[start : start + sizes[number % len(sizes)]]
        start, number = start + sizes[number % len(sizes)], number + 1


def whole_pass(encoder, sound):
    """The vectors of one pass over the whole sound, which lies between silences of 0.3 s."""
    silence = np.zeros(round(PADDING * SOUND_RATE), np.float32)
    padded = np.concatenate([silence, sound, silence])
    padded = np.pad(padded, (0, -len(padded) % (SOUND_RATE // 10)))
    with torch.no_grad():
        return encoder(torch.from_numpy(log_mel(padded))[None])[0].numpy()


@pytest.mark.parametrize("seconds", [0.05, 1.0, 3.37, 9.4])
def test_a_sound_of_one_window_is_heard_in_one_pass(encoder, seconds):
    sound = syllables(seconds)
    np.testing.assert_allclose(speech_vectors(encoder, sound), whole_pass(encoder, sound), atol=1e-4)


@pytest.mark.parametrize("seconds", [9.41, 17.4, 17.5, 25.0, 26.3])
def test_a_long_sound_has_as_many_vectors_as_one_pass_would_give(loudness_encoder, seconds):
    """No vector is lost or repeated where windows meet."""
    sound = syllables(seconds)
    found = speech_vectors(loudness_encoder, sound)
    expected = whole_pass(loudness_encoder, sound)
    assert found.shape == expected.shape
    inside = np.abs(found - expected).max(1)
    assert np.median(inside) < 1e-5
    assert inside.max() < 0.02  # Whisper's floor depends on the loudest value of each window


def test_each_vector_is_that_of_a_pass_over_the_ten_seconds_around_it(encoder):
    sound = syllables(26.3)
    found = speech_vectors(encoder, sound)
    padded = np.concatenate([np.zeros(round(PADDING * SOUND_RATE), np.float32), sound])
    for window in range(3):
        start = window * round(hearing.STRIDE * SOUND_RATE)
        mel = log_mel(padded[start : start + round(hearing.WINDOW * SOUND_RATE)])
        with torch.no_grad():
            alone = encoder(torch.from_numpy(mel)[None])[0].numpy()
        first = window * round(hearing.STRIDE * VECTORS_PER_SECOND)
        middle = slice(VECTORS_PER_SECOND, -VECTORS_PER_SECOND)  # at least a second of sound on both sides
        np.testing.assert_allclose(found[first : first + len(alone)][middle], alone[middle], atol=1e-4)


def test_a_long_context_hardly_changes_what_the_recogniser_says(encoder):
    """The first window beside one pass over all: only attention to later sound differs."""
    sound = syllables(25.0)
    found, expected = (
        v[: round(9 * VECTORS_PER_SECOND)] for v in (speech_vectors(encoder, sound), whole_pass(encoder, sound))
    )
    found, expected = found - expected.mean(0), expected - expected.mean(0)
    alike = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert alike.min() > 0.95


@pytest.mark.parametrize("sizes", [(100,), (SOUND_RATE,), (160_001, 7), (12 * SOUND_RATE, 1, 333)])
def test_vectors_do_not_depend_on_how_the_sound_comes_in(loudness_encoder, sizes):
    sound = syllables(21.7)
    found = np.concatenate(list(stream_vectors(loudness_encoder, blocks_of(sound, *sizes))))
    assert np.array_equal(found, speech_vectors(loudness_encoder, sound))


def test_vectors_come_while_the_sound_is_still_coming(loudness_encoder):
    asked = []

    def endless():
        while True:
            asked.append(1)
            yield syllables(1.0)

    vectors = stream_vectors(loudness_encoder, endless())
    assert len(next(vectors)) == 450
    assert len(asked) == 10
    assert len(next(vectors)) == 400
    assert len(asked) == 18


def test_no_sound_is_heard_as_silence(encoder):
    vectors = speech_vectors(encoder, np.zeros(0, np.float32))
    assert len(vectors) == 30  # 0.6 s
    assert np.isfinite(features_at(vectors, np.array([0.0, 5.0]))).all()


def test_features_are_the_vectors_10_ms_before_and_after_a_time():
    """Vector k is centred on (k + 0.5) / 50 - 0.3 s; here it is k itself, and interpolation must be exact."""
    vectors = np.repeat(np.arange(200.0, dtype=np.float32)[:, None], WIDTH, 1)
    times = np.array([0.0, 0.02, 0.5, 1.234])
    features = features_at(vectors, times)
    assert features.shape == (4, 2 * WIDTH)
    for offset, half in ((-0.01, features[:, 0]), (0.01, features[:, WIDTH])):
        np.testing.assert_allclose(half, (times + offset + 0.3) * 50 - 0.5, atol=1e-4)


def test_before_and_after_the_sound_its_first_and_last_vector_are_held():
    vectors = np.repeat(np.arange(50.0, dtype=np.float32)[:, None], WIDTH, 1)
    features = features_at(vectors, np.array([-3.0, 60.0]))
    assert (features[0] == 0).all()
    assert (features[1] == 49).all()


@pytest.mark.parametrize("when", [0.5, 1.013, 9.3, 12.0])
def test_the_recognisers_features_change_most_at_the_time_of_a_click(encoder, when):
    sound, noise = 0.1 * syllables(15.0), np.random.default_rng(1).standard_normal(160)
    clicked, middle = sound.copy(), round(when * SOUND_RATE)
    clicked[middle - 80 : middle + 80] += (0.5 * np.hanning(160) * noise).astype(np.float32)
    times = np.arange(0, 15, 0.01)
    plain, changed = (features_at(speech_vectors(encoder, one), times) for one in (sound, clicked))
    assert times[np.linalg.norm(changed - plain, axis=1).argmax()] == pytest.approx(when, abs=0.03)


@pytest.mark.parametrize("when", [0.5, 1.013, 9.3, 12.0])
def test_a_click_changes_the_features_of_its_time_alone(loudness_encoder, when):
    sound = np.zeros(15 * SOUND_RATE, np.float32)
    sound[round(when * SOUND_RATE)] = 1.0
    times = np.arange(0, 15, 0.01)
    features = features_at(speech_vectors(loudness_encoder, sound), times)
    weight = (features - features.min()).mean(1)
    weight[weight < 0.05 * weight.max()] = 0  # the floor of silent windows differs a little
    assert (np.abs(times[weight > 0] - when) < 0.05).all()
    assert (weight * times).sum() / weight.sum() == pytest.approx(when, abs=0.01)  # a step of the spectrogram


@pytest.mark.parametrize("sizes", [(1,), (3, 40), (100,), (7,)])
def test_features_at_the_borders_of_blocks_are_those_of_one_block(sizes):
    vectors = np.random.default_rng(0).normal(size=(321, WIDTH)).astype(np.float32)
    times = (np.arange(200) + 0.5) / 30 - 0.2
    streamed = np.stack(list(stream_features(blocks_of(vectors, *sizes), times)))
    np.testing.assert_allclose(streamed, features_at(vectors, times), atol=1e-5)


def test_features_come_as_soon_as_their_vectors_are_there():
    asked = []

    def blocks():
        for _ in range(20):
            asked.append(1)
            yield np.zeros((10, WIDTH), np.float32)

    next(stream_features(blocks(), [0.1]))
    assert len(asked) == 3  # 0.4 s after the padding's start is vector 20


def test_no_times_make_no_features():
    assert features_at(np.zeros((30, WIDTH), np.float32), np.zeros(0)).shape == (0, 2 * WIDTH)
