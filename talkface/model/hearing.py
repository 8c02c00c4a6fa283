"""From a waveform to the speech features of video frames, for sounds of any length, in constant memory.

The recogniser gets windows of 10 s every 8 s; of each only the middle counts, so that every vector has at least a
second of sound on both sides. 0.3 s of silence stand before and after the sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from talkface.config import SOUND_RATE
from talkface.model.logmel import log_mel
from talkface.model.onnx_engine import OnnxSpeechEncoder
from talkface.model.recogniser_sizes import PADDING, STRIDE, VECTORS_PER_SECOND, WIDTH, WINDOW

if TYPE_CHECKING:
    from talkface.model.recogniser import SpeechEncoder

    AnyEncoder = SpeechEncoder | OnnxSpeechEncoder

TENTH = SOUND_RATE // 10  # samples: the padded sound is a whole number of these
PADDING_SAMPLES = round(PADDING * SOUND_RATE)
WINDOW_SAMPLES, STRIDE_SAMPLES = round(WINDOW * SOUND_RATE), round(STRIDE * SOUND_RATE)
MARGIN_VECTORS = round((WINDOW - STRIDE) / 2 * VECTORS_PER_SECOND)  # at either end: the neighbour knows them better


def speech_vectors(encoder: AnyEncoder, sound: np.ndarray) -> np.ndarray:
    """All vectors of a sound, 50 a second: float32 (N, 384); vector k is centred on k / 50 - 0.3 s.

    Args:
        encoder: of `load_speech_encoder` or `load_onnx_speech_encoder`.
        sound: float32 (samples,) at 16 kHz.
    """
    return np.concatenate([np.zeros((0, WIDTH), np.float32), *stream_vectors(encoder, [sound])])


def stream_vectors(encoder: AnyEncoder, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The vectors of a sound that comes in blocks, window by window, each float32 (n, 384)."""
    held, first = np.zeros(PADDING_SAMPLES, np.float32), True
    total = PADDING_SAMPLES
    for block in blocks:
        held = np.concatenate([held, block])
        total += len(block)
        while len(held) > WINDOW_SAMPLES:
            vectors = _heard(encoder, held[:WINDOW_SAMPLES])
            yield vectors[0 if first else MARGIN_VECTORS : -MARGIN_VECTORS]
            held, first = held[STRIDE_SAMPLES:], False
    silence = PADDING_SAMPLES + -(total + PADDING_SAMPLES) % TENTH
    held = np.concatenate([held, np.zeros(silence, np.float32)])
    if len(held) > WINDOW_SAMPLES:
        yield _heard(encoder, held[:WINDOW_SAMPLES])[0 if first else MARGIN_VECTORS : -MARGIN_VECTORS]
        held, first = held[STRIDE_SAMPLES:], False
    yield _heard(encoder, held)[0 if first else MARGIN_VECTORS :]


def window_vectors(encoder: AnyEncoder, sound: np.ndarray) -> np.ndarray:
    """The vectors of one pass over a window, float32 (N, 384); vector k is centred on (k + 0.5) / 50 s of the window.

    Args:
        encoder: of `load_speech_encoder`.
        sound: float32 (samples,) at 16 kHz, a multiple of 20 ms, at most 10 s.
    """
    return _heard(encoder, sound)


def _heard(encoder: AnyEncoder, sound: np.ndarray) -> np.ndarray:
    mel = log_mel(sound)
    if isinstance(encoder, OnnxSpeechEncoder):
        return encoder.vectors(mel)
    from talkface.model.torch_engine import recogniser_vectors

    return recogniser_vectors(encoder, mel)


def features_at(vectors: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The two vectors about each time, interpolated: float32 (T, 768).

    Args:
        vectors: (N, 384) of `speech_vectors`.
        times: (T,) seconds in the sound.
    """
    return np.stack([*stream_features([vectors], times)]) if len(times) else np.zeros((0, 2 * WIDTH), np.float32)


def stream_features(vectors: Iterable[np.ndarray], times: Iterable[float]) -> Iterator[np.ndarray]:
    """The features of each frame as soon as its vectors are there: float32 (768,).

    Args:
        vectors: of `stream_vectors`.
        times: the middle of each frame in seconds of the sound, rising.
    """
    source = iter(vectors)
    held, start = next(source, np.zeros((1, WIDTH), np.float32)), 0
    for time in times:
        middle = (time + PADDING) * VECTORS_PER_SECOND - 0.5
        while start + len(held) < middle + 2 and (block := next(source, None)) is not None:
            keep = max(min(int(middle) - 2 - start, len(held)), 0)
            held, start = np.concatenate([held[keep:], block]), start + keep
        parts = []
        for side in (-0.5, 0.5):
            place = min(max(middle + side - start, 0.0), len(held) - 1.0)
            first = int(place)
            share = np.float32(place - first)
            parts.append(held[first] * (1 - share) + held[min(first + 1, len(held) - 1)] * share)
        yield np.concatenate(parts).astype(np.float32)
