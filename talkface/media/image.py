"""Reads photos of any common format as image viewers show them; writes PNG."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin, UnidentifiedImageError

from talkface.errors import TalkfaceError
from talkface.files import require_file, write_bytes
from talkface.media.truncated_jpeg import decode_truncated

__all__ = ["load_photo", "save_png"]

MAX_PIXELS = 50_000_000
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
FLOATING_POINT = 3  # value of TIFF's tag SampleFormat
REFUSED_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 0)  # Pillow refuses larger images as decompression bombs
SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")
# Formats of photos. Pillow has others, some of which run programs (EPS) or accept any text as an image.
FORMATS = ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "HEIF", "JPEG2000"]
FORMATS += ["PPM", "ICO", "QOI", "TGA"]  # TGA last: it has no signature, and accepts some ICO files
ORIENTATION = 0x0112  # EXIF tag
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientation -> the transposition that makes the image upright."""
FIX = "Use a JPEG, PNG, WebP, TIFF, BMP or HEIC photo."
# Files that are often given instead of a photo: a pattern of their first bytes, the problem and its fix.
NOT_PHOTOS = [
    (rb".{4}ftyp(heic|heix|hevc|mif1|msf1)", "is a HEIC photo, which pillow-heif reads", "pip install pillow-heif"),
    (rb".{4}ftyp(avif|avis)", "is an AVIF photo, which this Pillow does not read", "pip install --upgrade pillow"),
    (rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI |\x00\x00\x01\xba", "is a video", "Save one frame of it as PNG or JPEG."),
    (rb"RIFF.{4}WAVE|ID3|fLaC|OggS", "is a recording", "Give the photo first and the recording second."),
    (rb"%PDF|%!PS", "is a document", FIX),
    (rb"\s*<(\?xml|svg|!DOCTYPE|html)", "is a drawing (SVG) or a web page", FIX),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "is a JPEG XL photo, which is not supported", FIX),
]  # fmt: skip


def load_photo(
    path: str | Path, max_pixels: int = MAX_PIXELS, on_note: Callable[[str], None] | None = None
) -> np.ndarray:
    """Load a photo as image viewers show it: uint8 RGB (H, W, 3).

    The content of the file determines its format, not its name. The photo is rotated as its EXIF says and composited on
    white if it is transparent. Gray, palettes and CMYK become RGB, 16 bits become 8, and an embedded colour profile is
    converted to sRGB. Of an animation, the first image is used. HEIC needs pillow-heif.

    Args:
        path: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, HEIC, JPEG 2000, PPM, TGA, ICO or QOI.
        max_pixels: a larger photo is shrunk by a whole number; above 178 million pixels it is refused without decoding.
        on_note: called with what the user should know: that the end of a JPEG is missing.

    Raises:
        TalkfaceError: the file does not exist, is not a photo, is too large to be read safely, or is truncated; a JPEG
            is accepted if only its last rows are missing.
    """
    source = require_file(path, "a photo")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about sizes that are checked here and metadata that is not used
        with _open(source) as picture:
            decoded = _decode(picture, source, max_pixels, on_note)
            return np.array(_upright_rgb(decoded, source.name, max_pixels))


def save_png(path: str | Path, rgb: np.ndarray) -> None:
    """Write an image, uint8 RGB (H, W, 3) or gray (H, W), as PNG, atomically.

    Raises:
        TalkfaceError: the file cannot be written.
    """
    encoded = io.BytesIO()
    Image.fromarray(rgb).save(encoded, "PNG")
    write_bytes(path, encoded.getbuffer())


def _open(source: Path) -> Image.Image:
    """Open the photo: its header is read, its pixels are not decoded yet."""
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
    Image.init()
    try:
        return Image.open(source, formats=[name for name in FORMATS if name in Image.OPEN])
    except Image.DecompressionBombError as error:
        pixels, *_ = re.findall(r"\d+", str(error))  # of the image, and of Pillow's limit
        raise TalkfaceError(
            f"{source.name} has {int(pixels) / 1e6:.0f} megapixels; at most {REFUSED_PIXELS / 1e6:.0f} are read.",
            "Shrink it: a face 300 pixels wide is enough.",
        ) from error
    except UnidentifiedImageError as error:
        with source.open("rb") as file:
            start = file.read(64)
        for pattern, is_a, fix in NOT_PHOTOS:
            if re.match(pattern, start, re.DOTALL):
                raise TalkfaceError(f"{source.name} {is_a}.", fix) from error
        if start[:4] in TIFF_SIGNATURES:
            raise _unsupported_tiff(source) from error
        raise TalkfaceError(f"{source.name} is not a photo in a supported format.", FIX) from error
    except Exception as error:
        raise _broken(source.name, error) from error


def _decode(picture: Image.Image, source: Path, max_pixels: int, on_note: Callable[[str], None] | None) -> Image.Image:
    """Decode the pixels of an open photo. A JPEG of too many pixels is shrunk while it is decoded."""
    factor = _shrink_factor(picture, max_pixels)
    try:
        if factor > 1:
            picture.draft(picture.mode, (picture.width // factor, picture.height // factor))
        picture.load()
    except Exception as error:  # a broken file can make a decoder raise anything
        rescued = decode_truncated(source) if picture.format in ("JPEG", "MPO") else None
        if rescued is None:
            raise _broken(source.name, error) from error
        picture, share = rescued
        if on_note:
            on_note(f"The end of {source.name} is missing; {share:.0%} of its rows could be decoded.")
    return picture


def _upright_rgb(picture: Image.Image, name: str, max_pixels: int) -> Image.Image:
    try:
        flat = _opaque_8_bit(picture, name)
        factor = _shrink_factor(flat, max_pixels)
        if factor > 1:
            flat = flat.reduce(factor)
        return _to_srgb(_oriented(flat, picture))
    except (OSError, ValueError) as error:
        raise TalkfaceError(f"The colours of {name} ({picture.mode}) cannot be read: {error}.", FIX) from error


def _shrink_factor(picture: Image.Image, max_pixels: int) -> int:
    """Return the whole number by which both sides are divided, so that the image has at most `max_pixels`."""
    return math.ceil((picture.width * picture.height / max_pixels) ** 0.5)


def _unsupported_tiff(source: Path) -> TalkfaceError:
    """Return the error for a TIFF that Pillow does not read: its header tells the type of its pixels."""
    try:
        with source.open("rb") as file:
            header = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
            file.seek(header.next)
            header.load(file)
        formats = header.get(TiffImagePlugin.SAMPLEFORMAT, (1,))
    except Exception:  # a broken header can make its parser raise anything
        formats = (1,)
    if FLOATING_POINT in formats:
        return _floating_point(source.name)
    return TalkfaceError(
        f"{source.name} is a TIFF of a type that is not supported.", "Save it as an 8-bit PNG or JPEG."
    )


def _floating_point(name: str) -> TalkfaceError:
    return TalkfaceError(
        f"{name} has floating-point pixels, whose range is unknown.", "Save it as an 8-bit PNG or JPEG."
    )


def _broken(name: str, error: Exception) -> TalkfaceError:
    return TalkfaceError(f"{name} is broken or truncated: {error}.", "Copy or download it again.")


def _oriented(flat: Image.Image, picture: Image.Image) -> Image.Image:
    """Rotate and flip `flat` as the EXIF of `picture` says; EXIF that cannot be read is ignored."""
    try:
        transposition = TRANSPOSITIONS.get(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # broken EXIF can make its parser raise anything, and the pixels are intact
        transposition = None
    return flat if transposition is None else flat.transpose(transposition)


def _opaque_8_bit(picture: Image.Image, name: str) -> Image.Image:
    """Convert to 8 bits without transparency: to RGB, except for CMYK with a colour profile, which is applied later."""
    if picture.mode == "F":
        raise _floating_point(name)
    profile = picture.info.get("icc_profile")
    if picture.mode in SIXTEEN_BIT:
        levels = np.clip(np.asarray(picture).astype(np.int64), 0, 65_535)
        return Image.fromarray(((levels + 128) // 257).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        flat = Image.new("RGBA", picture.size, "white")
        flat.alpha_composite(picture)
        picture = flat.convert("RGB")
    elif picture.mode != "RGB" and (picture.mode != "CMYK" or not profile):
        picture = picture.convert("RGB")
    if profile:
        picture.info["icc_profile"] = profile
    return picture


def _to_srgb(picture: Image.Image) -> Image.Image:
    """Convert to sRGB an image that has a profile of another colour space (phones' Display P3, printers' CMYK)."""
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(embedded) and picture.mode == "RGB":
            return picture
        converted = ImageCms.profileToProfile(picture, embedded, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):  # a broken profile, or one for gray; viewers ignore them as well
        converted = None
    return converted or picture.convert("RGB")
