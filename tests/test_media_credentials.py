import builtins

import numpy as np
import pytest

from talkface.errors import TalkfaceError
from talkface.media import credentials
from talkface.media.mark import has_c2pa_box
from talkface.media.video import VideoWriter, probe
from talkface.verify import verify


@pytest.fixture
def library():
    pytest.importorskip("c2pa", reason="c2pa-python is not installed: content credentials are NOT tested")


def write_signed(path, signer, **options):
    with VideoWriter(path, 32, 32, preset="ultrafast", on_complete=signer.sign, **options) as video:
        for _ in range(3):
            video.write(np.zeros((32, 32, 3), np.uint8))
    return path


def pem_file(path):
    chain, key, _ = credentials._own_certificate()
    path.write_bytes(key + chain)
    return path


@pytest.mark.usefixtures("library")
def test_a_signed_video_has_intact_credentials_of_an_unknown_signer(tmp_path):
    video = write_signed(tmp_path / "a.mp4", credentials.Signer())
    found = credentials.read_credentials(video)
    assert found.intact
    assert not found.trusted
    assert found.generator.startswith("talkface ")
    assert found.source_type.endswith("/trainedAlgorithmicMedia")
    assert probe(video).width == 32
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.usefixtures("library")
def test_a_certificate_of_the_user_signs(tmp_path):
    signer = credentials.Signer(pem_file(tmp_path / "signer.pem"))
    assert credentials.read_credentials(write_signed(tmp_path / "a.mp4", signer)).intact


@pytest.mark.usefixtures("library")
def test_a_change_after_signing_is_noticed_and_such_credentials_are_no_mark(tmp_path):
    video = write_signed(tmp_path / "a.mp4", credentials.Signer(), mark=False)
    data = bytearray(video.read_bytes())
    place = data.index(b"mdat") + 40
    data[place] ^= 1
    video.write_bytes(data)
    assert not credentials.read_credentials(video).intact
    found = verify(video)
    assert not found.synthetic
    assert "CHANGED" in dict(found.findings)["C2PA"]


@pytest.mark.usefixtures("library")
def test_a_file_without_a_key_is_an_error(tmp_path):
    file = tmp_path / "signer.pem"
    file.write_text("-----BEGIN NOTHING-----\n")
    with pytest.raises(TalkfaceError, match=r"signer.pem cannot be used to sign"):
        credentials.Signer(file)


@pytest.mark.usefixtures("library")
def test_verify_says_that_credentials_are_there_when_the_library_is_not(tmp_path, monkeypatch):
    video = write_signed(tmp_path / "a.mp4", credentials.Signer())
    assert has_c2pa_box(video)
    without_library(monkeypatch)
    assert "pip install 'talkface[c2pa]'" in dict(verify(video).findings)["C2PA"]


def without_library(monkeypatch):
    real = builtins.__import__

    def fake(name, *others):
        if name == "c2pa":
            raise ImportError(name)
        return real(name, *others)

    monkeypatch.setattr(builtins, "__import__", fake)


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    without_library(monkeypatch)
    with pytest.raises(TalkfaceError, match="not installed") as caught:
        credentials.Signer()
    assert caught.value.fix == "pip install 'talkface[c2pa]'"
