"""Photos of any usual kind come out as viewers show them; what is no photo is named with what is wrong."""

import io
import struct
import sys
import zlib

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
def test_lossless_formats_come_out_bit_by_bit(tmp_path, kind):
    path = tmp_path / "photo"
    Image.fromarray(picture()).save(path, kind)
    loaded = load_photo(path)
    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, picture())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "JPEG2000", "AVIF"])
def test_lossy_formats_come_out_alike(tmp_path, kind):
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {kind}")
    path = tmp_path / "photo"
    Image.fromarray(picture()).save(path, kind)
    assert np.abs(load_photo(path).astype(int) - picture()).mean() < 12


def test_heic_is_read_where_its_library_is_there(tmp_path):
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
def test_a_photo_is_turned_as_its_exif_says(tmp_path, orientation):
    stored = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, 1),  # shown turned by 90 degrees clockwise, so stored turned the other way
        7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
        8: lambda x: np.rot90(x, -1),
    }[orientation](picture())
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(load_photo(tmp_path / "photo.png"), picture())


def test_broken_exif_does_not_spoil_the_pixels(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "photo.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff junk")
    np.testing.assert_array_equal(load_photo(tmp_path / "photo.png"), picture())


def test_transparency_is_laid_over_white(tmp_path):
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


def test_a_colour_profile_becomes_srgb_and_srgb_stays_as_it_is(tmp_path):
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


def test_a_photo_of_too_many_pixels_is_shrunk(tmp_path):
    Image.fromarray(picture(400, 600)).save(tmp_path / "large.png")
    Image.fromarray(picture(400, 600)).save(tmp_path / "large.jpg", quality=95)
    for name in ("large.png", "large.jpg"):
        loaded = load_photo(tmp_path / name, max_pixels=60 * 40)
        height, width, _ = loaded.shape
        assert 500 < width * height <= 60 * 40
        assert np.abs(loaded.astype(int) - picture(height, width)).mean() < 6


def test_a_huge_photo_is_refused_unread(tmp_path):
    (tmp_path / "huge.png").write_bytes(png(np.zeros((2, 2), np.uint8), 0, size=(20_000, 20_000)))
    with pytest.raises(TalkfaceError, match=r"huge\.png has 400 megapixels; at most 179 are read") as error:
        load_photo(tmp_path / "huge.png")
    assert "Shrink it" in error.value.fix


@pytest.mark.parametrize("name", ['-my "photo" é.PNG', "a b's.png", "no_ending", "wrong.jpg"])
def test_names_do_not_matter(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    save_png(name, picture())
    np.testing.assert_array_equal(load_photo(name), picture())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_a_photo_that_is_cut_off_is_a_clear_error(tmp_path, kind):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    for part in (0.9, 0.5, 0.02):
        (tmp_path / "cut").write_bytes(buffer.getvalue()[: int(part * len(buffer.getvalue()))])
        with pytest.raises(TalkfaceError, match=r"cut is (broken or cut off|not a photo)") as error:
            load_photo(tmp_path / "cut")
        assert error.value.fix


@pytest.mark.parametrize(
    "content,words",
    [
        (b"This is a letter and no photo.\n" * 9, "is not a photo of a known kind"),
        (b"", "is empty"),
        (b"%PDF-1.7 ...", "is a document"),
        (b'<?xml version="1.0"?><svg/>', "is a drawing"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "is a recording"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(50), "is a video"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is a document"),
    ],
)
def test_what_is_no_photo_is_named(tmp_path, content, words):
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(TalkfaceError, match=words) as error:
        load_photo(tmp_path / "photo.jpg")
    assert error.value.fix


def test_a_missing_photo_and_a_folder_are_clear_errors(tmp_path):
    with pytest.raises(TalkfaceError, match="There is no file"):
        load_photo(tmp_path / "missing.jpg")
    with pytest.raises(TalkfaceError, match="is a folder, not a photo"):
        load_photo(tmp_path)


def test_floating_point_pixels_are_refused_with_advice(tmp_path):
    Image.fromarray(picture()[..., 0].astype(np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(TalkfaceError, match="floating-point pixels"):
        load_photo(tmp_path / "float.tiff")


def test_a_png_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
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
