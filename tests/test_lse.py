import numpy as np
import pytest
import torch

from talkface.errors import TalkfaceError
from talkface.metrics.lse import FEATURES, SyncNet, embed, face_crops, load_syncnet, lse, syncnet_mfcc


def noise(samples, seed=0):
    return (np.random.default_rng(seed).normal(size=samples) * 3000).astype(np.int16)


def test_mfcc_are_those_of_python_speech_features():
    reference = pytest.importorskip("python_speech_features", reason="no python_speech_features to compare MFCC with")
    for samples in (20_001, 400, 399, 16_000):
        np.testing.assert_allclose(syncnet_mfcc(noise(samples)), reference.mfcc(noise(samples), 16_000), atol=1e-9)


def test_mfcc_of_a_known_sound_are_the_recorded_ones():
    # python_speech_features 0.6 on the same sound: first and last step, first four coefficients.
    time = np.arange(4000) / 16_000
    sound = np.round(8000 * np.sin(2 * np.pi * (200 * time + 3000 * time**2))).astype(np.int16)
    found = syncnet_mfcc(sound)
    assert found.shape == (24, 13)
    np.testing.assert_allclose(found[0, :4], [18.187484, 28.329127, 17.903673, 7.63979], atol=1e-6)
    np.testing.assert_allclose(found[-1, :4], [21.408538, -1.17922, -35.873833, -7.691954], atol=1e-6)


def test_the_network_has_the_published_number_of_weights_under_the_published_names():
    network = SyncNet()
    assert sum(weight.numel() for weight in network.parameters()) == 13_631_616
    assert network.state_dict()["netcnnaud.4.weight"].shape == (192, 64, 3, 3)
    assert network.state_dict()["netcnnlip.18.weight"].shape == (512, 256, 1, 6, 6)
    assert network.state_dict()["netfclip.3.weight"].shape == (1024, 512)


@pytest.mark.parametrize("late", [-6, 0, 3, 15])
def test_the_offset_of_a_late_mouth_is_positive_and_does_not_raise_the_distance(late):
    sound = torch.randn(200, FEATURES, generator=torch.Generator().manual_seed(0))
    seen = sound[50 - late : 150 - late] + 0.01
    distance, confidence, offset = lse(seen, sound[50:150])
    assert offset == late
    if late == 0:
        assert distance == pytest.approx(0.01 * FEATURES**0.5, rel=1e-3)
    assert confidence > 1


def test_the_embeddings_of_frames_and_sound_are_those_of_the_same_time():
    torch.manual_seed(0)
    network = SyncNet().eval()
    crops = np.random.default_rng(0).integers(0, 256, (13, 224, 224, 3), dtype=np.uint8)
    seen, heard = embed(network, iter(crops), noise(16_000), batch=4)
    assert seen.shape == heard.shape == (8, FEATURES)
    with torch.inference_mode():
        picture = torch.from_numpy(crops[2:7, :, :, ::-1].copy()).permute(3, 0, 1, 2)[None].float()
        torch.testing.assert_close(seen[2:3], network.embed_picture(picture), rtol=1e-4, atol=1e-5)
        steps = torch.from_numpy(syncnet_mfcc(noise(16_000))[8:28].T.copy()).float()
        torch.testing.assert_close(heard[2:3], network.embed_sound(steps[None, None]), rtol=1e-4, atol=1e-5)


def test_a_crop_has_the_face_at_its_place_in_the_crop_box():
    # In the aligned face the box has its left top corner at (-2, 44) and a side of 260 px.
    frame = np.zeros((256, 256, 3), np.uint8)
    frame[170:179, 124:133] = 255  # about (128, 174), the centre of the box
    [crop] = face_crops([frame, frame], np.eye(3)[None, :2])
    assert crop.shape == (224, 224, 3)
    y, x = np.nonzero(crop[..., 0] > 127)
    assert (x.mean(), y.mean()) == (pytest.approx(111.5, abs=1), pytest.approx(111.5, abs=1))
    assert np.ptp(x) + 1 == pytest.approx(9 * 224 / 260, abs=1)


def test_there_are_no_embeddings_after_the_end_of_the_sound():
    crops = np.zeros((20, 224, 224, 3), np.uint8)
    seen, _ = embed(SyncNet().eval(), iter(crops), noise(640 * 8))
    assert len(seen) == 3


def test_a_video_that_is_too_short_has_no_embeddings():
    seen, heard = embed(SyncNet().eval(), iter(np.zeros((4, 224, 224, 3), np.uint8)), noise(16_000))
    assert len(seen) == len(heard) == 0


def test_saved_weights_are_loaded_and_other_files_are_errors(tmp_path):
    torch.save(SyncNet().state_dict(), tmp_path / "syncnet_v2.model")
    assert not load_syncnet(tmp_path / "syncnet_v2.model").training
    (tmp_path / "other").write_text("no")
    with pytest.raises(TalkfaceError, match="does not hold SyncNet's weights"):
        load_syncnet(tmp_path / "other")
    with pytest.raises(TalkfaceError, match="There is no file"):
        load_syncnet(tmp_path / "missing")
