"""Photos, recordings and weights made by mutating real ones. The same seed makes the same files."""

import io
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from talkface.media.ffmpeg import ffmpeg_exe

SIZES = [(1, 1), (1, 400), (2, 2), (8, 8), (20_000, 2), (3, 20_000), (64, 64), (127, 255), (255, 127), (1600, 1600)]
WEBP_LIMIT = 16_383  # px, longest side of a WebP
PHOTO_KINDS = {
    "jpg": {"format": "JPEG"},
    "progressive.jpg": {"format": "JPEG", "progressive": True},
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP"},
    "gif": {"format": "GIF"},
    "bmp": {"format": "BMP"},
    "tif": {"format": "TIFF"},
    "ico": {"format": "ICO", "sizes": [(256, 256)]},
    "ppm": {"format": "PPM"},
    "tga": {"format": "TGA"},
}
SOUND_KINDS = {
    "wav": [],
    "float.wav": ["-c:a", "pcm_f32le"],
    "stereo.wav": ["-ac", "2"],
    "mp3": [],
    "m4a": [],
    "flac": [],
    "ogg": ["-c:a", "libvorbis"],
    "opus": ["-c:a", "libopus"],
    "aac": [],
    "aif": [],
    "mka": ["-c:a", "pcm_s16le"],
    "mp4": ["-f", "lavfi", "-i", "color=size=64x64:rate=25:duration=0.5", "-shortest"],
}


def photos(folder, count, seed=0):
    """Write `count` files and return (path, what was done to it) of each."""
    rng = np.random.default_rng(seed)
    face = Image.fromarray(skimage.data.astronaut()[:256, 96:352])
    made = []
    for number in range(count):
        kind = list(PHOTO_KINDS)[number % len(PHOTO_KINDS)]
        change = number // len(PHOTO_KINDS) % 5
        if change == 4:
            size = SIZES[int(rng.integers(len(SIZES)))]
            kind = kind if _holds(kind, size) else "png"
            data, done = _encoded(face.resize(size), kind), f"{size[0]}x{size[1]}"
        elif change == 3:
            data, done = _wrong_size(_encoded(face, kind), kind, rng)
        else:
            data, done = (_cut, _changed, _changed_header)[change](_encoded(face, kind), rng)
        made.append(_written(folder, number, kind, data, done))
    return made


def recordings(folder, speech, count, seed=1):
    """Write `count` files made of the first half second of `speech`; returns (path, what was done to it) of each."""
    rng = np.random.default_rng(seed)
    whole = {kind: _converted(speech, Path(folder) / f"whole.{kind}", options) for kind, options in SOUND_KINDS.items()}
    made = []
    for number in range(count):
        kind = list(SOUND_KINDS)[number % len(SOUND_KINDS)]
        change = number // len(SOUND_KINDS) % 5
        data = whole[kind].read_bytes()
        if change == 4:
            other = list(whole.values())[int(rng.integers(len(whole)))]
            data, done = data + other.read_bytes(), f"joined with {other.name}"
        elif change == 3 and "wav" in kind:
            data, done = _lying_wav(data, rng)
        elif change == 3:
            data, done = _zeros(data, rng)
        else:
            data, done = (_cut, _changed, _changed_header)[change](data, rng)
        made.append(_written(folder, number, kind, data, done))
    for path in whole.values():
        path.unlink()
    return made


def weights(folder, source, count, seed=2):
    """Write `count` damaged copies of a weights file; returns (path, what was done to it) of each."""
    rng = np.random.default_rng(seed)
    whole = Path(source).read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    made = []
    for number in range(count):
        change = number % 4
        if change == 3:  # the configuration, in the text of the header
            data = bytearray(whole)
            for place in rng.integers(8, header, 3):
                data[place] = int(rng.integers(32, 127))
            done = "3 letters of the header changed"
        else:
            data, done = (_cut, _changed, _zeros)[change](whole, rng)
        made.append(_written(folder, number, "safetensors", data, done))
    return made


def _written(folder, number, kind, data, done):
    path = Path(folder) / f"{number:03d}.{kind}"
    path.write_bytes(data)
    return path, done


def _holds(kind, size):
    """Whether Pillow writes pictures of this size in this format."""
    if kind == "ico":
        return min(size) >= 256
    return kind != "webp" or max(size) <= WEBP_LIMIT


def _encoded(picture, kind):
    stream = io.BytesIO()
    picture.save(stream, **PHOTO_KINDS[kind])
    return stream.getvalue()


def _converted(source, target, options):
    inputs = ["-t", "0.5", "-i", str(source)]
    command = [ffmpeg_exe(), "-v", "error", "-y", *inputs, *options, str(target)]
    subprocess.run(command, check=True)
    return target


def _cut(data, rng):
    kept = int(rng.integers(0, len(data)))
    return data[:kept], f"cut to {kept} of {len(data)} bytes"


def _changed(data, rng):
    count = int(rng.integers(1, 60))
    changed = bytearray(data)
    for place in rng.integers(0, len(data), count):
        changed[place] = int(rng.integers(256))
    return bytes(changed), f"{count} bytes changed"


def _changed_header(data, rng):
    count = int(rng.integers(1, 6))
    changed = bytearray(data)
    for place in rng.integers(0, min(len(data), 80), count):
        changed[place] = int(rng.integers(256))
    return bytes(changed), f"{count} of the first 80 bytes changed"


def _zeros(data, rng):
    start, length = int(rng.integers(len(data))), int(rng.integers(1, len(data) // 2))
    return data[:start] + bytes(min(length, len(data) - start)) + data[start + length :], f"zeros from byte {start}"


def _wrong_size(data, kind, rng):
    """An image whose header gives another size."""
    width, height = (int(rng.choice([0, 1, 17, 255, 4000, 30_000, 65_535])) for _ in range(2))
    done = f"header says {width}x{height}"
    places = {"bmp": (18, "<ii"), "gif": (6, "<HH"), "tga": (12, "<HH")}
    if kind == "png":
        header = struct.pack(">II", width, height) + data[24:29]
        return data[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:], done
    if kind.endswith("jpg"):
        frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) + 5
        return data[:frame] + struct.pack(">HH", height, width) + data[frame + 4 :], done
    if kind in places:
        place, form = places[kind]
        return data[:place] + struct.pack(form, width, height) + data[place + struct.calcsize(form) :], done
    return _zeros(data, rng)


def _lying_wav(data, rng):
    """A wav whose header gives another size, rate, width or number of channels."""
    place, form, values = [
        (22, "<H", [0, 2, 11, 255, 65_535]),
        (24, "<I", [0, 1, 1999, 2000, 2**31, 2**32 - 1]),
        (34, "<H", [0, 1, 7, 8, 24, 32, 64, 65_535]),
        (4, "<I", [0, 10, 2**32 - 1]),
        (40, "<I", [0, 10, 2**32 - 1]),
        (20, "<H", [0, 2, 3, 6, 0x55, 0xFFFE]),
    ][int(rng.integers(6))]
    value = int(rng.choice(values))
    return data[:place] + struct.pack(form, value) + data[place + struct.calcsize(form) :], f"byte {place} says {value}"
