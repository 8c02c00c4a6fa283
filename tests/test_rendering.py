import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import wave
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from talkface import render, stream
from talkface.cli import app
from talkface.errors import TalkfaceError
from talkface.face.align import fit_transform, warp
from talkface.face.find import FaceFinder
from talkface.face.networks import face_networks
from talkface.media.audio import load_speech
from talkface.media.ffmpeg import ffmpeg_exe
from talkface.media.video import probe, read_frames
from talkface.render_options import RenderOptions

ROOT = str(Path(__file__).resolve().parent.parent)
ASTRONAUT = Path(ROOT) / "examples" / "astronaut.jpg"
RATE = 16_000


@pytest.fixture(scope="module")
def weights(tiny_weights):
    return tiny_weights


@pytest.fixture(autouse=True)
def folder(empty_folder):
    return empty_folder


def write_sound(path, seconds, loudness=0.3, channels=1, rate=RATE):
    """Syllables of noise, 16 bit."""
    count = round(seconds * rate)
    sound = np.random.default_rng(0).normal(0, loudness, count) * (np.sin(np.arange(count) * 12 / rate) > 0)
    samples = (np.clip(sound, -1, 1) * 32767).astype("<i2").repeat(channels)
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return path


@pytest.fixture
def speech(folder):
    return write_sound(folder / "speech.wav", 0.3)


def make(*words):
    """The command line, in this process."""
    return CliRunner().invoke(app, ["render", *map(str, words)])


def ffmpeg_description(path):
    return subprocess.run([ffmpeg_exe(), "-hide_banner", "-i", str(path)], capture_output=True, text=True).stderr


def photo():
    return np.array(Image.open(ASTRONAUT))


def face_alone():
    """The astronaut's face and shoulders, 256x256 px."""
    return Image.open(ASTRONAUT).crop((96, 0, 352, 256))


@pytest.mark.parametrize("seconds", [0.05, 0.28, 1.01])
def test_a_video_has_ceil_of_duration_times_fps_frames_and_the_length_of_its_sound(folder, weights, seconds):
    speech = write_sound(folder / "speech.wav", seconds)
    report = render(ASTRONAUT, speech, "out.mp4", weights=weights)
    wanted = {0.05: 2, 0.28: 7, 1.01: 26}[seconds]
    assert report.frames == wanted
    assert sum(1 for _ in read_frames("out.mp4", fps=None)) == wanted
    info = probe("out.mp4")
    assert info.has_audio
    assert abs(info.audio_duration - wanted / 25) <= 1 / 25 + 0.03  # AAC comes in blocks of 1024 samples


def test_the_video_is_h264_yuv420p_and_says_that_it_is_synthetic(speech, weights):
    render(ASTRONAUT, speech, "out.mp4", weights=weights)
    description = ffmpeg_description("out.mp4")
    assert re.search(r"Video: h264 .*yuv420p.* 512x512.* 25 fps", description)
    assert "Audio: " in description
    assert "Synthetic video made with talkface" in description
    render(ASTRONAUT, speech, "out.mp4", weights=weights, mark=False)
    assert "ynthetic" not in ffmpeg_description("out.mp4")


def test_stereo_stays_stereo(folder, weights):
    render(ASTRONAUT, write_sound(folder / "speech.wav", 0.2, channels=2), "out.mp4", weights=weights)
    assert re.search(r"Audio: .*stereo", ffmpeg_description("out.mp4"))


@pytest.mark.parametrize("fps, frames", [("30000/1001", 9), (12.5, 4), (60, 18), ("29.97", 9)])
def test_a_video_of_any_rate_covers_the_sound_exactly(speech, weights, fps, frames):
    report = render(ASTRONAUT, speech, "out.mp4", weights=weights, fps=fps, crop=True)
    assert report.frames == frames
    assert probe("out.mp4").fps == (Fraction(30000, 1001) if frames == 9 else Fraction(str(fps)))


def test_pixels_outside_the_pasted_face_are_those_of_the_photo(speech, weights):
    original = photo()
    (face,) = FaceFinder().find(original)
    changed = np.zeros(original.shape[:2], bool)
    for frame in stream(ASTRONAUT, speech, weights=weights, motion=0, blink=False):
        changed |= (frame != original).any(2)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    x, y, width, height = face.box
    assert changed.any()
    assert x - width < columns[0]
    assert columns[-1] < x + 2 * width
    assert y < rows[0]
    assert rows[-1] < y + 2 * height


def test_the_mouth_moves(speech, weights):
    first, *others = stream(ASTRONAUT, speech, weights=weights)
    assert max(np.abs(frame.astype(int) - first).max() for frame in others) > 0


def test_the_head_moves_by_default_and_eyes_blink_with_the_seed(folder, weights):
    speech = write_sound(folder / "long.wav", 4)
    options = {"weights": weights, "fps": 5}
    still = list(stream(ASTRONAUT, speech, motion=0, blink=False, **options))
    moving, blinking = (
        list(stream(ASTRONAUT, speech, **change, **options)) for change in ({"blink": False}, {"motion": 0, "seed": 1})
    )
    assert np.array_equal(moving[0], still[0])
    above_the_mouth = slice(60, 130), slice(150, 300)
    assert np.abs(moving[10][above_the_mouth].astype(int) - still[10][above_the_mouth]).mean() > 1
    assert any(
        (one[above_the_mouth] != other[above_the_mouth]).any() for one, other in zip(blinking, still, strict=True)
    )


def test_in_a_crop_only_the_lips_move(speech, weights):
    one, other = (
        list(stream(ASTRONAUT, speech, weights=weights, crop=True, **change))
        for change in ({}, {"motion": 0, "seed": 5})
    )
    assert np.array_equal(one, other)


def test_the_crop_is_the_aligned_face_alone(speech, weights):
    original = photo()
    frame = next(stream(ASTRONAUT, speech, weights=weights, crop=True))
    aligned = warp(original, fit_transform(FaceFinder(networks=face_networks("cpu")).find(original)[0].points))
    assert frame.shape == (256, 256, 3)
    np.testing.assert_array_equal(frame[:100], aligned[:100])  # above the mouth's window


def test_two_runs_give_the_same_frames(speech, weights):
    once, again = (list(stream(ASTRONAUT, speech, weights=weights)) for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_a_generator_in_memory_gives_the_frames_of_its_weights_file(speech, weights):
    from talkface.model.checkpoint import load_generator

    loaded = stream(ASTRONAUT, speech, weights=load_generator(weights), crop=True)
    np.testing.assert_array_equal(list(loaded), list(stream(ASTRONAUT, speech, weights=weights, crop=True)))


def test_the_video_has_the_frames_of_the_stream(speech, weights):
    render(ASTRONAUT, speech, "out.mp4", weights=weights, crf=8)
    for shown, made in zip(read_frames("out.mp4", fps=None), stream(ASTRONAUT, speech, weights=weights), strict=True):
        assert cv2.PSNR(shown, made) > 35


@pytest.mark.parametrize(
    "size, wanted", [((511, 509), (510, 508)), ((1600, 1200), (1280, 960)), ((1201, 1601), (960, 1280))]
)
def test_the_video_has_even_sides_of_at_most_1280(folder, speech, weights, size, wanted):
    Image.open(ASTRONAUT).resize(size).save("photo.png")
    frame = next(stream("photo.png", speech, weights=weights))
    assert frame.shape == (wanted[1], wanted[0], 3)


def test_a_shrunk_photo_is_rendered_like_a_small_one(folder, speech, weights):
    Image.open(ASTRONAUT).resize((1536, 1536), Image.LANCZOS).save("photo.png")
    frame = next(stream("photo.png", speech, weights=weights, max_size=512))
    small = next(stream(ASTRONAUT, speech, weights=weights))
    assert cv2.PSNR(frame, small) > 30


def test_a_rotated_photo_is_rendered_upright(folder, speech, weights):
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me clockwise to see me upright"
    Image.open(ASTRONAUT).crop((0, 0, 512, 400)).transpose(Image.ROTATE_90).save("photo.png", exif=exif)
    frame = next(stream("photo.png", speech, weights=weights))
    assert frame.shape == (400, 512, 3)
    np.testing.assert_array_equal(frame[:60], photo()[:60])


def test_a_transparent_photo_is_rendered(folder, speech, weights):
    picture = Image.open(ASTRONAUT).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size).point(lambda value: 255 if value < 200 else 0))
    picture.save("photo.png")
    frame = next(stream("photo.png", speech, weights=weights))
    np.testing.assert_array_equal(frame[-1], 255)


def test_of_two_faces_the_larger_one_is_animated_and_the_other_on_request(folder, speech, weights):
    both = Image.new("RGB", (640, 256), "white")
    both.paste(face_alone().resize((200, 200)), (20, 30))
    both.paste(face_alone(), (340, 0))
    both.save("two.png")
    original, notes = np.array(both), []

    def moved(**options):
        _, second = itertools.islice(stream("two.png", speech, weights=weights, **options), 2)
        changed = np.flatnonzero((second != original).any((0, 2)))
        return "left" if changed[-1] < 320 else "right"

    assert moved(on_note=notes.append) == "right"
    assert "2 faces" in notes[0]
    assert moved(face=1) == "left"
    assert moved(face=2) == "right"
    with pytest.raises(TalkfaceError, match=r"--face 3: two\.png has 2 faces"):
        moved(face=3)


def test_a_name_with_quotes_accents_and_a_leading_dash_works(folder, speech, weights):
    name = '-my "photo" é.PNG'
    Image.open(ASTRONAUT).save(folder / name)
    speech.rename(folder / "-it's me.wav")
    result = make("--weights", weights, "--crop", "--quiet", "--", name, "-it's me.wav")
    assert result.exit_code == 0, result.stderr
    assert probe(folder / '-my "photo" é_-it\'s me.mp4').width == 256


def test_silence_is_rendered_with_a_note(folder, weights):
    speech, notes = write_sound(folder / "speech.wav", 0.3, loudness=0), []
    assert len(list(stream(ASTRONAUT, speech, weights=weights, crop=True, on_note=notes.append))) == 8
    assert len(notes) == 1
    assert "speech.wav is silent" in notes[0]


def test_the_sound_of_a_video_is_accepted(folder, speech, weights):
    render(ASTRONAUT, speech, "first.mp4", weights=weights, crop=True)
    assert render(ASTRONAUT, "first.mp4", "second.mp4", weights=weights, crop=True).frames in (8, 9)


def test_progress_counts_every_frame(speech, weights):
    steps = []
    render(ASTRONAUT, speech, "out.mp4", weights=weights, crop=True, on_step=lambda *step: steps.append(step))
    assert steps == [(done, 8) for done in range(1, 9)]


def test_the_manifest_describes_what_was_done(folder, speech, weights):
    report = render(ASTRONAUT, speech, "out.mp4", weights=weights, json="out.json", seed=3)
    manifest = json.loads(Path("out.json").read_text())
    assert manifest == report.manifest
    assert manifest["frames"] == 8
    assert (manifest["width"], manifest["height"]) == (512, 512)
    assert manifest["options"]["seed"] == 3
    assert manifest["versions"]["torch"] == torch.__version__
    assert manifest["face"]["found"] == 1
    assert manifest["speech"]["track"] == 1
    assert manifest["speech"]["level_db"] == pytest.approx(load_speech(speech).level_db, abs=0.05)
    assert set(manifest["seconds"]) == {"photo", "speech", "weights", "frames", "encoding", "total"}
    for part, path in {"photo": ASTRONAUT, "speech": speech, "weights": weights, "out": "out.mp4"}.items():
        checked = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
        assert manifest[part]["sha256"] == checked


def test_without_json_there_is_no_manifest_and_no_file_is_hashed(speech, weights, monkeypatch):
    monkeypatch.setattr("talkface.report.sha256", lambda path: pytest.fail(f"{path} was hashed"))
    assert render(ASTRONAUT, speech, "out.mp4", weights=weights, crop=True).manifest == {}


def test_options_are_an_object_and_keywords_that_change_it(speech, weights):
    options = RenderOptions(weights=weights, crop=True, fps=12.5)
    assert render(ASTRONAUT, speech, "a.mp4", options).frames == 4
    assert render(ASTRONAUT, speech, "b.mp4", options, fps=25).frames == 8
    whole, changed = (list(stream(ASTRONAUT, speech, options, **changes)) for changes in ({}, {"max_size": 64}))
    np.testing.assert_array_equal(whole, changed)  # --crop has one size
    with pytest.raises(TypeError, match="colour"):
        render(ASTRONAUT, speech, "c.mp4", options, colour="red")


@pytest.mark.parametrize(
    "field, value, expected",
    [
        ("fps", 0, "a rate from 1 to 240"),
        ("fps", "30/0", "a rate from 1 to 240"),
        ("fps", float("inf"), "a rate from 1 to 240"),
        ("crf", -1, "a number from 0 to 51"),
        ("max_size", 63, "at least 64 px"),
        ("expression", float("nan"), "a number from 0 to 4"),
        ("motion", 1.5, "a number from 0 to 1"),
        ("landmarks", "dlib", "mesh or fan"),
        ("seed", 2**63, "a whole number from 0"),
        ("seed", -1, "a whole number from 0"),
    ],
)
def test_an_option_out_of_range_is_an_error_that_names_its_flag(field, value, expected):
    flag = f"--{field.replace('_', '-')}"
    with pytest.raises(TalkfaceError, match=f"{flag} {value} is not valid: expected {expected}") as error:
        RenderOptions(**{field: value})
    assert error.value.fix


def test_the_largest_seed_is_accepted(speech, weights):
    assert render(ASTRONAUT, speech, "out.mp4", weights=weights, crop=True, seed=2**63 - 1).frames == 8


def two_tracks(folder):
    """A recording with a short and a long audio track."""
    short, long = write_sound(folder / "short.wav", 0.2), write_sound(folder / "long.wav", 0.4)
    command = [ffmpeg_exe(), "-v", "error", "-i", short, "-i", long, "-map", "0", "-map", "1"]
    subprocess.run([*map(str, command), "-disposition:a", "0", str(folder / "both.mka")], check=True)
    return folder / "both.mka"


def test_a_track_is_chosen_and_another_one_noted(folder, weights):
    recording, notes = two_tracks(folder), []
    first = render(ASTRONAUT, recording, "first.mp4", weights=weights, crop=True, on_note=notes.append)
    second = render(ASTRONAUT, recording, "second.mp4", weights=weights, crop=True, track=2, on_note=pytest.fail)
    assert (first.frames, second.frames) == (5, 10)
    assert probe("second.mp4").audio_duration == pytest.approx(0.4, abs=0.07)
    assert len(notes) == 1
    assert "both.mka has 2 audio tracks; number 1 is used (see --track)" in notes[0]


def test_a_jpeg_that_lacks_its_last_bytes_is_rendered_with_a_note(folder, speech, weights):
    Path("cut.jpg").write_bytes(ASTRONAUT.read_bytes()[:-2])
    report = render("cut.jpg", speech, "out.mp4", weights=weights, crop=True)
    (note,) = report.notes
    assert note.startswith("The end of cut.jpg is missing")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
def test_speech_from_a_named_pipe_is_read_once(folder, speech, weights):
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(speech.read_bytes()))
    writer.start()
    report = render(ASTRONAUT, "pipe", "out.mp4", weights=weights, crop=True, json="out.json")
    writer.join()
    assert report.frames == 8
    assert probe("out.mp4").has_audio
    assert report.manifest["speech"]["path"] == "pipe"
    assert report.manifest["speech"]["sha256"] == hashlib.sha256(speech.read_bytes()).hexdigest()


def shell(words, folder, **options):
    """The command line in a shell."""
    command = f"{sys.executable} -m talkface render {words}"
    environment = os.environ | {"PYTHONPATH": ROOT}
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=folder, env=environment, timeout=120, **options
    )


@pytest.mark.parametrize(
    "speech_words, name",
    [
        ("- < speech.wav", "astronaut_stdin.mp4"),
        ("/dev/stdin < speech.wav", "astronaut_stdin.mp4"),
        ("- < <(cat speech.wav)", "astronaut_stdin.mp4"),
        ("<(cat speech.wav)", "astronaut_63.mp4"),
    ],
)
def test_speech_from_standard_input_and_process_substitution_is_rendered(folder, speech, weights, speech_words, name):
    result = shell(f"--crop --weights {weights} {ASTRONAUT} {speech_words}", folder)
    assert result.returncode == 0, result.stderr
    assert probe(folder / name).has_audio
    assert sum(1 for _ in read_frames(folder / name, fps=None)) == 8


def test_an_empty_standard_input_is_one_clear_error(folder, weights):
    result = shell(f"--crop --weights {weights} {ASTRONAUT} - < <(true)", folder)
    assert result.returncode == 1
    assert re.match(r"Error  - is empty \(0 bytes\)[^\n]+\nFix    [^\n]+\n\Z", result.stderr), result.stderr


@pytest.mark.parametrize("out, wanted", [(None, "astronaut_speech.mp4"), ("sub", "sub/astronaut_speech.mp4")])
def test_the_video_is_named_after_its_inputs(folder, speech, weights, out, wanted):
    (folder / "sub").mkdir()
    assert render(ASTRONAUT, speech, out, weights=weights, crop=True).out == Path(wanted)
    assert Path(wanted).is_file()


def test_an_existing_video_is_replaced_by_a_complete_one(folder, speech, weights):
    Path("out.mp4").write_text("old")
    render(ASTRONAUT, speech, "out.mp4", weights=weights, crop=True)
    assert probe("out.mp4").width == 256
    assert sorted(path.name for path in folder.iterdir()) == ["out.mp4", "speech.wav"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_run_leaves_the_old_video_and_no_other_file(folder, speech, weights, error):
    Path("out.mp4").write_text("old")

    def stop(done, total):
        if done == 3:
            raise error

    with pytest.raises(error):
        render(ASTRONAUT, speech, "out.mp4", weights=weights, crop=True, on_step=stop)
    assert Path("out.mp4").read_text() == "old"
    assert sorted(path.name for path in folder.iterdir()) == ["out.mp4", "speech.wav"]


def draw_house(path):
    picture = Image.new("RGB", (400, 400), "white")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((100, 180, 300, 360), outline="black", width=5)
    pen.line((80, 180, 200, 60, 320, 180), "black", 5)
    pen.rectangle((130, 210, 180, 260), "skyblue", "black")
    pen.rectangle((220, 260, 270, 360), "brown", "black")
    picture.save(path)


def test_a_photo_without_a_detected_face_is_rendered_with_a_box(folder, speech, weights):
    Image.linear_gradient("L").resize((400, 300)).save("wall.png")
    notes = []
    frame = next(stream("wall.png", speech, weights=weights, box=(100, 80, 200, 200), on_note=notes.append))
    assert frame.shape == (300, 400, 3)
    assert "assumed to enclose an upright face" in notes[0]
    assert "Only the lips of wall.png move" in notes[1]


def draw_smiley(path):
    image = Image.new("RGB", (400, 400), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((80, 80, 320, 320), fill="yellow", outline="black", width=5)
    draw.ellipse((140, 150, 170, 190), fill="black")
    draw.ellipse((230, 150, 260, 190), fill="black")
    draw.arc((140, 180, 260, 270), 20, 160, fill="black", width=6)
    image.save(path)


def cut(source, path, share=0.4):
    data = Path(source).read_bytes()
    Path(path).write_bytes(data[: int(len(data) * share)])


def wrong_header(path):
    """A wav whose header gives a thousand times the length of the sound."""
    data = bytearray(write_sound(path, 0.3).read_bytes())
    data[4:8] = (len(data) * 1000).to_bytes(4, "little")
    data[40:44] = ((len(data) - 44) * 1000).to_bytes(4, "little")
    path.write_bytes(data)


LONG = "long" * 80  # more than the 255 bytes of a name
BAD = {
    "no face": (lambda: Image.new("RGB", (300, 200), "gray").save("bad.jpg"), "bad.jpg speech.wav", "No face found"),
    "a drawing": (lambda: draw_house("bad.png"), "bad.png speech.wav", "No face found in bad.png (400x400)"),
    "a cartoon": (lambda: draw_smiley("bad.png"), "bad.png speech.wav", "The face in bad.png seems to be drawn"),
    "no photo": (lambda: None, "bad.jpg speech.wav", "bad.jpg"),
    "an empty photo": (lambda: Path("bad.jpg").touch(), "bad.jpg speech.wav", "bad.jpg is empty"),
    "a cut photo": (lambda: cut(ASTRONAUT, "bad.jpg"), "bad.jpg speech.wav", "bad.jpg"),
    "a folder as photo": (lambda: Path("bad.jpg").mkdir(), "bad.jpg speech.wav", "bad.jpg is a folder"),
    "a text as photo": (lambda: Path("bad.jpg").write_text("Dear all"), "bad.jpg speech.wav", "bad.jpg"),
    "a photo of one pixel": (lambda: Image.new("RGB", (1, 1)).save("bad.png"), "bad.png speech.wav", "No face found"),
    "no speech": (lambda: None, "good.jpg bad.wav", "bad.wav"),
    "an empty recording": (lambda: Path("bad.wav").touch(), "good.jpg bad.wav", "bad.wav is empty"),
    "a folder as speech": (lambda: Path("bad.wav").mkdir(), "good.jpg bad.wav", "bad.wav is a folder"),
    "a text as speech": (lambda: Path("bad.wav").write_text("Dear all " * 99), "good.jpg bad.wav", "bad.wav"),
    "a photo as speech": (lambda: None, "good.jpg good.jpg", "good.jpg"),
    "a recording of no samples": (
        lambda: write_sound(Path("bad.wav"), 0),
        "good.jpg bad.wav",
        "bad.wav has no sound",
    ),
    "a missing folder": (lambda: None, "good.jpg speech.wav -o none/out.mp4", "none does not exist"),
    "a file as folder": (lambda: None, "good.jpg speech.wav -o speech.wav/out.mp4", "speech.wav is not a folder"),
    "a folder that may not be written to": (
        lambda: None,
        "good.jpg speech.wav -o /proc/out.mp4",
        "cannot write to the folder /proc",
    ),
    "a name too long": (lambda: None, f"good.jpg speech.wav -o {LONG}.mp4", "ong.mp4: File name too long"),
    "a folder's name too long": (lambda: None, f"good.jpg speech.wav -o {LONG}/a.mp4", "File name too long"),
    "a manifest's name too long": (lambda: None, f"good.jpg speech.wav --json {LONG}", "--json long"),
    "inputs whose names are too long together": (
        lambda: Path("speech.wav").rename(f"{LONG[:200]}.wav"),
        f"{LONG[:200]}.jpg {LONG[:200]}.wav",
        f"--out {LONG[:200]}_{LONG[:200]}.mp4: File name too long",
    ),
    "a photo's name too long": (lambda: None, f"{LONG}.jpg speech.wav -o a.mp4", f"{LONG}.jpg cannot be opened"),
    "another kind of video": (lambda: None, "good.jpg speech.wav -o out.avi", "--out out.avi"),
    "the speech as output": (
        lambda: Path("speech.wav").rename("speech.mp4"),
        "good.jpg speech.mp4 -o speech.mp4",
        "is the input speech.mp4",
    ),
    "the photo as output": (
        lambda: Path("link.mp4").symlink_to("good.jpg"),
        "good.jpg speech.wav -o link.mp4",
        "is the input good.jpg",
    ),
    "the photo as manifest": (lambda: None, "good.jpg speech.wav --json good.jpg", "is the input good.jpg"),
    "the video as manifest": (lambda: None, "good.jpg speech.wav -o a.mp4 --json ./a.mp4", "is the same file as --out"),
    "a URL as speech": (lambda: None, "good.jpg https://a.org/b.wav", "https://a.org/b.wav is a URL, not a recording"),
    "a device as speech": (lambda: None, "good.jpg /dev/null", "/dev/null is a device"),
    "a missing track": (lambda: None, "good.jpg speech.wav --track 2", "--track 2: speech.wav has 1 audio track"),
    "missing weights": (lambda: None, "good.jpg speech.wav --weights w.safetensors", "w.safetensors does not exist"),
    "a text as weights": (
        lambda: Path("w.safetensors").write_text("Dear all"),
        "good.jpg speech.wav --weights w.safetensors",
        "cut or not",
    ),
    "no such device": (lambda: None, "good.jpg speech.wav --device tpu", "--device tpu"),
    "an invalid number of a device": (lambda: None, "good.jpg speech.wav --device cpu:foo", "--device cpu:foo"),
    "no rate": (lambda: None, "good.jpg speech.wav --fps 0", "--fps 0"),
    "a word as rate": (lambda: None, "good.jpg speech.wav --fps fast", "--fps fast"),
    "a quality out of range": (lambda: None, "good.jpg speech.wav --crf 52", "--crf 52"),
    "an expression out of range": (lambda: None, "good.jpg speech.wav --expression 9", "--expression 9"),
    "a tiny video": (lambda: None, "good.jpg speech.wav --max-size 10", "--max-size 10"),
    "a box outside": (lambda: None, "good.jpg speech.wav --box 400,400,200,200", "which is 512x512"),
    "a face too many": (lambda: None, "good.jpg speech.wav --face 2", "good.jpg has 1 face"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_clear_message_and_leaves_nothing_behind(folder, speech, weights, case):
    prepare, words, message = BAD[case]
    Path("good.jpg").write_bytes(ASTRONAUT.read_bytes())
    prepare()
    before = sorted(path.name for path in folder.iterdir())
    options = [] if "--weights" in words else ["--weights", weights]
    result = make(*words.split(), *options)
    assert result.exit_code == 1, result.output
    assert re.match(r"Error  [^\n]+\nFix    [^\n]+\n\Z", result.stderr), result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_a_picture_of_20000_by_20000_is_refused_without_being_read(folder, speech, weights):
    """A black one: 400 million pixels in a file of a few kilobytes."""
    Image.new("1", (20_000, 20_000)).save("huge.png")
    # Not ru_maxrss: on Linux a new process begins with its parent's.
    code = "import re\nfrom pathlib import Path\nfrom talkface.cli import app\n"
    code += f"try: app(['render', 'huge.png', 'speech.wav', '--weights', {str(weights)!r}])\n"
    code += "finally: print(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1])\n"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ROOT}
    )
    assert result.returncode == 1
    assert re.match(r"Error  huge\.png has 400 megapixels[^\n]+\nFix    [^\n]+\n\Z", result.stderr), result.stderr
    assert int(result.stdout) < 600 * 1024  # KiB


def test_a_wav_with_a_wrong_header_is_rendered_as_long_as_its_sound_or_refused(folder, weights):
    wrong_header(folder / "liar.wav")
    result = make(ASTRONAUT, "liar.wav", "-o", "out.mp4", "--weights", weights, "--crop")
    if result.exit_code:
        assert re.match(r"Error  [^\n]*liar.wav[^\n]*\nFix    [^\n]+\n\Z", result.stderr)
    else:
        assert sum(1 for _ in read_frames("out.mp4", fps=None)) == 8


def test_the_inputs_of_a_stream_are_checked_by_the_call_itself(folder, speech, weights):
    with pytest.raises(TalkfaceError, match="There is no file"):
        stream("missing.jpg", speech, weights=weights)


def test_frames_are_generated_when_they_are_requested(folder, weights):
    """The first frame of ten minutes of speech does not wait for the other 14,999."""
    speech = write_sound(folder / "long.wav", 600, rate=8000)
    frames = stream(ASTRONAUT, speech, weights=weights)
    assert next(frames).shape == (512, 512, 3)
    frames.close()
