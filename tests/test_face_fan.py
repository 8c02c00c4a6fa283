"""FAN's weights are not available offline, so a stub takes the place of its network."""

import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import skimage.data
import torch

from talkface.errors import TalkfaceError
from talkface.face import landmarks
from talkface.face.fan import CROP_SIZE, FanFinder
from talkface.face.find import FaceFinder


class StubFaceAlignment:
    """Returns the mesh's own 68 points in pixels of the crop that FAN is given."""

    def __init__(self, kind, *, device, flip_input, face_detector, compile):
        assert (device, face_detector, compile) == ("cpu", "folder", False)
        self.finder = FaceFinder()

    def get_landmarks_from_image(self, image, detected_faces):
        assert image.shape == (CROP_SIZE, CROP_SIZE, 3)
        [[left, top, right, bottom, _]] = detected_faces
        [face] = self.finder.find(image)
        middle = face.box[:2] + face.box[2:] / 2
        assert middle == pytest.approx([(left + right) / 2, (top + bottom) / 2], abs=0.05 * CROP_SIZE)
        return [landmarks.to_68(face.points)]


def install_stub(monkeypatch, network):
    package = SimpleNamespace(FaceAlignment=network, LandmarksType=SimpleNamespace(TWO_D=1))
    monkeypatch.setitem(sys.modules, "face_alignment", package)


@pytest.fixture
def finder(monkeypatch):
    install_stub(monkeypatch, StubFaceAlignment)
    return FanFinder("cpu")


@pytest.fixture(scope="module")
def astronaut():
    return skimage.data.astronaut()


def relative_error(points, expected):
    """Mean distance from the expected landmarks in eye distances."""
    distance = np.linalg.norm(points - landmarks.to_68(expected), axis=-1).mean()
    return distance / landmarks.eye_distance(expected).mean()


@pytest.mark.parametrize("quarters", [0, 1])
def test_fans_points_are_in_pixels_of_the_photo_even_for_a_face_on_its_side(finder, astronaut, quarters):
    photo = np.ascontiguousarray(np.rot90(astronaut, quarters))
    [face] = finder.find(photo)
    [mesh] = FaceFinder().find(photo)
    assert face.points.shape == (68, 2)
    assert relative_error(face.points, mesh.points) < 0.04


def test_fan_refines_the_face_in_a_box_and_returns_none_without_a_face(finder, astronaut):
    face = finder.find_in(astronaut, (170, 60, 110, 140))
    assert face.points.shape == (68, 2)
    assert relative_error(face.points, FaceFinder().find_in(astronaut, (170, 60, 110, 140)).points) < 0.04
    assert finder.find_in(np.zeros_like(astronaut), (170, 60, 110, 140)) is None


def test_without_network_access_the_error_names_the_weights_file_and_its_folder(monkeypatch, tmp_path):
    def fail_to_download(*_, **__):
        raise URLError("Name or service not known")

    install_stub(monkeypatch, fail_to_download)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(TalkfaceError, match=r"2DFAN4-11f355bf06\.pth\.tar") as caught:
        FanFinder("cpu")
    assert str(tmp_path / "checkpoints") in str(caught.value)
    assert str(tmp_path / "checkpoints") in caught.value.fix


def test_a_truncated_weights_file_is_named(monkeypatch, tmp_path):
    def fail_to_read(*_, **__):
        raise EOFError("Ran out of input")

    weights = Path(tmp_path, "checkpoints", "2DFAN4-11f355bf06.pth.tar")
    weights.parent.mkdir()
    weights.touch()
    install_stub(monkeypatch, fail_to_read)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(TalkfaceError, match="may be truncated"):
        FanFinder("cpu")


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(TalkfaceError, match="face-alignment") as caught:
        FanFinder("cpu")
    assert "pip install face-alignment" in caught.value.fix
