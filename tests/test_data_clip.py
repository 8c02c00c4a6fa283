"""One clip: its frames, its MFCC windows, its sound, and its members in a shard."""

import io
import json

import numpy as np
import pytest
import soundfile

from talkface.config import SOUND_RATE
from talkface.data.clip import decode_frame, decode_sound, encode_frame, encode_sound, pack, unpack
from talkface.errors import TalkfaceError
from talkface.media.windows import SILENCE


@pytest.fixture
def tone():
    """float32, half a second of 440 Hz at 16 kHz."""
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(SOUND_RATE // 2) / SOUND_RATE)).astype(np.float32)


def test_compression_keeps_more_than_45_db_of_a_frame():
    ramp = np.linspace(0, 255, 256)
    smooth = np.stack(
        [np.add.outer(ramp, ramp) / 2, np.subtract.outer(ramp, ramp) / 2 + 128, ramp[None] + 0 * ramp[:, None]]
    )
    picture = smooth.transpose(1, 2, 0).clip(0, 255).astype(np.uint8)
    error = decode_frame(encode_frame(picture)).astype(float) - picture
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 45


def test_the_window_of_a_frame_is_centred_on_it_and_follows_the_sound_offset(clip_factory):
    clip = clip_factory(frames=30)
    clip.mfcc_steps[:] = np.arange(120, dtype=np.float32)[:, None]
    assert clip.mfcc.shape == (30, 20, 13)
    assert clip.mfcc[10, :, 0].tolist() == list(range(32, 52))  # middle of frame 10: 0.42 s
    clip.av_offset = 0.06
    assert clip.mfcc[10, :, 0].tolist() == list(range(38, 58))
    assert np.array_equal(clip.mfcc[0, 0], SILENCE) == (2 + 6 - 10 < 0)
    assert np.array_equal(clip.mfcc[29, -1], SILENCE)


def test_packing_and_unpacking_gives_the_same_clip(clip_factory):
    clip = clip_factory()
    unpacked = unpack([content for _, content in pack(clip)])
    assert pack(unpacked) == pack(clip)
    assert [suffix for suffix, _ in pack(clip)] == ["json", "npz", *(f"{i:03d}.jpg" for i in range(7))]
    assert (unpacked.sound, len(unpacked.waveform)) == (b"", 0)


def test_packing_and_unpacking_keeps_the_sound_and_its_lead(clip_factory, tone):
    clip = clip_factory()
    clip.sound, clip.sound_lead = encode_sound(tone), 0.4
    assert [suffix for suffix, _ in pack(clip)][:4] == ["json", "npz", "wav", "000.jpg"]
    unpacked = unpack([content for _, content in pack(clip)], av_offset=0.06)
    assert pack(unpacked) == pack(clip)
    assert (len(unpacked), unpacked.sound_lead, unpacked.av_offset) == (7, 0.4, 0.06)
    assert np.array_equal(unpacked.waveform, clip.waveform)


def test_the_sound_is_a_16_bit_wav_file_and_accurate_to_half_a_level(tone):
    data = encode_sound(tone)
    decoded = decode_sound(data)
    assert decoded.dtype == np.float32
    assert np.abs(decoded - tone).max() <= 0.5 / 32767 + 1e-7
    assert encode_sound(decoded) == data
    levels, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    assert (rate, levels.shape) == (SOUND_RATE, tone.shape)
    assert np.array_equal(levels, np.round(tone * 32767))


def test_sound_out_of_range_is_clipped():
    assert decode_sound(encode_sound(np.float32([-3, -1, 0, 1, 2.5]))).tolist() == [-1, -1, 0, 1, 1]


def test_a_clip_of_format_1_is_read_as_a_clip_without_sound(clip_factory):
    clip = clip_factory()
    (_, facts), (_, arrays), *frames = pack(clip)
    of_format_1 = {name: value for name, value in json.loads(facts).items() if name != "sound_lead"}
    old = unpack([json.dumps(of_format_1).encode(), arrays, *(content for _, content in frames)])
    assert (len(old), old.sound, old.sound_lead, len(old.waveform)) == (7, b"", 0.0, 0)
    assert pack(old) == pack(clip)


def test_a_frame_that_is_not_a_picture_is_a_clear_error():
    with pytest.raises(TalkfaceError, match="not a valid JPEG file") as caught:
        decode_frame(b"This is not a picture.")
    assert caught.value.fix


def test_the_windows_of_a_piece_include_the_sound_before_its_first_frame(clip_factory):
    clip = clip_factory(frames=30)
    clip.mfcc_steps = np.arange(200, dtype=np.float32)[:, None].repeat(13, axis=1)
    clip.lead_steps = 50
    assert clip.mfcc[0, :, 0].tolist() == list(range(42, 62))
    clip.av_offset = 0.06
    assert clip.mfcc[0, :, 0].tolist() == list(range(48, 68))
