"""The stage "full": who learns from what and in which order."""

from dataclasses import replace

import pytest
import torch

from talkface.data.reader import open_dataset
from talkface.data.sequences import SequenceBatches
from talkface.model.amie import EstimatorConfig, StatisticsNetwork, other_moments
from talkface.model.generator import Generator
from talkface.model.paper import PaperConfig, PaperGenerator
from talkface.train import full_stage, losses
from talkface.train.curriculum import Curriculum, Networks
from talkface.train.full_stage import FullStage
from talkface.train.lips_stage import lip_shape_loss
from talkface.train.presets import ABLATION_BASE, ABLATIONS, PAPER, ObjectiveConfig, Stage, ablated
from talkface.train.rollout import roll_out

pytestmark = pytest.mark.usefixtures("one_thread")

PAPER_SIZES = PaperConfig(widths=(8, 8, 16, 16, 16), audio_features=16)
PAPER_ESTIMATOR = EstimatorConfig(256, 256, (4, 4, 8, 8, 8, 8), features=8)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, synthetic_clips, write_dataset):
    return open_dataset(write_dataset(tmp_path_factory.mktemp("synthetic"), synthetic_clips.many(2, 20)))


@pytest.fixture(scope="module")
def batch(dataset):
    """Two moments of two frames of each of two clips."""
    return SequenceBatches([dataset]).batch(0, 2, 2, 2)


@pytest.fixture
def make_stage(mini_config, mini_estimator):
    def make(config=None, generator=None):
        torch.manual_seed(0)
        networks = generator or Generator(mini_config), StatisticsNetwork(mini_estimator)
        return FullStage(*networks, config or ObjectiveConfig(), moments=2)

    return make


def snapshot(stage):
    parts = {"generator": stage.generator, "T": stage.statistics, "D": stage.discriminator}
    return {f"{part}.{name}": t.clone() for part, net in parts.items() for name, t in net.state_dict().items()}


def changed(before, stage):
    """The networks any of whose weights differ by a bit."""
    now = snapshot(stage)
    return {name.split(".")[0] for name in before if not torch.equal(before[name], now[name])}


def still(stage):
    """The stage with adversaries that get gradients but do not move, and with the same dropout for any loss."""
    stage.discriminator_optimizer.step = stage.statistics_optimizer.step = lambda *_: None
    stage.statistics.classifier[0].p = stage.statistics.audio_encoder.dropout.p = 0.0
    return stage


# The step of the GAN


@pytest.mark.parametrize("row", ["full", "mine"])
def test_the_adversaries_learn_first_and_stay_as_they_are_while_the_generator_learns(
    make_stage, batch, monkeypatch, row
):
    stage = make_stage(ablated(ABLATION_BASE, row).full)
    done, step = [], full_stage.optimizer_step

    def noted(optimizer, terms, *arguments, **others):
        before = snapshot(stage)
        frozen = [not p.requires_grad for net in (stage.discriminator, stage.statistics) for p in net.parameters()]
        step(optimizer, terms, *arguments, **others)
        done.append((set(terms), changed(before, stage), all(frozen)))

    monkeypatch.setattr(full_stage, "optimizer_step", noted)
    stage.step(0, 0.0, batch)
    assert done == [
        ({"discriminator"}, {"D"}, False),
        ({"statistics"}, {"T"}, False),
        ({"gan", "perceptual", "lip", "mi"}, {"generator"}, True),
    ]
    assert all(p.requires_grad for net in (stage.discriminator, stage.statistics) for p in net.parameters())


def test_the_adversaries_get_no_gradient_from_the_generators_loss(make_stage, batch):
    stage = still(make_stage())
    stage.step(0, 0.0, batch)
    theirs = [p.grad.clone() for net in (stage.discriminator, stage.statistics) for p in net.parameters()]
    torch.manual_seed(5)
    other = still(make_stage(ObjectiveConfig(gan_weight=9.0, mi_weight=9.0)))
    other.step(0, 0.0, batch)
    again = [p.grad for net in (other.discriminator, other.statistics) for p in net.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(theirs, again, strict=True))


def test_the_generators_loss_is_the_papers_with_its_weights(make_stage, batch):
    """Eq. 13; the adversaries stand still, so that their scores can be computed again."""
    config = ObjectiveConfig(
        gan_weight=0.3, perceptual_weight=2.0, lip_weight=5.0, mi_weight=0.7, audio_lip_weight=0.2, learning_rate=0.0
    )
    stage = still(make_stage(config))
    stage.statistics.eval()  # without dropout
    for module in stage.generator.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    torch.manual_seed(3)
    terms = stage.step(0, 0.0, batch)
    torch.manual_seed(3)
    rate = stage._rate(0.0, 4)
    with torch.no_grad():
        made, windows = roll_out(stage.generator, batch, rate), batch.own_windows.flatten(0, 1)
        real, fake = batch.frames.flatten(0, 1), made.frames
        own = stage.statistics(fake, windows)
        other = stage.statistics(fake, windows[[2, 3, 0, 1, 6, 7, 4, 5]])
        expected = {
            "gan": 0.3 * losses.generator_gan_loss(stage.discriminator(fake, windows)),
            "perceptual": 2.0 * losses.perceptual_loss(stage.features, real, fake),
            "lip": 5.0 * losses.lip_loss(real, fake),
            "mi": 0.7 * (torch.nn.functional.softplus(-own).mean() + torch.nn.functional.softplus(other).mean()),
            "audio_lip": 0.2 * lip_shape_loss(made.lips, batch.lips).mean(),
            "discriminator": losses.discriminator_loss(
                stage.discriminator(real, windows), stage.discriminator(fake, windows)
            ),
        }
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4), name


@pytest.mark.parametrize("row", ["full", "mine-asy-da", "mine", "mine-js-da"])
def test_asymmetric_training_learns_from_real_frames_alone_and_symmetric_from_generated_ones(make_stage, batch, row):
    """Paper 3.2: T is trained on real pairs; MINE is trained on the pairs that it estimates."""
    config = ablated(ABLATION_BASE, row).full
    other = batch._replace(frames=torch.rand_like(batch.frames))

    def statistics_gradient(batch, colour):
        stage = still(make_stage(config))
        with torch.no_grad():
            stage.generator.frame_decoder.smooth.bias[:3] += colour
        torch.manual_seed(1)
        stage.step(0, 0.0, batch)
        return torch.cat([p.grad.flatten() for p in stage.statistics.parameters()])

    base = statistics_gradient(batch, 0.0)
    assert torch.equal(base, statistics_gradient(batch, 1.0)) == config.asymmetric  # free of generated frames
    assert torch.equal(base, statistics_gradient(other, 0.0)) == (not config.asymmetric)  # free of real frames


@pytest.mark.parametrize("row", ABLATIONS)
def test_every_row_of_table_3_takes_a_step_with_the_terms_that_its_name_says(row, dataset, mini_config, mini_estimator):
    config = ablated(replace(ABLATION_BASE, generator=mini_config, estimator=mini_estimator), row)
    terms = trained(replace(config, stages=(Stage("full", 1, 1, rollout=2, moments=2),)), dataset)
    expected = {"gan", "perceptual", "lip", "discriminator"}
    assert terms.keys() == expected | ({"mi", "statistics"} if config.full.estimate != "none" else set())
    assert all(torch.isfinite(value) for value in terms.values())


def test_the_papers_preset_takes_a_step_with_the_terms_of_eq_13_and_no_other(dataset):
    config = replace(PAPER, generator=PAPER_SIZES, estimator=PAPER_ESTIMATOR)
    terms = trained(replace(config, stages=(replace(PAPER.stages[0], steps=1, batch=1, rollout=2),)), dataset)
    assert terms.keys() == {"gan", "perceptual", "lip", "mi", "discriminator", "statistics"}
    assert all(torch.isfinite(value) for value in terms.values())


def trained(config, dataset):
    """The loss terms of the first step of a stage; all four parts of the generator must have learned."""
    networks = Networks.build(config)
    running = Curriculum(config, networks, [dataset], [], None, 1, torch.device("cpu"), None).build(
        config.stages[0], True
    )
    for parameter in networks.generator.parameters():  # some layers begin with zeros, behind which nothing learns
        parameter.data += 0.02 * torch.randn_like(parameter)
    before = {name: tensor.clone() for name, tensor in networks.generator.named_parameters()}
    terms = running.trainer.step(0, 0.0, running.batch(0))
    learned = {name.split(".")[0] for name, p in networks.generator.named_parameters() if (p != before[name]).any()}
    assert learned == {"identity_encoder", "audio_encoder", "image_encoder", "frame_decoder"}
    return terms


@pytest.mark.parametrize("term", ["gan", "perceptual", "lip", "mi"])
def test_the_gradient_of_every_term_reaches_the_lips_that_are_predicted_from_the_sound(make_stage, batch, term):
    """So that what AMIE asks for can change the lips."""
    stage = make_stage()
    windows, real = batch.own_windows.flatten(0, 1), batch.frames.flatten(0, 1)
    fake = roll_out(stage.generator, batch, torch.ones(4, 1, 1, 1)).frames
    terms = {
        "gan": lambda: losses.generator_gan_loss(stage.discriminator(fake, windows)),
        "perceptual": lambda: losses.perceptual_loss(stage.features, real, fake),
        "lip": lambda: losses.lip_loss(real, fake),
        "mi": lambda: stage.mutual_information(fake, batch),
    }
    gradient = torch.autograd.grad(terms[term](), stage.generator.audio_encoder.from_sound.weight)[0]
    assert gradient.abs().max() > 0


def test_no_gradient_passes_through_a_frame_that_is_fed_back(make_stage, batch):
    """Each frame answers for itself: the second frame's error tells the first picture nothing."""
    generator = make_stage().generator
    colour = torch.zeros(1, 3, 1, 1, requires_grad=True)
    compose, calls = generator.compose, []

    def tinted(identity, frame):
        calls.append(frame)
        return compose(identity, frame) + (colour if len(calls) == 1 else 0)

    generator.compose = tinted
    frames = roll_out(generator, batch, torch.ones(4, 1, 1, 1)).frames.unflatten(0, (4, 2))
    assert torch.autograd.grad(frames[:, 1].sum(), colour, retain_graph=True)[0].abs().max() == 0
    assert torch.autograd.grad(frames[:, 0].sum(), colour)[0].abs().max() > 0


def test_the_mask_of_the_papers_generator_learns_from_the_next_frame():
    generator = PaperGenerator(PAPER_SIZES)
    batch = paper_batch()
    frames = roll_out(generator, batch, torch.full((2, 1, 1, 1), 0.3)).frames.unflatten(0, (2, 2))
    mask_bias = generator.frame_decoder.head.bias
    assert torch.autograd.grad(frames[:, 0].sum(), mask_bias, retain_graph=True)[0][3] == 0
    assert torch.autograd.grad(frames[:, 1].sum(), mask_bias)[0][3] != 0


def paper_batch():
    """Random pictures: one clip with two moments of two frames."""
    draw = torch.Generator().manual_seed(1)
    rand = lambda *shape: torch.rand(*shape, generator=draw)  # noqa: E731
    points = [rand(2, 40, 2), rand(2, 2, 40, 2), rand(2, 2), rand(2, 2, 2), torch.zeros(2, 2)]
    return full_stage.SequenceBatch(rand(2, 3, 256, 256), rand(2, 2, 3, 256, 256), *points, rand(2, 18, 20, 13))


def test_attention_rates_follow_the_schedule_and_are_one_for_all_moments_of_a_clip(make_stage):
    stage = make_stage()
    for progress, low, high in ((0.0, 0.7, 0.9), (0.75, 0.1, 0.3), (0.9, 1.0, 1.0)):
        rates = stage._rate(progress, 400)
        assert rates.shape == (400, 1, 1, 1)
        assert torch.equal(rates[::2], rates[1::2])
        assert low <= rates.min() <= low + 0.02
        assert high - 0.02 <= rates.max() <= high + 1e-6
    assert make_stage(ObjectiveConfig(attention_schedule=False))._rate(0.75, 10).unique().tolist() == [1.0]


def test_the_average_of_a_generator_that_starts_here_forgets_its_random_weights(make_stage):
    """The paper's preset has no stage before; other generators have learned in one."""
    random = make_stage(generator=PaperGenerator(PAPER_SIZES))
    trained = make_stage()
    assert random.ema.updates == 0
    assert trained.ema.updates > 1000


# Mutual information


def test_a_marginal_pair_takes_the_sound_of_another_moment_of_the_same_clip():
    """2 clips x 3 moments x 2 frames: each frame is paired with the same frame of the clip's next moment."""
    assert other_moments(2, 3, 2).tolist() == [[2, 3, 4, 5, 0, 1, 8, 9, 10, 11, 6, 7]]
