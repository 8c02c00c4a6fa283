"""Presets, and the nine rows of the paper's Table 3."""

from dataclasses import asdict, replace

import pytest
import torch

from talkface.errors import TalkfaceError
from talkface.model.paper import PaperConfig, PaperGenerator
from talkface.train.curriculum import Networks
from talkface.train.options import StageProgress
from talkface.train.presets import (
    ABLATION_BASE,
    ABLATIONS,
    PAPER,
    PAPER_NAMES,
    PAPER_TABLE_3,
    PRESETS,
    SMALL,
    STAGES,
    TINY,
    LipsConfig,
    MouthConfig,
    ObjectiveConfig,
    Stage,
    TrainConfig,
    ablated,
    preset,
    scaled,
)

TOLD_APART = ("full.estimate", "full.asymmetric", "full.attention_schedule", "generator.attention")
# What the names of Table 3 say: which estimate (MINE is Donsker-Varadhan; JS), asymmetric or not, dynamic attention.
TABLE_3 = {
    "baseline": ("none", False, False),
    "mine": ("dv", False, False),
    "da": ("none", False, True),
    "mine-da": ("dv", False, True),
    "mine-js": ("js", False, False),
    "mine-js-da": ("js", False, True),
    "mine-asy-da": ("dv", True, True),
    "amie": ("js", True, False),
    "full": ("js", True, True),
}


def flat(config):
    parts = asdict(config)
    return {
        f"{part}.{name}" if name else part: value
        for part, values in parts.items()
        for name, value in (values.items() if isinstance(values, dict) else [("", values)])
    }


@pytest.mark.parametrize("base", [ABLATION_BASE, PAPER, TINY], ids=["base", "paper", "tiny"])
@pytest.mark.parametrize("row", TABLE_3)
def test_a_row_has_exactly_what_the_papers_name_says(row, base):
    config = flat(ablated(base, row))
    assert tuple(config[name] for name in TOLD_APART) == (*TABLE_3[row], TABLE_3[row][2])
    assert {n: v for n, v in config.items() if n not in TOLD_APART} == {
        n: v for n, v in flat(base).items() if n not in TOLD_APART
    }


def test_the_rows_are_the_papers_in_its_order():
    assert list(ABLATIONS) == list(TABLE_3) == list(PAPER_TABLE_3) == list(PAPER_NAMES)


def test_the_full_row_is_the_preset_itself():
    for base in (ABLATION_BASE, PAPER, TINY):
        assert ablated(base, "full") == base


def test_the_rows_differ_from_each_other():
    assert len({str(flat(preset(row))) for row in ABLATIONS}) == 9


def test_a_row_by_name_is_of_the_ablations_base_which_takes_mfcc_as_the_papers_generator_does():
    assert preset("mine-js") == ablated(ABLATION_BASE, "mine-js")
    assert ABLATION_BASE.generator.hearing == "mfcc"
    assert [stage.name for stage in ABLATION_BASE.stages][-1] == "full"


def test_presets_by_their_names():
    assert {name: preset(name) for name in ("small", "paper", "tiny")} == PRESETS
    assert preset("small") == TrainConfig()


@pytest.mark.parametrize("name", [*PRESETS, "full"])
def test_every_preset_has_stages_that_its_generator_can_learn_in(name):
    """Networks can be built, and stages that need MFCC have a generator that takes it."""
    config = preset(name)
    networks = Networks.build(config)
    names = [stage.name for stage in config.stages]
    assert names == sorted(names, key=STAGES.index)
    if not isinstance(networks.generator, PaperGenerator) and set(names) & {"visemes", "full"}:
        assert networks.generator.audio_encoder.windows is not None
    assert config.mouth.l1_steps + config.mouth.warmup_steps < max(stage.steps for stage in config.stages)


def test_statistics_networks_see_pictures_of_the_generators_size():
    assert (PAPER.estimator.height, PAPER.estimator.width) == (256, 256)
    assert {(c.estimator.height, c.estimator.width) for c in (SMALL, TINY, ABLATION_BASE)} == {(64, 88)}


def test_networks_follow_from_the_seed():
    one, same, other = (Networks.build(replace(TINY, seed=seed)).state_dict() for seed in (3, 3, 4))
    name = "frame_decoder.picture_head.weight"
    assert torch.equal(one["generator"][name], same["generator"][name])
    assert not torch.equal(one["generator"][name], other["generator"][name])


def test_the_papers_preset_is_the_papers():
    """3.1 to 3.4: one stage with the whole objective, sequences of frames, asymmetric JS, dynamic attention."""
    assert isinstance(PAPER.generator, PaperConfig)
    assert [stage.name for stage in PAPER.stages] == ["full"]
    assert PAPER.stages[0].rollout > 1
    full = PAPER.full
    assert (full.estimate, full.asymmetric, full.attention_schedule, PAPER.generator.attention) == ("js", *[True] * 3)
    assert min(full.gan_weight, full.perceptual_weight, full.lip_weight, full.mi_weight) > 0
    assert full.audio_lip_weight == 0  # not in the paper


def test_a_share_of_the_steps_is_a_share_of_every_stage():
    tenth = scaled(SMALL, 0.1)
    assert [stage.steps for stage in tenth.stages] == [stage.steps / 10 for stage in SMALL.stages]
    assert (tenth.mouth.l1_steps, tenth.mouth.warmup_steps) == (80, 120)
    assert {stage.steps for stage in scaled(SMALL, 1e-9).stages} == {1}
    assert replace(tenth, stages=SMALL.stages, mouth=SMALL.mouth) == SMALL


def test_a_stages_progress_counts_from_its_own_beginning():
    assert StageProgress(Stage("lips", 40, 2), begin=100).progress(110) == 0.25


def test_each_stage_has_its_settings():
    kinds = {name: type(getattr(SMALL, SMALL.field_of(name))) for name in STAGES}
    assert kinds == {
        "visemes": LipsConfig,
        "lips": LipsConfig,
        "mouth": MouthConfig,
        "estimator": ObjectiveConfig,
        "full": ObjectiveConfig,
    }


@pytest.mark.parametrize(
    "make, told",
    [
        (lambda: preset("smal"), "--preset smal"),
        (lambda: ablated(SMALL, "mine-asy"), "mine-asy"),
        (lambda: Stage("reading", 1, 2), "reading"),
        (lambda: Stage("lips", 1, 0), "batch 0"),
        (lambda: Stage("mouth", 0, 2), "steps 0"),
        (lambda: Stage("mouth", 1, 2, rollout=0), "rollout 0"),
        (lambda: Stage("full", 1, 2), "1 moment"),
        (lambda: Stage("estimator", 1, 2, moments=1), "1 moment"),
        (lambda: ObjectiveConfig(estimate="kl"), "kl"),
        (lambda: replace(PAPER, stages=SMALL.stages), "full and estimator only"),
        (lambda: scaled(SMALL, 0), "--steps-scale 0"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(make, told):
    with pytest.raises(TalkfaceError) as error:
        make()
    assert told in str(error.value)
