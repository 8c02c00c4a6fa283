"""FAN's weights cannot be shipped, so a stand-in takes the place of its network."""

import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import skimage.data
import torch

from talkface.errors import TalkfaceError
from talkface.face import align, landmarks
from talkface.face.fan import CUT_SIZE, FanFinder
from talkface.face.find import FaceFinder


class StandIn:
    """Gives the mesh's own 68 points, as FAN would see them in its cut."""

    def __init__(self, kind, *, device, flip_input, face_detector, compile):
        assert (device, face_detector, compile) == ("cpu", "folder", False)
        self.finder = FaceFinder()

    def get_landmarks_from_image(self, image, detected_faces):
        assert image.shape == (CUT_SIZE, CUT_SIZE, 3)
        [[left, top, right, bottom, _]] = detected_faces
        [face] = self.finder.find(image)
        middle = face.box[:2] + face.box[2:] / 2
        assert middle == pytest.approx([(left + right) / 2, (top + bottom) / 2], abs=0.05 * CUT_SIZE)
        return [landmarks.to_68(face.points)]


def stand_in(monkeypatch, network):
    package = SimpleNamespace(FaceAlignment=network, LandmarksType=SimpleNamespace(TWO_D=1))
    monkeypatch.setitem(sys.modules, "face_alignment", package)


@pytest.fixture
def finder(monkeypatch):
    stand_in(monkeypatch, StandIn)
    return FanFinder("cpu")


@pytest.fixture(scope="module")
def astronaut():
    return skimage.data.astronaut()


def off(points, expected):
    distance = np.linalg.norm(points - landmarks.to_68(expected), axis=-1).mean()
    return distance / landmarks.eye_distance(expected).mean()


@pytest.mark.parametrize("quarters", [0, 1])
def test_fans_points_come_back_in_the_photos_pixels_even_of_a_lying_face(finder, astronaut, quarters):
    photo = np.ascontiguousarray(np.rot90(astronaut, quarters))
    [face] = finder.find(photo)
    [mesh] = FaceFinder().find(photo)
    assert face.points.shape == (68, 2)
    assert off(face.points, mesh.points) < 0.04


def test_fan_tracks_and_reads_aligned_faces_as_the_mesh_does(finder, astronaut):
    [tracked, nothing] = finder.track([astronaut, np.zeros_like(astronaut)])
    assert nothing is None
    M = align.fit_transform(tracked.points)
    points, flags = finder.landmarks_aligned(align.warp(astronaut, M)[None])
    assert flags[0] > 0.9
    assert off(points[0], align.apply(M, tracked.points)) < 0.05


def test_without_a_network_the_error_names_the_file_and_its_folder(monkeypatch, tmp_path):
    def no_network(*_, **__):
        raise URLError("Name or service not known")

    stand_in(monkeypatch, no_network)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(TalkfaceError, match=r"2DFAN4-11f355bf06\.pth\.tar") as caught:
        FanFinder("cpu")
    assert str(tmp_path / "checkpoints") in str(caught.value)
    assert str(tmp_path / "checkpoints") in caught.value.fix


def test_a_cut_weights_file_is_named(monkeypatch, tmp_path):
    def cut_file(*_, **__):
        raise EOFError("Ran out of input")

    weights = Path(tmp_path, "checkpoints", "2DFAN4-11f355bf06.pth.tar")
    weights.parent.mkdir()
    weights.touch()
    stand_in(monkeypatch, cut_file)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(TalkfaceError, match="may be cut"):
        FanFinder("cpu")


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(TalkfaceError, match="face-alignment") as caught:
        FanFinder("cpu")
    assert "pip install face-alignment" in caught.value.fix
