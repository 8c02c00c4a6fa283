"""All networks as one module: which lesson trains what, and the average."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from talkface.data.visemes import VISEMES
from talkface.train.losses import lip_shape_loss
from talkface.train.networks import EMA, VISEME_CLASSES, Networks
from talkface.train.presets import STAGES


def names(networks, lesson):
    learned = {id(p) for p in networks.learners(lesson)}
    return {name.split(".")[1] for name, p in networks.named_parameters() if id(p) in learned and "." in name}


def test_each_lesson_trains_its_part_of_the_generator(mini_train_config):
    networks = Networks(mini_train_config)
    hearing = {"audio_encoder", "lip_head", "audio_detail"}
    every = {name.split(".")[0] for name, _ in networks.generator.named_parameters()}
    assert names(networks, "visemes") == {"audio_encoder", "weight", "bias"}  # and the layer of mouth classes
    assert names(networks, "sound") == {"audio_encoder", "lip_head", "photo_lips"}
    assert names(networks, "lips") == every - hearing
    assert names(networks, "full") == every


def test_no_lesson_trains_the_adversaries_or_the_features_by_the_generators_loss(mini_train_config):
    networks = Networks(replace(mini_train_config, perceptual_weight=1.0))
    theirs = {id(p) for p in networks.objective.parameters()}
    for lesson in STAGES:
        assert not theirs & {id(p) for p in networks.learners(lesson)}
    judges = {id(p) for p in networks.adversaries()}
    assert judges < theirs
    assert not judges & {id(p) for p in networks.objective.features.parameters()}


def test_the_first_lesson_tells_mouth_classes_from_one_window(mini_train_config):
    networks = Networks(mini_train_config).eval()
    windows, classes = torch.randn(4, 20, 13), torch.tensor([0, 5, 13, 2])
    logits = networks.viseme_head(networks.generator.audio_encoder.window(windows))
    loss = networks("visemes", windows, classes)["visemes"]
    assert loss.item() == pytest.approx(F.cross_entropy(logits, classes).item())
    assert len(VISEMES) == VISEME_CLASSES


def test_the_second_lesson_tells_lip_shapes_from_the_sound_and_from_where_they_are(mini_train_config):
    networks = Networks(mini_train_config).eval()
    windows, (lips, mean) = torch.randn(4, 3, 20, 13), torch.randn(2, 4, 40, 2)
    heard, seen = networks.generator.audio_and_lips(windows)[1], networks.generator.photo_lips(lips)
    terms = networks("sound", windows, lips, mean)
    assert terms["audio_lip"].item() == pytest.approx(lip_shape_loss(heard, (lips - mean) / 8).item())
    assert terms["neutral_lip"].item() == pytest.approx(lip_shape_loss(seen, (lips - mean) / 8).item())


def test_the_average_follows_by_its_decay(make_generator):
    net, target = make_generator(), make_generator(seed=1)
    average = EMA(net, decay=0.9)
    expected = net.place.clone() * 0
    for update in range(1, 4):
        average.update(target)
        weight = min(0.9, (1 + update) / (10 + update))
        expected = weight * expected + (1 - weight) * target.place
        start = 1.0
    for update in range(1, 4):
        start *= min(0.9, (1 + update) / (10 + update))
    assert torch.allclose(average.network.place, expected + start * net.place, atol=1e-6)
    assert not any(p.requires_grad for p in average.network.parameters())


def test_weights_that_were_learned_before_are_forgotten_by_the_decay_alone(make_generator):
    net, target = make_generator(), make_generator(seed=1)
    average = EMA(net, decay=0.9, random=False)
    average.update(target)
    assert torch.allclose(average.network.place, 0.9 * net.place + 0.1 * target.place, atol=1e-6)


def test_the_average_is_a_network_of_its_own(make_generator):
    net = make_generator()
    average = EMA(net, decay=0.9)
    net.place.add_(1)
    assert not torch.equal(average.network.place, net.place)
