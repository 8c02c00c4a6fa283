import subprocess

import numpy as np
import pytest

from talkface.errors import TalkfaceError
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.media.video import VideoWriter
from talkface.verify import verify


def write_video(path, **options):
    with VideoWriter(path, 32, 32, preset="ultrafast", **options) as video:
        for _ in range(3):
            video.write(np.zeros((32, 32, 3), np.uint8))
    return path


def test_our_video_says_that_it_is_synthetic_in_xmp_and_metadata(tmp_path):
    found = verify(write_video(tmp_path / "ours.mp4"))
    assert found.synthetic
    assert found.conclusion == "It says that it is synthetic."
    places = dict(found.findings)
    assert "trainedAlgorithmicMedia, by talkface" in places["XMP"]
    assert "trainedAlgorithmicMedia" in places["metadata, comment"]


def test_a_copy_by_another_program_still_says_so_and_the_missing_packet_is_reported(tmp_path):
    copy = tmp_path / "copy.mp4"
    ours = write_video(tmp_path / "ours.mp4")
    subprocess.run([ffmpeg_exe(), "-v", "error", "-i", ours, "-c", "copy", copy], check=True)
    found = verify(copy)
    assert found.synthetic
    assert "The XMP packet is missing" in found.conclusion


def test_a_video_without_a_mark_is_not_called_real(tmp_path):
    found = verify(write_video(tmp_path / "camera.mp4", mark=False))
    assert not found.synthetic
    assert "It may be a real recording, or a synthetic video without its mark" in found.conclusion


def test_a_title_that_only_mentions_talkface_is_no_mark(tmp_path):
    video = write_video(tmp_path / "talk.mp4", mark=False, metadata={"title": "My talk about talkface"})
    assert not verify(video).synthetic


def test_a_camera_that_names_its_source_type_is_not_synthetic(tmp_path):
    kind = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
    video = write_video(tmp_path / "camera.mp4", mark=False, metadata={"comment": kind})
    assert not verify(video).synthetic


def test_a_file_that_is_not_a_video_is_an_error(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_bytes(bytes(range(256)) * 20)
    with pytest.raises(TalkfaceError):
        verify(file)
