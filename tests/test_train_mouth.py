"""The stage "mouth": its losses by closed forms, who learns when, and its validation."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from talkface.data.mouths import MouthBatches
from talkface.data.reader import open_dataset
from talkface.model.generator import Generator
from talkface.model.lipwarp import MouthShape
from talkface.train import mouth_loss as losses
from talkface.train.mouth_stage import MouthStage, roll_out
from talkface.train.mouth_validation import PHOTOS, MouthValidation
from talkface.train.presets import MouthConfig

pytestmark = pytest.mark.usefixtures("one_thread")


def shape_of(edged):
    """The maps of a mouth that is open where `edged` (N, 1, H, W) says so; distances of 4 px everywhere."""
    far = torch.full_like(edged, 4.0)
    return MouthShape(edged, edged, far, far, 0.5 * torch.ones_like(edged))


def left_half(count=1, height=16, width=16):
    edged = torch.zeros(count, 1, height, width)
    edged[..., : width // 2] = 1
    return edged


# Losses


def test_l1_is_the_mean_over_the_painted_area_and_each_frame_counts_alike():
    real, edged = torch.zeros(2, 3, 16, 16), left_half(2)
    edged[1, :, 8:] = 0
    painted = torch.zeros(2, 3, 16, 16)
    painted[0, :, :, :8], painted[1, :, :8, :8] = 0.2, 0.6
    assert losses.mouth_l1_loss(real, losses.Painted(painted, edged)).item() == pytest.approx((0.2 + 0.6) / 2)


def test_a_mouth_of_a_few_pixels_counts_less():
    real, edged = torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    edged[..., 0, :6] = 1
    found = losses.mouth_l1_loss(real, losses.Painted(real + 0.5 * edged, edged))
    assert found.item() == pytest.approx(0.5 * 6 / losses.SMALLEST_AREA)


def test_only_what_is_painted_differs_from_the_real_surroundings(make_generator, synthetic_clips):
    generator = make_generator()
    lips = torch.from_numpy(np.stack([synthetic_clips.lip_points(gap) for gap in (1.0, 9.0)])) - torch.tensor([84, 153])
    photo, real = torch.rand(2, 1, 3, 64, 88)
    nose = torch.tensor([[44.0, 4.0]])
    identity = generator.encode_identity(photo, lips[:1], nose)
    conditions = generator.conditions(identity, lips[1:])
    frame = generator.step(identity, conditions, photo, generator.first_mask(identity))
    painted = losses.paint_over_real(identity, frame, conditions.shape, real)
    outside, inside = painted.edged[0, 0] == 0, painted.edged[0, 0] == 1
    assert inside.sum() > 100
    assert torch.equal(painted.over_real[0, :, outside], real[0, :, outside])
    composed = generator.compose(identity, frame)
    assert torch.allclose(painted.over_real[0, :, inside], composed[0, :, inside], atol=1e-6)


def test_a_judge_that_cannot_tell_costs_ln_two_on_each_scale():
    logits = [torch.full((1, 1, 4, 4), 7.0), torch.full((1, 1, 2, 2), -3.0)]
    assert losses.relativistic_loss(logits, logits, shape_of(left_half())).item() == pytest.approx(2 * math.log(2))


def test_only_patches_of_open_mouth_are_compared_in_pairs():
    """softplus(worse - better), and nothing of the right half, where the mouth is closed."""
    better, worse = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 100.0)
    worse[..., :2] = -1.5
    found = losses.relativistic_loss([better], [worse], shape_of(left_half()))
    assert found.item() == pytest.approx(math.log1p(math.exp(-1.5)), rel=1e-5)


def test_a_closed_mouth_is_not_judged():
    closed = shape_of(torch.zeros(1, 1, 16, 16))
    assert losses.relativistic_loss([torch.ones(1, 1, 4, 4)], [torch.zeros(1, 1, 4, 4)], closed).item() == 0


def test_features_are_compared_relative_to_the_size_of_the_real_ones():
    real = [torch.full((1, 5, 8, 8), 2.0), torch.full((1, 3, 4, 4), -4.0)]
    fake = [real[0] + 0.5, real[1] - 1.0]
    found = losses.feature_matching_loss(fake, real, shape_of(left_half()))
    assert found.item() == pytest.approx(0.5 / 2 + 1 / 4)


def test_the_gradient_penalty_of_a_linear_judge_is_the_square_of_its_weights():
    """A judge w * red at each place: the mean over its patches has the gradient w / patches there."""
    crops = torch.rand(2, 7, 4, 4, requires_grad=True)
    logits, mask = [3.0 * crops[:, :1]], torch.zeros(2, 1, 4, 4)
    mask[..., :2] = 1
    assert losses.gradient_penalty(logits, crops, [mask]).item() == pytest.approx(8 * (3 / 8) ** 2)


def test_the_penalty_is_of_the_picture_and_not_of_the_maps_beside_it():
    crops = torch.rand(1, 7, 4, 4, requires_grad=True)
    assert losses.gradient_penalty([5 * crops[:, 3:4]], crops, [torch.ones(1, 1, 4, 4)]).item() == 0


def test_the_discriminator_sees_picture_and_mouth_and_scores_patches_on_two_scales():
    shape = shape_of(left_half(2, 64, 88))
    crops = losses.judged(torch.rand(2, 3, 64, 88), shape)
    assert crops.shape == (2, 7, 64, 88)
    assert crops[:, :3].abs().max() <= 1
    assert (crops[:, 5:] == 0.5).all()  # 4 px in units of 8
    logits, features = losses.MouthDiscriminator(4)(crops)
    assert [z.shape[1:] for z in logits] == [(1, 16, 22), (1, 8, 11)]
    assert [f.shape[1] for f in features] == [4, 8, 12, 16]


# The stage


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, synthetic_clips, write_dataset):
    data = write_dataset(tmp_path_factory.mktemp("synthetic"), synthetic_clips.many(2, 24))
    return open_dataset(data)


@pytest.fixture(scope="module")
def batch(dataset):
    return MouthBatches([dataset], workers=1).batch(0, 2, 2)


@pytest.fixture
def make_stage(mini_config):
    def make(**settings):
        torch.manual_seed(0)
        return MouthStage(Generator(mini_config), MouthConfig(**{"l1_steps": 2, "warmup_steps": 2} | settings))

    return make


def snapshot(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def changed(before, network):
    now = network.state_dict()
    return {name.split(".")[0] for name in now if not torch.equal(before[name], now[name])}


def test_generator_and_discriminator_learn_each_in_its_time(make_stage, batch):
    """L1 alone, then the discriminator alone, then both; the Audio Encoder never."""
    stage = make_stage()
    parts, learned = {"identity_encoder", "image_encoder", "frame_decoder"}, []
    for step in range(6):
        before = snapshot(stage.generator), snapshot(stage.discriminator)
        terms = stage.step(step, step / 6, batch)
        learned.append((changed(before[0], stage.generator) != set(), changed(before[1], stage.discriminator) != set()))
        assert changed(before[0], stage.generator) <= parts
        assert all(torch.isfinite(value) for value in terms.values())
    assert learned == [(True, False)] * 2 + [(False, True)] * 2 + [(True, True)] * 2


def test_the_generators_step_leaves_the_discriminator_alone(make_stage, batch):
    """Its gradient comes from its own loss: without that loss nothing of it moves."""
    stage = make_stage(l1_steps=0, warmup_steps=0)
    stage._discriminator_step = lambda *_: {}
    before = snapshot(stage.discriminator)
    assert {"mouth_gan", "feature_matching", "mouth_l1"} == stage.step(1, 0.5, batch).keys()
    assert not changed(before, stage.discriminator)
    assert all(p.grad is None for p in stage.discriminator.parameters())
    assert all(p.requires_grad for p in stage.discriminator.parameters())


def test_the_gradient_penalty_is_part_of_every_eighth_step_and_finite(make_stage, batch, monkeypatch):
    found = []

    def noted(*arguments):
        found.append(losses_penalty(*arguments))
        return found[-1]

    losses_penalty = losses.gradient_penalty
    monkeypatch.setattr(losses, "gradient_penalty", noted)
    stage = make_stage(l1_steps=0, warmup_steps=99)
    for step in range(9):
        stage.step(step, 0.1, batch)
    assert len(found) == 2
    assert all(torch.isfinite(value) and value > 0 for value in found)


@pytest.mark.parametrize("ratio, limit, expected", [(1.5, 0.8, 0.75), (0.5, 0.8, 0.25), (1.5, 0.4, 0.4)])
def test_the_adversarial_weight_follows_the_gradients_up_to_its_limit(make_stage, ratio, limit, expected):
    stage = make_stage(gan_ratio=ratio, gan_weight_limit=limit)
    picture = torch.rand(1, 3, 4, 4, requires_grad=True)
    stage._balance(2 * picture.sum(), 4 * picture.sum(), picture)
    assert stage.gan_weight == pytest.approx(expected)
    stage._balance(torch.zeros_like(picture).mul(picture).sum(), 4 * picture.sum(), picture)
    assert stage.gan_weight == pytest.approx(0.8 * expected)


def test_the_adversarial_term_of_a_step_carries_that_weight(make_stage, batch):
    stage = make_stage(l1_steps=0, warmup_steps=0, gan_weight_limit=1e-3)
    terms = stage.step(1, 0.0, batch)
    assert stage.gan_weight == pytest.approx(1e-3)
    assert 0 < terms["mouth_gan"].item() < 1e-3 * 20


def test_rates_fall_linearly_and_the_average_slows_down_towards_the_end(make_stage):
    stage = make_stage(learning_rate=4e-4, discriminator_learning_rate=6e-4, final_rate=0.15)
    assert stage._rates(0.0) == pytest.approx((4e-4, 6e-4))
    assert stage._rates(0.5) == pytest.approx((0.575 * 4e-4, 0.575 * 6e-4))
    assert stage._rates(1.0) == pytest.approx((0.15 * 4e-4, 0.15 * 6e-4))
    assert [stage._ema_decay(progress) for progress in (0.59, 0.61)] == [0.998, 0.9995]


def test_most_photos_are_shown_whole_and_some_with_dimmed_lips(make_stage):
    rates = make_stage(low_attention_share=0.25)._attention_rate(4000).flatten()
    low = rates < 1
    assert low.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert rates[low].max() < 0.3


@torch.no_grad()
def test_a_rollout_feeds_each_frame_and_its_mask_to_the_next(make_generator, batch):
    generator = make_generator()
    made = roll_out(generator, batch, 0.7)
    identity = generator.encode_identity(batch.photo, batch.photo_lips, batch.photo_nose, 0.7)
    previous, mask = batch.photo, generator.first_mask(identity)
    for moment in range(2):
        shift = batch.noses[:, moment] - batch.photo_nose
        conditions = generator.conditions(identity, batch.lips[:, moment], shift)
        frame = generator.step(identity, conditions, previous, mask)
        previous, mask = generator.compose(identity, frame), frame.mask
        assert torch.allclose(made.frames[moment].colour, frame.colour, atol=1e-5)
    assert made.over_real.over_real.shape == (4, 3, 64, 88)
    assert torch.equal(made.shape.edged[2:], made.frames[1].mask)


def test_no_gradient_passes_through_a_frame_that_is_fed_back(make_generator, batch):
    """Each frame answers for itself."""
    generator = make_generator().requires_grad_(True)
    made = roll_out(generator, batch, 1.0)
    first = made.frames[0].paint
    gradient = torch.autograd.grad(made.painted[1].over_real.sum(), first, allow_unused=True)[0]
    assert gradient is None


def test_paint_learns_a_mouth_in_a_few_steps(make_stage, dataset):
    """L1 alone, on drawn mouths: the error falls to less than half."""
    stage = make_stage(l1_steps=99, learning_rate=4e-3)
    batches, errors = MouthBatches([dataset], workers=1, augment=False), []
    for step in range(100):
        errors.append(stage.step(step, 0.0, batches.batch(step, 2, 1))["mouth_l1"].item())
    assert np.mean(errors[-5:]) < 0.5 * np.mean(errors[:3])


# Validation


@pytest.fixture(scope="module")
def judge(dataset):
    return MouthValidation([dataset.select([0])], per_person=6)


def test_each_frame_is_generated_from_a_closed_photo_and_from_one_that_shows_teeth(judge):
    assert len(judge.items) == 12
    assert [item.kind for item in judge.items] == list(PHOTOS) * 6
    gaps = [item.lips[1][25, 1] - item.lips[1][35, 1] for item in judge.items]
    photo_gaps = [item.photo_lips[25, 1] - item.photo_lips[35, 1] for item in judge.items[::2]]
    assert min(gaps) > 2
    assert max(photo_gaps) < 4


def test_real_frames_are_judged_as_real(judge):
    """KID of two equal sets is about 0 (slightly negative, for it is unbiased), and all ratios are 1."""
    figures = judge.judge(np.stack([item.real for item in judge.items]))
    for kind in PHOTOS:
        assert figures[f"kid_{kind}"] < 0.05
        assert figures[f"dark_{kind}"] == pytest.approx(1)
        assert figures[f"sharp_{kind}"] == pytest.approx(1)


def test_a_grey_blur_is_told_by_every_figure(judge):
    figures = judge.judge(np.stack([np.full_like(item.real, 128) for item in judge.items]))
    assert figures["kid_closed"] > 1
    assert figures["dark_closed"] == 0
    assert figures["sharp_closed"] == 0


def test_the_generators_pictures_are_real_outside_the_mouth(judge, make_generator):
    pictures = judge.generated(make_generator())
    assert pictures.shape == (12, 64, 88, 3)
    outside = (judge.area == 0).permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy()
    real = np.stack([item.real for item in judge.items])
    assert np.array_equal(pictures[outside], real[outside])
    assert (pictures[~outside] != real[~outside]).mean() > 0.5


def test_people_whose_mouth_hardly_opens_are_left_out(synthetic_clips, tmp_path, write_dataset):
    clip = synthetic_clips.one(frames=12)
    still = replace(clip, lips=np.repeat(clip.lips[:1] * 0 + synthetic_clips.lip_points(0.2), 12, 0))
    data = write_dataset(tmp_path, [still])
    assert MouthValidation([open_dataset(data)]).items == []
