"""The sample picture: photo, real frames, generated frames, masks."""

import numpy as np
import torch

from talkface.data.augment import as_float
from talkface.data.batches import ClipBatches
from talkface.train.samples import sample_sheet


class Listed(list):
    clip_speakers = property(lambda self: [clip.speaker for clip in self])
    lengths = property(lambda self: [len(clip) for clip in self])


def test_a_sheet_has_three_rows_for_each_sequence_each_led_by_the_photo(mini_config, make_generator, synthetic_clips):
    batch = ClipBatches([Listed(synthetic_clips.many(2, 6))], mini_config.window, mini_config.audio_offsets).frames(
        0, 2, 3
    )
    shown = {name: getattr(batch, name).clone() for name in ("identity_frame", "frames")}
    sheet = sample_sheet(make_generator(), as_float(batch), torch.device("cpu"), true_lips=False)
    assert sheet.shape == (2 * 3 * 96, 4 * 96, 3)
    cells = sheet.reshape(2, 3, 96, 4, 96, 3).swapaxes(2, 3)
    for sequence in range(2):
        for row in range(3):
            assert np.array_equal(cells[sequence, row, 0], shown["identity_frame"][sequence].permute(1, 2, 0))
        for moment in range(3):
            assert np.array_equal(cells[sequence, 0, moment + 1], shown["frames"][sequence, moment].permute(1, 2, 0))
        assert (cells[sequence, 2, 1:] == cells[sequence, 2, 1:, ..., :1]).all()  # masks are grey
