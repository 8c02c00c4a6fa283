"""Photos in, of any usual kind, as viewers show them; PNG out."""

from __future__ import annotations

import io
import math
import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from talkface.errors import TalkfaceError
from talkface.files import atomic_write, require_file

__all__ = ["load_photo", "save_png"]

MAX_PIXELS = 50_000_000
SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")
# Formats of photos. Pillow knows others, some of which run programs (EPS) or take any text for a picture.
FORMATS = ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "HEIF", "JPEG2000"]
FORMATS += ["PPM", "TGA", "ICO", "QOI"]
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientation -> what sets the picture upright."""
FIX = "Use a JPEG, PNG, WebP, TIFF, BMP or HEIC photo."
# What is often given in place of a photo: its first bytes, and what to say of it.
MISTAKEN = [
    (rb".{4}ftyp(heic|heix|hevc|mif1|msf1)", "is a HEIC photo, which pillow-heif reads", "pip install pillow-heif"),
    (rb".{4}ftyp(avif|avis)", "is an AVIF photo, which this Pillow does not read", "pip install --upgrade pillow"),
    (rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI |\x00\x00\x01\xba", "is a video", "Save one frame of it as PNG or JPEG."),
    (rb"RIFF.{4}WAVE|ID3|fLaC|OggS", "is a recording", "Give the photo first and the recording second."),
    (rb"%PDF|%!PS", "is a document", FIX),
    (rb"\s*<(\?xml|svg|!DOCTYPE|html)", "is a drawing (SVG) or a web page", FIX),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "is a JPEG XL photo, which is not read", FIX),
]  # fmt: skip


def load_photo(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """A photo as viewers show it: uint8 RGB (H, W, 3).

    What the file holds decides, not its name. It is turned as its EXIF says, transparency is laid over white, gray,
    palettes and CMYK become RGB, 16 bits become 8, an embedded colour profile becomes sRGB; of an animation it is the
    first picture. HEIC needs pillow-heif.

    Args:
        path: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, HEIC, JPEG 2000, PPM, TGA, ICO or QOI.
        max_pixels: a photo of more is shrunk by a whole number; above 178 million pixels it is refused, unread.

    Raises:
        TalkfaceError: no such file, not a photo, cut off, or too large to be read safely.
    """
    source = require_file(path, "a photo")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about sizes that we check and metadata that we do not need
        with _open(source) as picture:
            return np.array(_upright_rgb(picture, source.name, max_pixels))


def save_png(path: str | Path, rgb: np.ndarray) -> None:
    """Write uint8 RGB (H, W, 3) as PNG; the file appears whole or not at all.

    Raises:
        TalkfaceError: the place may not be written.
    """
    encoded = io.BytesIO()
    Image.fromarray(rgb).save(encoded, "PNG")
    with atomic_write(path) as beside:
        beside.write_bytes(encoded.getbuffer())


def _open(source: Path) -> Image.Image:
    """The photo, its header read and its pixels not."""
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
        found, most = int(re.search(r"\d+", str(error))[0]) / 1e6, 2 * Image.MAX_IMAGE_PIXELS / 1e6
        raise TalkfaceError(
            f"{source.name} has {found:.0f} megapixels; at most {most:.0f} are read.",
            "Shrink it: a face 300 pixels wide is enough.",
        ) from error
    except UnidentifiedImageError as error:
        with source.open("rb") as file:
            start = file.read(64)
        for pattern, is_a, fix in MISTAKEN:
            if re.match(pattern, start, re.DOTALL):
                raise TalkfaceError(f"{source.name} {is_a}.", fix) from error
        raise TalkfaceError(f"{source.name} is not a photo of a known kind.", FIX) from error
    except Exception as error:
        raise _broken(source.name, error) from error


def _upright_rgb(picture: Image.Image, name: str, max_pixels: int) -> Image.Image:
    smaller = _times_too_large(picture, max_pixels)
    try:
        if smaller > 1:  # a JPEG is shrunk while it is decoded
            picture.draft(picture.mode, (picture.width // smaller, picture.height // smaller))
        picture.load()
    except Exception as error:  # decoders raise whatever a broken file drives them to
        raise _broken(name, error) from error
    try:
        flat = _flat(picture, name)
        smaller = _times_too_large(flat, max_pixels)
        if smaller > 1:
            flat = flat.reduce(smaller)
        return _srgb(_turned(flat, picture))
    except (OSError, ValueError) as error:
        raise TalkfaceError(f"The colours of {name} ({picture.mode}) cannot be read: {error}.", FIX) from error


def _times_too_large(picture: Image.Image, max_pixels: int) -> int:
    """The whole number by which both sides must be divided for the picture to have `max_pixels` at most."""
    return math.ceil((picture.width * picture.height / max_pixels) ** 0.5)


def _broken(name: str, error: Exception) -> TalkfaceError:
    return TalkfaceError(f"{name} is broken or cut off: {error}.", "Copy or download it again.")


def _turned(flat: Image.Image, picture: Image.Image) -> Image.Image:
    """`flat` turned as the EXIF of `picture` says; unreadable EXIF says nothing."""
    try:
        turn = TURNS.get(picture.getexif().get(0x0112))
    except Exception:  # the parser of EXIF raises what broken bytes drive it to; the pixels are well
        turn = None
    return flat if turn is None else flat.transpose(turn)


def _flat(picture: Image.Image, name: str) -> Image.Image:
    """8 bits without transparency: RGB, or CMYK with its profile still to come."""
    if picture.mode == "F":
        raise TalkfaceError(f"{name} holds floating-point pixels of unknown range.", "Save it as an 8-bit PNG or JPEG.")
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


def _srgb(picture: Image.Image) -> Image.Image:
    """`picture` in sRGB, where it brings a profile of another colour space (phones' Display P3, printers' CMYK)."""
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture
    try:
        theirs = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(theirs) and picture.mode == "RGB":
            return picture
        return ImageCms.profileToProfile(picture, theirs, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):  # a broken profile, or one for gray: viewers leave it out, too
        return picture.convert("RGB")
