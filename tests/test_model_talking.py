"""One call for any generator."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from talkface.model.inference import generate_frames, predict_lips
from talkface.model.paper import PaperConfig, PaperGenerator
from talkface.model.talking import animate, takes_mfcc

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def paper():
    torch.manual_seed(0)
    return PaperGenerator(PaperConfig(widths=(2, 2, 2, 2, 2), audio_features=4)).eval().requires_grad_(False)


def test_a_generator_says_whether_it_takes_mfcc(mini_config, make_generator, paper):
    assert takes_mfcc(make_generator())
    assert takes_mfcc(paper)
    assert not takes_mfcc(make_generator(replace(mini_config, hearing="recogniser")))


def test_a_generator_of_either_hearing_is_animated_by_its_lips(portrait, mini_config, make_generator):
    random = np.random.default_rng(1)
    for hearing, shape in (("mfcc", (20, 13)), ("recogniser", (768,))):
        net, sound = make_generator(replace(mini_config, hearing=hearing)), random.normal(size=(3, *shape))
        sound = sound.astype(np.float32)
        frames = list(animate(net, portrait, sound, 1.3, 30.0))
        expected = list(generate_frames(net, portrait, predict_lips(net, portrait, sound, 1.3), 30.0))
        assert len(frames) == 3
        assert all(np.array_equal(a.face, b.face) for a, b in zip(frames, expected, strict=True))


@torch.inference_mode()
def test_the_papers_generator_draws_a_whole_face_for_each_window(portrait, paper):
    windows = np.random.default_rng(2).normal(size=(3, 20, 13)).astype(np.float32)
    photo = torch.from_numpy(portrait.face).permute(2, 0, 1)[None] / 255
    previous, mask = photo, paper.first_mask(1)
    frames = list(animate(paper, portrait, windows))
    assert len(frames) == 3
    for frame, window in zip(frames, windows, strict=True):
        previous, mask = paper.step(photo, torch.from_numpy(window)[None], previous, mask, 1.0)
        assert np.abs(frame.face - 255 * previous[0].permute(1, 2, 0).numpy()).max() < 0.51
        assert frame.region == (0, 0, 256, 256)
        assert frame.flow.max() == frame.flow.min() == 0
        assert frame.mask[128, 128] == 1
        assert max(frame.mask[0].max(), frame.mask[:, -1].max()) < 0.1  # paste-back fades out at the border
