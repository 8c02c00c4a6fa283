"""Photos of any common format are loaded as viewers show them; other files are refused with the reason."""

import io
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from talkface.errors import TalkfaceError
from talkface.media.image import load_photo, save_png

HEIGHT, WIDTH = 40, 60


def picture(height=HEIGHT, width=WIDTH) -> np.ndarray:
    """Smooth colours, different in every corner: uint8 RGB."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([255 * x, 255 * y, 255 * (1 - x)], axis=-1).round().astype(np.uint8)


def png(pixels: np.ndarray, kind: int, size: tuple[int, int] | None = None) -> bytes:
    """A PNG of 8 or 16 bits written by hand; `kind` is its colour type. `size` lies in its header."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in pixels)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", *(size or (width, height)), 8 * pixels.dtype.itemsize, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "TGA", "QOI"])
def test_lossless_formats_are_loaded_exactly(tmp_path, kind):
    path = tmp_path / "photo"
    Image.fromarray(picture()).save(path, kind)
    loaded = load_photo(path)
    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, picture())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "JPEG2000", "AVIF"])
def test_lossy_formats_are_loaded_with_small_differences(tmp_path, kind):
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {kind}")
    path = tmp_path / "photo"
    Image.fromarray(picture()).save(path, kind)
    assert np.abs(load_photo(path).astype(int) - picture()).mean() < 12


def test_heic_is_loaded_if_its_library_is_installed(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    Image.fromarray(picture()).save(tmp_path / "photo.heic", "HEIF")
    assert np.abs(load_photo(tmp_path / "photo.heic").astype(int) - picture()).mean() < 12


def test_heic_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "photo.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(100))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for table in (Image.OPEN, Image.MIME):
        monkeypatch.delitem(table, "HEIF", raising=False)
    with pytest.raises(TalkfaceError, match="is a HEIC photo") as error:
        load_photo(tmp_path / "photo.heic")
    assert error.value.fix == "pip install pillow-heif"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_rotated_as_its_exif_says(tmp_path, orientation):
    stored = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, 1),  # shown rotated by 90 degrees clockwise, so stored rotated the other way
        7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
        8: lambda x: np.rot90(x, -1),
    }[orientation](picture())
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(load_photo(tmp_path / "photo.png"), picture())


def test_broken_exif_is_ignored(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "photo.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff junk")
    np.testing.assert_array_equal(load_photo(tmp_path / "photo.png"), picture())


def test_a_transparent_photo_is_composited_on_white(tmp_path):
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:10], alpha[10:20] = 0, 128
    Image.fromarray(np.concatenate([picture(), alpha], axis=2)).save(tmp_path / "photo.png")
    loaded = load_photo(tmp_path / "photo.png").astype(float)
    np.testing.assert_array_equal(loaded[:10], 255)
    np.testing.assert_allclose(loaded[10:20], (picture()[10:20] * 128.0 + 255.0 * 127) / 255, atol=1)
    np.testing.assert_array_equal(loaded[20:], picture()[20:])


def test_gray_palette_and_one_bit_become_rgb(tmp_path):
    gray = picture()[..., 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(load_photo(tmp_path / "gray.png"), np.repeat(gray[..., None], 3, axis=2))
    Image.fromarray(np.dstack([gray, np.full_like(gray, 255)]), "LA").save(tmp_path / "gray_alpha.png")
    np.testing.assert_array_equal(load_photo(tmp_path / "gray_alpha.png"), np.repeat(gray[..., None], 3, axis=2))
    few = Image.fromarray(picture()).quantize(64)
    few.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(load_photo(tmp_path / "palette.png"), np.asarray(few.convert("RGB")))
    few.save(tmp_path / "see_through.png", transparency=few.getpixel((5, 5)))
    np.testing.assert_array_equal(load_photo(tmp_path / "see_through.png")[5, 5], 255)
    Image.fromarray(gray).convert("1").save(tmp_path / "bit.png")
    assert set(np.unique(load_photo(tmp_path / "bit.png"))) == {0, 255}


@pytest.mark.parametrize("kind,channels", [(0, 1), (2, 3), (6, 4)], ids=["gray", "rgb", "rgba"])
def test_sixteen_bits_become_eight(tmp_path, kind, channels):
    eight = np.dstack([picture(), np.full((HEIGHT, WIDTH), 255, np.uint8)])[..., :channels]
    (tmp_path / "deep.png").write_bytes(png(eight.astype(np.uint16) * 257, kind))
    expected = np.repeat(eight, 3, axis=2) if channels == 1 else eight[..., :3]
    np.testing.assert_allclose(load_photo(tmp_path / "deep.png").astype(int), expected, atol=1)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_sixteen_bit_tiffs_become_eight(tmp_path, mode):
    deep = picture()[..., 0].astype({"I;16": "<u2", "I;16B": ">u2", "I": np.int32}[mode]) * 257
    Image.fromarray(deep).save(tmp_path / "deep.tiff")
    np.testing.assert_array_equal(load_photo(tmp_path / "deep.tiff")[..., 1], picture()[..., 0])


def test_cmyk_becomes_rgb(tmp_path):
    Image.fromarray(picture()).convert("CMYK").save(tmp_path / "print.jpg", quality=98)
    assert np.abs(load_photo(tmp_path / "print.jpg").astype(int) - picture()).mean() < 6


def test_a_colour_profile_is_converted_to_srgb_and_srgb_is_unchanged(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(picture()).save(tmp_path / "srgb.png", icc_profile=srgb)
    np.testing.assert_array_equal(load_photo(tmp_path / "srgb.png"), picture())
    # The same profile with its red and blue exchanged, and not called sRGB any more.
    swapped = srgb.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "BGRs".encode("utf-16-be"))
    Image.fromarray(picture()).save(tmp_path / "swapped.png", icc_profile=swapped)
    np.testing.assert_allclose(load_photo(tmp_path / "swapped.png").astype(int), picture()[..., ::-1], atol=3)
    Image.fromarray(picture()).save(tmp_path / "broken.png", icc_profile=b"no profile at all")
    np.testing.assert_array_equal(load_photo(tmp_path / "broken.png"), picture())


def test_a_photo_with_too_many_pixels_is_shrunk(tmp_path):
    Image.fromarray(picture(400, 600)).save(tmp_path / "large.png")
    Image.fromarray(picture(400, 600)).save(tmp_path / "large.jpg", quality=95)
    for name in ("large.png", "large.jpg"):
        loaded = load_photo(tmp_path / name, max_pixels=60 * 40)
        height, width, _ = loaded.shape
        assert 500 < width * height <= 60 * 40
        assert np.abs(loaded.astype(int) - picture(height, width)).mean() < 6


def test_a_huge_photo_is_refused_without_being_decoded(tmp_path):
    (tmp_path / "huge.png").write_bytes(png(np.zeros((2, 2), np.uint8), 0, size=(20_000, 20_000)))
    with pytest.raises(TalkfaceError, match=r"huge\.png has 400 megapixels; at most 179 are read") as error:
        load_photo(tmp_path / "huge.png")
    assert "Shrink it" in error.value.fix


@pytest.mark.parametrize("name", ['-my "photo" é.PNG', "a b's.png", "no_ending", "wrong.jpg"])
def test_the_file_name_has_no_effect(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    save_png(name, picture())
    np.testing.assert_array_equal(load_photo(name), picture())


def noise(height=80, width=80):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def jpeg(progressive=False, mode="RGB"):
    """A JPEG file of 320x320 px of noise."""
    buffer = io.BytesIO()
    Image.fromarray(noise(320, 320)).convert(mode).save(buffer, "JPEG", progressive=progressive)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_a_truncated_photo_is_a_clear_error(tmp_path, kind):
    buffer = io.BytesIO()
    Image.fromarray(noise()).save(buffer, kind)
    for part in (0.9, 0.5, 0.02)[kind == "JPEG" :]:
        (tmp_path / "cut").write_bytes(buffer.getvalue()[: int(part * len(buffer.getvalue()))])
        with pytest.raises(TalkfaceError, match=r"cut is (broken or truncated|not a photo)") as error:
            load_photo(tmp_path / "cut")
        assert error.value.fix


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [1, 2, 100])
def test_a_jpeg_that_lacks_its_last_bytes_is_loaded_with_a_note(tmp_path, mode, progressive, missing):
    whole, notes = jpeg(progressive, mode), []
    (tmp_path / "whole.jpg").write_bytes(whole)
    (tmp_path / "cut.jpg").write_bytes(whole[:-missing])
    loaded = load_photo(tmp_path / "cut.jpg", on_note=notes.append).astype(int)
    expected = load_photo(tmp_path / "whole.jpg", on_note=lambda note: pytest.fail(note)).astype(int)
    above = slice(0, 296)  # without the last row of blocks and the chroma that is interpolated from it
    assert np.abs(loaded - expected)[above].max() <= (20 if progressive else 0)
    assert all(note.startswith("The end of cut.jpg is missing; 100% of its rows") for note in notes)
    assert notes or missing == 1  # Pillow completes an end marker of which only the second byte is missing


def test_rows_that_are_missing_from_a_jpeg_are_gray_and_counted_in_the_note(tmp_path):
    whole, notes = jpeg(), []
    (tmp_path / "cut.jpg").write_bytes(whole[: int(0.95 * len(whole))])
    loaded = load_photo(tmp_path / "cut.jpg", on_note=notes.append)
    assert loaded.shape == (320, 320, 3)
    gray = (np.abs(loaded[-1].astype(int) - 128) <= 1).all()
    assert gray
    assert "95% of its rows" in notes[0]


@pytest.mark.parametrize("progressive, part", [(False, 0.85), (False, 0.5), (True, 0.1), (True, 0.02)])
def test_a_jpeg_that_is_mostly_missing_is_refused(tmp_path, progressive, part):
    whole = jpeg(progressive)
    (tmp_path / "cut.jpg").write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(TalkfaceError, match=r"cut\.jpg is broken or truncated"):
        load_photo(tmp_path / "cut.jpg", on_note=lambda note: pytest.fail(note))


def test_an_icon_with_a_palette_is_loaded(tmp_path):
    """Pillow takes this one for a TGA, which has no signature, unless it looks for an ICO first."""
    side = 256
    pixels = np.tile(np.arange(side, dtype=np.uint8), (side, 1))
    palette = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, 1)
    bitmap = struct.pack("<IiiHHIIiiII", 40, side, 2 * side, 1, 8, 0, 0, 0, 0, 0, 0) + palette.tobytes()
    bitmap += pixels.tobytes() + bytes(side * side // 8)
    head = struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 8, len(bitmap), 22)
    (tmp_path / "icon.ico").write_bytes(head + bitmap)
    np.testing.assert_array_equal(load_photo(tmp_path / "icon.ico"), np.repeat(pixels[..., None], 3, 2))


@pytest.mark.parametrize(
    "content,words",
    [
        (b"This is a letter and no photo.\n" * 9, "is not a photo in a supported format"),
        (b"", "is empty"),
        (b"%PDF-1.7 ...", "is a document"),
        (b'<?xml version="1.0"?><svg/>', "is a drawing"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "is a recording"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(50), "is a video"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is a document"),
    ],
)
def test_a_file_that_is_not_a_photo_is_refused_with_what_it_is(tmp_path, content, words):
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(TalkfaceError, match=words) as error:
        load_photo(tmp_path / "photo.jpg")
    assert error.value.fix


def test_a_missing_photo_and_a_folder_are_clear_errors(tmp_path):
    with pytest.raises(TalkfaceError, match="There is no file"):
        load_photo(tmp_path / "missing.jpg")
    with pytest.raises(TalkfaceError, match="is a folder, not a photo"):
        load_photo(tmp_path)


@pytest.mark.parametrize("channels", [1, 3])
def test_floating_point_pixels_are_refused_with_advice(tmp_path, channels):
    cv2.imwrite(str(tmp_path / "float.tiff"), picture()[..., :channels].astype(np.float32))
    with pytest.raises(TalkfaceError, match=r"float\.tiff has floating-point pixels") as error:
        load_photo(tmp_path / "float.tiff")
    assert "8-bit PNG" in error.value.fix


def test_another_tiff_that_pillow_does_not_read_is_named(tmp_path):
    cv2.imwrite(str(tmp_path / "odd.tiff"), picture().astype(np.int32))
    with pytest.raises(TalkfaceError, match=r"odd\.tiff is a TIFF of a type that is not supported"):
        load_photo(tmp_path / "odd.tiff")


def test_a_png_is_written_atomically(tmp_path, monkeypatch):
    path = tmp_path / "sheet.png"
    path.write_text("old")

    def full(self, data):
        raise OSError(28, "No space left on device", str(self))

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_bytes", full)
        with pytest.raises(TalkfaceError, match=r"sheet\.png cannot be written: No space left on device"):
            save_png(path, picture())
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("sheet.png", "old")]
    save_png(path, picture())
    np.testing.assert_array_equal(np.asarray(Image.open(path)), picture())
    with pytest.raises(TalkfaceError, match="No such file"):
        save_png(tmp_path / "missing" / "sheet.png", picture())
