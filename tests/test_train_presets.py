"""Presets, and the nine rows of the paper's Table 3."""

from dataclasses import asdict, replace

import pytest

from talkface.errors import TalkfaceError
from talkface.train.presets import ABLATIONS, PAPER, PAPER_TABLE_3, PRESETS, SMALL, TINY, Stage, ablated, preset

TOLD_APART = ("estimate", "asymmetric", "attention_schedule", "generator.attention")
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
    values = asdict(config)
    generator = values.pop("generator")
    return values | {f"generator.{name}": value for name, value in generator.items()}


@pytest.mark.parametrize("base", [SMALL, PAPER, TINY], ids=["small", "paper", "tiny"])
@pytest.mark.parametrize("row", TABLE_3)
def test_a_row_has_exactly_what_the_papers_name_says(row, base):
    config = flat(ablated(base, row))
    assert tuple(config[name] for name in TOLD_APART) == (*TABLE_3[row], TABLE_3[row][2])
    assert {n: v for n, v in config.items() if n not in TOLD_APART} == {
        n: v for n, v in flat(base).items() if n not in TOLD_APART
    }


def test_the_rows_are_the_papers_in_its_order():
    assert list(ABLATIONS) == list(TABLE_3) == list(PAPER_TABLE_3)


def test_the_full_row_is_the_preset_itself():
    for name in PRESETS:
        assert ablated(preset(name), "full") == preset(name)


def test_the_rows_differ_from_each_other():
    assert len({str(flat(preset(row))) for row in ABLATIONS}) == 9


def test_an_ablation_by_name_is_taken_off_small():
    assert preset("mine-js") == ablated(SMALL, "mine-js")


def test_the_papers_preset_is_the_papers():
    """3.1 to 3.4: one window of sound, no warp and no lessons; 256 px; every term of Eq. 13 and no other but L1."""
    assert PAPER.generator.window == (0, 0, 256)
    assert PAPER.generator.audio_context == 0
    assert PAPER.generator.head == "colour"
    assert [stage.lesson for stage in PAPER.stages] == ["full"]
    assert (PAPER.flow_weight, PAPER.audio_lip_weight, PAPER.mask_weight) == (0, 0, 0)
    assert min(PAPER.gan_weight, PAPER.perceptual_weight, PAPER.lip_weight, PAPER.mi_weight) > 0
    assert (PAPER.perceptual_crop, PAPER.perceptual_last_frames) == ("frame", 0)


@pytest.mark.parametrize(
    "make,told",
    [
        (lambda: preset("smal"), "--preset smal"),
        (lambda: ablated(SMALL, "mine-asy"), "mine-asy"),
        (lambda: Stage("reading", 1, 2), "reading"),
        (lambda: Stage("full", 1, 3), "3"),
        (lambda: Stage("full", 1, 0), "0"),
        (lambda: Stage("full", 0, 2), "0 steps"),
        (lambda: Stage("full", 1, 2, rollout=0), "rollout"),
        (lambda: replace(SMALL, estimate="kl"), "kl"),
        (lambda: replace(SMALL, perceptual_crop="nose"), "nose"),
        (lambda: replace(SMALL, perceptual_last_frames=-1), "-1"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(make, told):
    with pytest.raises(TalkfaceError) as error:
        make()
    assert told in str(error.value)
