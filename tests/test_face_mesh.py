"""The mesh and the detector agree with MediaPipe's own runtime; their building blocks agree with closed forms."""

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from talkface.errors import TalkfaceError
from talkface.face import landmarks
from talkface.face.blocks import DepthwiseBlock, pad_like_tensorflow
from talkface.face.detector import DETECTOR_SIZE, decode_detections
from talkface.face.detector_network import load_face_detector
from talkface.face.find import FaceFinder
from talkface.face.mesh import FEATURE_SIZE, REGION_SIZE, _crop, load_face_mesh
from talkface.face.weights import load_weights

GOLDEN = Path(__file__).parent / "data" / "astronaut_mediapipe.json"


@pytest.fixture(scope="module")
def golden():
    return np.array(json.loads(GOLDEN.read_text())["points"])


def test_lips_agree_with_mediapipe_within_one_percent_of_the_eye_distance(golden):
    [face] = FaceFinder().find(skimage.data.astronaut())
    off = np.linalg.norm(landmarks.lips(face.points) - landmarks.lips(golden), axis=1)
    assert off.max() < 0.01 * landmarks.eye_distance(golden)


def test_all_points_agree_with_mediapipe_within_three_percent_of_the_eye_distance(golden):
    [face] = FaceFinder().find(skimage.data.astronaut())
    off = np.linalg.norm(face.points - golden, axis=1)
    assert off.max() < 0.03 * landmarks.eye_distance(golden)
    assert off.mean() < 0.01 * landmarks.eye_distance(golden)


@pytest.mark.parametrize("size, kernel", [(192, 3), (128, 5), (6, 3), (7, 3)])
def test_padding_equals_tensorflows_same(size, kernel):
    # TensorFlow: ceil(size / stride) outputs, and the odd pixel of padding goes right and below.
    x = torch.ones(1, 1, size, size)
    padded = pad_like_tensorflow(x, kernel, 2)
    total = max((-(-size // 2) - 1) * 2 + kernel - size, 0)
    before = total // 2
    assert padded.shape == (1, 1, size + total, size + total)
    assert torch.equal(padded[:, :, before : before + size, before : before + size], x)
    assert padded.sum() == x.sum()


def test_a_block_with_zero_weights_returns_its_shortcut():
    block = DepthwiseBlock(2, 3, stride=2)
    torch.nn.init.zeros_(block.pointwise.weight)
    torch.nn.init.zeros_(block.pointwise.bias)
    x = torch.arange(32.0).view(1, 2, 4, 4)
    expected = torch.cat((torch.tensor([[[[5.0, 7], [13, 15]], [[21, 23], [29, 31]]]]), torch.zeros(1, 1, 2, 2)), 1)
    assert torch.equal(block(x), expected)


def test_a_region_is_cropped_with_half_pixel_centres_and_zeros_outside():
    columns = torch.arange(FEATURE_SIZE).float().expand(1, 1, FEATURE_SIZE, FEATURE_SIZE)
    shift = FEATURE_SIZE - REGION_SIZE / 2  # the right half of the crop lies outside
    matrix = torch.tensor([[[1.0, 0.0, shift], [0.0, 1.0, 0.0]]])
    cropped = _crop(columns, matrix)[0, 0]
    inside = REGION_SIZE // 2
    expected = shift + torch.arange(inside)  # a sample at the centre of each feature pixel: exactly its value
    assert torch.allclose(cropped[:, :inside], expected.expand(REGION_SIZE, inside))
    assert (cropped[:, inside:] == 0).all()


def test_the_mesh_of_a_batch_equals_the_mesh_of_each_face():
    crops = torch.rand(3, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    mesh = load_face_mesh()
    together, flags = mesh(crops)
    alone = torch.cat([mesh(crop[None])[0] for crop in crops])
    assert together.shape == (3, 468, 3)
    assert flags.shape == (3,)
    assert torch.allclose(together, alone, atol=1e-2)


def test_the_mesh_sees_no_face_in_a_gray_picture():
    assert load_face_mesh()(torch.full((1, 3, 192, 192), 0.5))[1] < 0.5


def test_detector_coordinates_are_in_pixels_around_their_anchors():
    detector = load_face_detector()
    for layer in (detector.place_fine, detector.place_coarse):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    scores, coordinates = detector(torch.zeros(1, 3, DETECTOR_SIZE, DETECTOR_SIZE))
    assert scores.shape == (1, 896)
    # 16x16 cells of 8 px with two anchors each, then 8x8 cells of 16 px with six.
    assert coordinates[0, [0, 1, 2, 32, 512, 518], 0].tolist() == [[4, 4], [4, 4], [12, 4], [4, 12], [8, 8], [24, 8]]
    assert (coordinates[:, :, 1] == 0).all()


def test_overlapping_anchors_are_averaged_by_score_and_others_kept():
    coordinates = np.zeros((896, 8, 2), np.float32)
    coordinates[:3, :2] = [(50, 50), (40, 40)], [(56, 50), (40, 40)], [(100, 100), (20, 20)]
    scores = np.zeros(896, np.float32)
    scores[:3] = 0.9, 0.6, 0.8
    first, second = decode_detections(scores, coordinates)
    assert first.box == pytest.approx((50 + 6 * 0.6 / 1.5 - 20, 30, 40, 40))
    assert first.score == pytest.approx(0.9)
    assert second.box == pytest.approx((90, 90, 20, 20))


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(TalkfaceError, match=r"no-such\.safetensors"):
        load_face_mesh(tmp_path / "no-such.safetensors")


def test_truncated_weights_are_named(tmp_path):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(b"\x08\x00\x00")
    with pytest.raises(TalkfaceError, match=r"cut\.safetensors is not a complete Linear"):
        load_weights(torch.nn.Linear(1, 1), path, "cpu")
