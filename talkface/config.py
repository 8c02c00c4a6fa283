"""Constants of the method and where files live. Imports nothing heavy."""

from __future__ import annotations

import os
from pathlib import Path

# Faces (paper 4.1): aligned to 256x256, eyes level.
SIZE = 256  # px, side of an aligned face
EYE_DISTANCE = 70.0  # px between the eye centres of an aligned face
EYE_CENTRE = (128.0, 105.0)  # px, the point between the eyes of an aligned face
FPS = 25  # frames per second of every training clip

# Speech (paper 4.1): MFCC of 5 kHz sound, 20 steps x 13 coefficients for each video frame.
SPEECH_RATE = 5000  # Hz
MFCC_HOP = 50  # samples: one step every 10 ms
MFCC_WINDOW = 125  # samples: 25 ms
MFCC_FFT = 256  # samples
MEL_BANDS = 26
MFCC_COEFFS = 13
MFCC_STEPS = 20  # steps in the window of one video frame
STEPS_PER_SECOND = SPEECH_RATE // MFCC_HOP


def weights_dir() -> Path:
    """The folder of the bundled weights: inside the installed package, or beside it in a source checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "weights"


def data_root() -> Path:
    """The folder that holds preprocessed data sets: $TALKFACE_DATA, or ./data."""
    return Path(os.environ.get("TALKFACE_DATA", "data"))
