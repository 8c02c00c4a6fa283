"""The paper's generator: what each part sees, and that everything that is built is trained."""

from dataclasses import replace

import pytest
import torch

from talkface.config import ALIGNED_LIPS
from talkface.errors import TalkfaceError
from talkface.model.paper import PaperConfig, PaperGenerator

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = PaperConfig(widths=(2, 4, 4, 4, 4), audio_features=8)


@pytest.fixture(scope="module")
def inputs():
    """Photo, windows, previous frame."""
    generator = torch.Generator().manual_seed(0)
    return (
        torch.rand(1, 3, 256, 256, generator=generator),
        torch.randn(1, 20, 13, generator=generator),
        torch.rand(1, 3, 256, 256, generator=generator),
    )


def built(config=SMALL):
    """A generator whose head is as far from zero as its other layers."""
    torch.manual_seed(0)
    net = PaperGenerator(config).eval()
    torch.nn.init.normal_(net.frame_decoder.head.weight, std=0.3)
    return net


@torch.no_grad()
def step(net, photo, windows, previous, mask=None, rate=0.5):
    return net.step(photo, windows, previous, net.first_mask(len(photo)) if mask is None else mask, rate)


def test_a_frame_is_a_whole_picture_and_the_next_mask(inputs):
    frame = step(built(), *inputs)
    assert frame.picture.shape == (1, 3, 256, 256)
    assert frame.mask.shape == (1, 1, 256, 256)
    for part in frame:
        assert part.min() >= 0
        assert part.max() <= 1
    assert frame.mask.std() > 0.01


def test_the_first_mask_covers_the_mouth_of_an_aligned_face():
    mask = built().first_mask(2)
    assert mask.shape == (2, 1, 256, 256)
    x, y = torch.tensor(ALIGNED_LIPS).round().long().T
    assert (mask[0, 0, y, x] == 1).all()
    assert mask[:, :, :120].max() == 0


def test_photo_sound_previous_frame_and_mask_all_matter(inputs):
    net, (photo, windows, previous) = built(), inputs
    base = step(net, *inputs).picture
    for changed in (
        step(net, 1 - photo, windows, previous),
        step(net, photo, windows + 1, previous),
        step(net, photo, windows, 1 - previous),
        step(net, photo, windows, previous, torch.zeros(1, 1, 256, 256)),
        step(net, photo, windows, previous, rate=0.1),
    ):
        assert not torch.allclose(changed.picture, base, atol=1e-5)


def test_a_rate_of_zero_hides_what_the_mask_covers_of_the_photo(inputs):
    net, (photo, windows, previous) = built(), inputs
    other, hidden = photo.clone(), net.first_mask(1).expand(1, 3, -1, -1) == 1
    other[hidden] = 1 - other[hidden]
    hidden_a, hidden_b = (step(net, p, windows, previous, rate=0.0).picture for p in (photo, other))
    assert torch.equal(hidden_a, hidden_b)
    assert not torch.equal(step(net, photo, windows, previous).picture, step(net, other, windows, previous).picture)


def test_without_attention_mask_and_rate_change_nothing(inputs):
    net = built(replace(SMALL, attention=False))
    base = step(net, *inputs)
    assert torch.equal(step(net, *inputs, mask=torch.zeros(1, 1, 256, 256), rate=0.1).picture, base.picture)


@pytest.mark.parametrize("attention", [True, False])
def test_every_parameter_is_trained_by_a_rollout_of_two_frames(attention, inputs):
    """The mask of the first frame is taught by the second one; that of the last frame is used by nobody."""
    net, (photo, windows, _) = built(replace(SMALL, attention=attention)).train(), inputs
    first = net.step(photo, windows, photo, net.first_mask(1), 0.5)
    second = net.step(photo, windows, first.picture.detach(), first.mask, 0.5)
    (first.picture.square().mean() + second.picture.square().mean()).backward()
    untrained = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert untrained == []
    head = net.frame_decoder.head.weight.grad
    assert (head.flatten(1).abs().max(1).values > 0).all()  # of each colour and, with attention, of the mask
    assert len(head) == (4 if attention else 3)


def test_one_frame_alone_teaches_its_mask_nothing(inputs):
    net = built().train()
    net.step(*inputs, net.first_mask(1), 0.5).picture.mean().backward()
    assert net.frame_decoder.head.weight.grad[3].abs().max() == 0


def test_a_width_below_one_is_refused():
    with pytest.raises(TalkfaceError, match="below 1"):
        PaperConfig(widths=(2, 2, 2, 2, 0))
