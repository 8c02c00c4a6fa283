import subprocess
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from talkface import __version__
from talkface.errors import TalkfaceError
from talkface.media import mark
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.media.video import VideoWriter, probe

TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"


def write_video(path, **options):
    with VideoWriter(path, 32, 32, preset="ultrafast", **options) as video:
        for _ in range(3):
            video.write(np.zeros((32, 32, 3), np.uint8))
    return path


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("mark") / "marked.mp4")


def converted(source, target, *options):
    subprocess.run([ffmpeg_exe(), "-v", "error", "-y", "-i", source, *options, target], check=True)
    return target


def test_the_xmp_packet_is_xml_that_gives_iptcs_source_type(marked):
    packet = mark.read_xmp(marked)
    root = ET.fromstring(packet[packet.index("<x:") : packet.rindex("<?xpacket")])
    (description,) = root.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    assert description.attrib[TYPE] == mark.SYNTHETIC
    assert mark.creator_tool(packet) == f"talkface {__version__}"


def test_a_marked_video_still_plays(marked):
    assert probe(marked).width == 32


def test_without_a_mark_there_is_neither_packet_nor_metadata(tmp_path):
    video = write_video(tmp_path / "plain.mp4", mark=False)
    assert mark.read_xmp(video) is None
    assert not {"title", "comment"} & set(mark.read_metadata(video))


@pytest.mark.parametrize("name", ["copy.mp4", "copy.mov", "copy.mkv"])
def test_ffmpegs_copy_drops_the_packet_and_keeps_the_mark_in_the_metadata(marked, tmp_path, name):
    copy = converted(marked, tmp_path / name, "-c", "copy")
    assert mark.read_xmp(copy) is None
    assert mark.source_type(mark.read_metadata(copy)["comment"]) == "trainedAlgorithmicMedia"


def test_the_mark_in_the_metadata_survives_another_encoding(marked, tmp_path):
    copy = converted(marked, tmp_path / "again.mp4", "-c:v", "mpeg4")
    assert mark.source_type(mark.read_metadata(copy)["comment"]) == "trainedAlgorithmicMedia"


def test_the_packet_of_another_format_is_found_by_its_text(tmp_path):
    file = tmp_path / "photo.jpg"
    packet = mark.PACKET.format(tool='"camera"', source_type=f'"{mark.SOURCE_TYPES}digitalCapture"')
    file.write_bytes(b"\xff\xd8\xff\xe1" + packet.encode() + b"\0" * 100)
    assert mark.source_type(mark.read_xmp(file)) == "digitalCapture"


@pytest.mark.parametrize("size", [10, 40, 200])
def test_a_cut_file_has_no_packet(marked, tmp_path, size):
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(marked.read_bytes()[:-size] if size > 10 else marked.read_bytes()[:size])
    assert mark.read_xmp(cut) is None


def test_a_box_that_claims_an_absurd_size_ends_the_search(tmp_path):
    file = tmp_path / "odd.mp4"
    file.write_bytes(b"\0\0\0\1uuid" + b"\xff" * 8 + mark.XMP_BOX.bytes + b"x")
    assert mark.read_xmp(file) is None


def test_metadata_of_a_text_file_are_an_error(tmp_path):
    file = tmp_path / "notes.mp4"
    file.write_text("no video")
    with pytest.raises(TalkfaceError, match=r"notes\.mp4 is not a video"):
        mark.read_metadata(file)
