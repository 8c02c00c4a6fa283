"""Constants of the method and the locations of weights and data. Imports no heavy package."""

from __future__ import annotations

import os
from pathlib import Path

# Aligned faces (paper 4.1): SIZE x SIZE px, eyes level. Coordinates are in px, x to the right and y down; (0, 0) is the
# centre of the top-left pixel.
SIZE = 256  # px, side of an aligned face
EYE_DISTANCE = 70.0  # px between the eye centres of an aligned face
EYE_CENTRE = (128.0, 105.0)  # px, midpoint between the eye centres of an aligned face

# Templates: where points of a typical face lie in an aligned face, in px. All were made symmetric about x = 128.
# The stable points of MediaPipe's mesh (face.landmarks.STABLE, 16 points): the mean of 78 frontal frames of 29 speakers
# with level eyes. Alignment fits a face to these points.
ALIGNED_STABLE = (
    *((77.4, 104.0), (108.6, 106.0), (147.4, 106.0), (178.6, 104.0)),
    *((128.0, 99.7), (128.0, 108.8), (128.0, 117.2), (128.0, 125.1), (128.0, 133.7), (128.0, 143.9)),
    *((128.0, 151.8), (128.0, 155.8), (128.0, 157.4), (128.0, 159.1), (108.8, 156.9), (147.2, 156.9)),
)
# The stable points of the 68-point scheme (face.landmarks.STABLE_68, 13 points), from the same frames.
ALIGNED_STABLE_68 = (
    *((77.4, 104.0), (108.6, 106.0), (147.4, 106.0), (178.6, 104.0)),
    *((128.0, 99.7), (128.0, 117.2), (128.0, 133.7), (128.0, 143.9)),
    *((113.5, 155.0), (119.3, 158.8), (128.0, 159.1), (136.7, 158.8), (142.5, 155.0)),
)
ALIGNED_NOSE = (128.0, 157.6)  # px, the base of the nose
# The lips (face.landmarks.LIPS, 40 points): the mean over 19 speakers.
ALIGNED_LIPS = (
    *((100.3, 185.1), (102.3, 189.1), (105.5, 193.7), (111.1, 198.9), (118.8, 202.4), (128.0, 203.4), (137.2, 202.4)),
    *((144.9, 198.9), (150.5, 193.7), (153.7, 189.1), (155.7, 185.1), (153.7, 181.9), (150.1, 178.8), (144.9, 175.3)),
    *((136.5, 172.1), (128.0, 173.6), (119.5, 172.1), (111.1, 175.3), (105.9, 178.8), (102.3, 181.9), (103.1, 185.1)),
    *((107.3, 186.0), (110.7, 186.8), (115.4, 187.6), (121.1, 188.4), (128.0, 188.9), (134.9, 188.4), (140.6, 187.6)),
    *((145.3, 186.8), (148.7, 186.0), (152.9, 185.1), (148.8, 184.0), (145.1, 183.1), (140.5, 182.4), (134.7, 182.2)),
    *((128.0, 182.4), (121.3, 182.2), (115.5, 182.4), (110.9, 183.1), (107.2, 184.0)),
)
SEED_LIMIT = 2**63  # seeds are smaller, because PyTorch takes 64 bits
FPS = 25  # frames per second of every training clip
SPLITS = ("train", "val", "test")  # splits of every data set

# Speech (paper 4.1): MFCC of 5 kHz audio, 20 steps x 13 coefficients for each video frame.
SPEECH_RATE = 5000  # Hz
MFCC_HOP = 50  # samples; one step every 10 ms
MFCC_WINDOW = 125  # samples; 25 ms
MFCC_FFT = 256  # samples
MEL_BANDS = 26
MFCC_COEFFS = 13
MFCC_STEPS = 20  # steps in the window of one video frame
STEPS_PER_SECOND = SPEECH_RATE // MFCC_HOP

SOUND_RATE = 16_000  # Hz of the audio that clips keep; the rate that speech recognisers and SyncNet expect


def weights_dir() -> Path:
    """Return the folder of the bundled weights: inside an installed package, beside it in a source checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "weights"


OPEN_WEIGHTS = "open"  # in place of a file name: the generator whose training data may be used for any purpose
OPEN_GENERATOR = "generator_open.safetensors"


def weights_path(weights: str | Path, folder: Path = Path()) -> Path:
    """Return the file that `--weights` names: a file, as seen from `folder`, or a bundled generator by its name."""
    path = folder / weights  # an absolute path stays
    return weights_dir() / OPEN_GENERATOR if str(weights) == OPEN_WEIGHTS and not path.exists() else path


def cache_dir() -> Path:
    """Return the folder of files that can be made again: $TALKFACE_CACHE, or the system's folder for caches."""
    chosen = os.environ.get("TALKFACE_CACHE")
    if chosen:
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("talkface", appauthor=False)


def data_root() -> Path:
    """Return the folder of preprocessed data sets: $TALKFACE_DATA, or ./data if that is not set."""
    return Path(os.environ.get("TALKFACE_DATA", "data"))
