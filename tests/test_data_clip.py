"""One clip: its frames, its windows, its members."""

import numpy as np
from packed import a_clip, assert_same

from talkface.data.clip import decode_frame, encode_frame, pack, unpack
from talkface.media.windows import SILENCE


def test_frames_survive_compression_with_45_db():
    ramp = np.linspace(0, 255, 256)
    smooth = np.stack(
        [np.add.outer(ramp, ramp) / 2, np.subtract.outer(ramp, ramp) / 2 + 128, ramp[None] + 0 * ramp[:, None]]
    )
    picture = smooth.transpose(1, 2, 0).clip(0, 255).astype(np.uint8)
    error = decode_frame(encode_frame(picture)).astype(float) - picture
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 45


def test_the_window_of_a_frame_lies_about_its_middle_and_follows_the_sound_offset():
    clip = a_clip(frames=30)
    clip.mfcc_steps[:] = np.arange(120, dtype=np.float32)[:, None]
    assert clip.mfcc.shape == (30, 20, 13)
    assert clip.mfcc[10, :, 0].tolist() == list(range(32, 52))  # middle of frame 10: 0.42 s
    clip.av_offset = 0.06
    assert clip.mfcc[10, :, 0].tolist() == list(range(38, 58))
    assert np.array_equal(clip.mfcc[0, 0], SILENCE) == (2 + 6 - 10 < 0)
    assert np.array_equal(clip.mfcc[29, -1], SILENCE)


def test_members_unpack_to_the_clip_they_came_from():
    clip = a_clip()
    assert_same(unpack([content for _, content in pack(clip)]), clip)


def test_a_piece_of_a_long_video_hears_what_was_before_its_first_frame():
    clip = a_clip(frames=30)
    clip.mfcc_steps = np.arange(200, dtype=np.float32)[:, None].repeat(13, axis=1)
    clip.lead_steps = 50
    assert clip.mfcc[0, :, 0].tolist() == list(range(42, 62))
    clip.av_offset = 0.06
    assert clip.mfcc[0, :, 0].tolist() == list(range(48, 68))
