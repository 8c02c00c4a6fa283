"""The rollout and the objective: what is fed back, what is weighed, who is frozen, who learns from what."""

from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
import torch

from talkface.config import ALIGNED_LIPS
from talkface.model.generator import LIP_POINTS
from talkface.train import losses
from talkface.train.objective import Objective, Rollout, frozen, lip_offsets, other_sequence, photo_offsets
from talkface.train.presets import TINY, ablated

pytestmark = pytest.mark.usefixtures("one_thread")

COUNT, LENGTH = 2, 2
OPEN = torch.tensor(ALIGNED_LIPS)
OPEN[[*range(1, 10), *range(21, 30)], 1] += 8  # the lower lip


@pytest.fixture(scope="module")
def base_config(mini_config):
    return replace(TINY, generator=mini_config)


@pytest.fixture(scope="module")
def batch():
    random = torch.Generator().manual_seed(5)
    draw = lambda *shape: torch.rand(*shape, generator=random)  # noqa: E731
    return SimpleNamespace(
        identity_frame=draw(COUNT, 3, 96, 96),
        previous_frame=draw(COUNT, 3, 96, 96),
        frames=draw(COUNT, LENGTH, 3, 96, 96),
        windows=draw(COUNT, LENGTH, 3, 20, 13),
        identity_lips=OPEN + 4 * draw(COUNT, 40, 2),
        lips=OPEN + 4 * draw(COUNT, LENGTH, 40, 2),
        clip_mean_lips=OPEN + 4 * draw(COUNT, 40, 2),
    )


RATE = torch.tensor([0.3, 0.8])[:, None, None, None]
FROM_REAL = torch.tensor([True, False])[:, None, None, None]


NONE_GIVEN = torch.zeros(COUNT, 1, 1, dtype=torch.bool)


def rolled(net, batch, given=NONE_GIVEN, hears=True):
    return Rollout(net)(batch, RATE, FROM_REAL, given, hears)


@pytest.mark.parametrize("given, hears", [((0, 0), True), ((1, 0), True), ((1, 1), True), ((1, 1), False)])
@torch.no_grad()
def test_a_rollout_feeds_each_frame_and_its_mask_to_the_next(batch, given, hears, make_generator):
    net = make_generator()
    made = rolled(net, batch, torch.tensor(given)[:, None, None] > 0, hears)
    for row in range(COUNT):
        photo = batch.identity_frame[row : row + 1]
        identity = net.encode_identity(photo, batch.identity_lips[row : row + 1], RATE[row].item())
        if given[row]:
            identity = identity._replace(lips=photo_offsets(batch)[row : row + 1])
        previous, mask = (
            (batch.previous_frame if FROM_REAL[row] else batch.identity_frame)[row : row + 1],
            net.first_mask(1),
        )
        for moment in range(LENGTH):
            offsets = lip_offsets(batch)[row, moment][None]
            audio, true = net.encode_audio(batch.windows[row, moment][None]), net.encode_lips(offsets)
            if not hears:
                audio = true
            elif given[row]:
                audio[:, : 2 * LIP_POINTS] = true[:, : 2 * LIP_POINTS]
            frame = net.step(identity, audio, previous, mask)
            previous, mask = net.compose(photo, frame), frame.mask
            at = row * LENGTH + moment
            assert torch.allclose(made.masks[at], mask[0], atol=1e-3)
            assert (made.frames[at] - previous[0]).abs().mean() < 1e-3
    assert (made.predicted_lips is not None) == hears


def test_no_gradient_passes_through_a_frame_that_is_fed_back(batch, make_generator):
    """Each frame answers for itself: the last one's error tells the first one's sound nothing."""
    net = make_generator().requires_grad_(True)
    heard = SimpleNamespace(**vars(batch) | {"windows": batch.windows.clone().requires_grad_()})
    made = rolled(net, heard)
    made.frames.unflatten(0, (COUNT, LENGTH))[:, 1].sum().backward()
    assert heard.windows.grad[:, 0].abs().max() == 0
    assert heard.windows.grad[:, 1].abs().max() > 0


@pytest.mark.parametrize("taught", [False, True])
def test_lips_that_have_a_loss_of_their_own_learn_nothing_from_pictures(batch, taught, make_generator):
    net = make_generator().requires_grad_(True)
    made = Rollout(net, detach_lips=taught)(batch, RATE, FROM_REAL, NONE_GIVEN, True)
    made.frames.sum().backward(retain_graph=True)
    assert (net.lip_head.weight.grad is None) == taught
    assert net.audio_detail.weight.grad.abs().max() > 0
    made.predicted_lips.sum().backward()
    assert net.lip_head.weight.grad.abs().max() > 0


def test_lip_offsets_are_from_the_clips_mean_in_units_of_eight_px(batch):
    assert torch.allclose(lip_offsets(batch)[1, 0], (batch.lips[1, 0] - batch.clip_mean_lips[1]) / 8)


def test_a_marginal_pair_takes_the_sound_of_the_other_sequence_at_the_same_moment():
    assert other_sequence(4, 3).tolist() == [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]


def test_the_generators_loss_is_the_weighted_terms_by_name(batch, mini_config, make_generator, base_config):
    """Eq. 13, and what is not in the paper beside it."""
    objective = Objective(base_config)
    made = rolled(make_generator(), batch)
    with torch.no_grad():
        terms = objective.generator_terms(batch, made, adversaries=True)
    real, windows = batch.frames.flatten(0, 1), batch.windows.flatten(0, 1)
    area, last = mini_config.window, slice(1, None, 2)
    looked = [losses.crop_lips(x[last], area) for x in (real, made.frames)]
    with torch.no_grad():
        judged = objective.discriminator(made.frames, windows)
        expected = {
            "lip": base_config.lip_weight * losses.lip_loss(real, made.frames, area),
            "frame": base_config.frame_weight * (real - made.frames).abs().mean(),
            "flow": base_config.flow_weight
            * losses.flow_at_lips_loss(made.flows, batch.identity_lips[[0, 0, 1, 1]], batch.lips.flatten(0, 1), area),
            "rgb": base_config.rgb_weight * losses.masked_l1_loss(real, made.colours, made.masks),
            "neutral_lip": base_config.neutral_lip_weight
            * losses.lip_shape_loss(made.neutral_lips, (batch.identity_lips - batch.clip_mean_lips) / 8),
            "mask": base_config.mask_weight * made.masks.mean(),
            "audio_lip": base_config.audio_lip_weight
            * losses.lip_shape_loss(made.predicted_lips, lip_offsets(batch).flatten(0, 1)),
            "perceptual": base_config.perceptual_weight * losses.perceptual_loss(objective.features, *looked),
            "gan": base_config.gan_weight * losses.generator_gan_loss(judged),
        }
    assert set(terms) == {*expected, "mi"}
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-5), name


@pytest.mark.parametrize("estimate", ["js", "dv"])
def test_the_mutual_information_term_is_the_estimate_with_its_sign_turned(batch, estimate, make_generator, base_config):
    """Eq. 12: maximised by minimising its negative."""
    objective = Objective(replace(base_config, estimate=estimate, perceptual_weight=0.0)).eval()
    made = rolled(make_generator(), batch)
    with torch.no_grad():
        terms = objective.generator_terms(batch, made, adversaries=True)
        found = objective.mutual_information(made.frames, batch.windows)
    assert terms["mi"].item() == pytest.approx(-base_config.mi_weight * found.item(), rel=1e-5)


def test_a_term_of_weight_zero_is_not_computed(batch, make_generator, base_config):
    weights = {field.name: 0.0 for field in fields(base_config) if field.name.endswith("_weight")}
    config = replace(base_config, **weights | {"mask_weight": 1.0})
    objective = Objective(config)
    assert objective.features is None
    assert set(objective.generator_terms(batch, rolled(make_generator(), batch), adversaries=True)) == {"mask"}


def test_a_head_without_a_warp_has_no_flow_term(batch, mini_config, make_generator, base_config):
    config = replace(base_config, generator=replace(mini_config, head="colour"), perceptual_weight=0.0)
    made = rolled(make_generator(config.generator), batch)
    assert "flow" not in Objective(config).generator_terms(batch, made, adversaries=False)


def gradients(network):
    return {name: None if p.grad is None else p.grad.clone() for name, p in network.named_parameters()}


def test_the_adversaries_judge_frozen_and_the_gradient_passes_to_the_generator(batch, make_generator, base_config):
    net, objective = make_generator().requires_grad_(True), Objective(replace(base_config, perceptual_weight=0.0))
    terms = objective.generator_terms(batch, rolled(net, batch), adversaries=True)
    (terms["gan"] + terms["mi"]).backward()
    assert all(gradient is None for gradient in gradients(objective).values())
    assert net.picture_head.weight.grad.abs().max() > 0
    assert all(p.requires_grad for p in objective.discriminator.parameters())
    assert all(p.requires_grad for p in objective.statistics.parameters())


def statistics_gradient(config, batch, fake):
    torch.manual_seed(3)
    objective = Objective(config).eval()
    made = SimpleNamespace(frames=fake)
    objective.adversary_terms(batch, made)["statistics"].backward()
    return torch.cat([p.grad.flatten() for p in objective.statistics.parameters()])


@pytest.mark.parametrize("row", ["amie", "full", "mine-asy-da", "mine", "mine-js", "mine-da", "mine-js-da"])
def test_asymmetric_training_learns_from_real_frames_alone_and_symmetric_from_generated_ones(batch, row, base_config):
    """Paper 3.2: T is trained on real pairs; MINE is trained on the pairs that it estimates."""
    config = replace(ablated(base_config, row), perceptual_weight=0.0, gan_weight=0.0)
    fakes = [torch.rand(COUNT * LENGTH, 3, 96, 96, requires_grad=True) for _ in range(2)]
    other = SimpleNamespace(**vars(batch) | {"frames": torch.rand_like(batch.frames)})
    base = statistics_gradient(config, batch, fakes[0])
    free_of_generated = torch.equal(base, statistics_gradient(config, batch, fakes[1]))
    free_of_real = torch.equal(base, statistics_gradient(config, other, fakes[0]))
    assert free_of_generated == config.asymmetric
    assert free_of_real == (not config.asymmetric)
    assert all(fake.grad is None for fake in fakes)  # and nothing flows back to the generator


def test_the_baseline_has_no_estimator_to_train(batch, base_config):
    config = replace(ablated(base_config, "baseline"), perceptual_weight=0.0)
    made = SimpleNamespace(frames=torch.rand(COUNT * LENGTH, 3, 96, 96))
    assert set(Objective(config).adversary_terms(batch, made)) == {"discriminator"}


def test_frozen_thaws_what_it_froze_and_no_more(base_config):
    objective = Objective(base_config)
    before = {name: p.requires_grad for name, p in objective.named_parameters()}
    with frozen(objective):
        assert not any(p.requires_grad for p in objective.parameters())
    assert {name: p.requires_grad for name, p in objective.named_parameters()} == before
    assert not any(wanted for name, wanted in before.items() if name.startswith("features"))
