"""What goes into the loop that makes frames and what comes out of it, for any engine that runs the networks.

An engine is PyTorch (`talkface.model.torch_engine`) or ONNX Runtime (`talkface.model.onnx_engine`). Both take and give
numpy arrays; this module imports neither.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from talkface.config import SIZE

WIDTH, HEIGHT = 88, 64  # px of the crop around the mouth that the networks see
BELOW_CORNERS = 5  # px: the crop's centre lies so far below the middle of the mouth's inner corners
REGION = (48, 104, 160, 144)  # x, y, width, height in px of the aligned face: what the lips' field may move
DILATIONS = (1, 1, 2, 4)  # of the Audio Encoder's convolutions over time
REACH = sum(DILATIONS)  # frames that are heard before and after a frame
BORDER = 12  # px over which the field fades to 0 at the region's border, and the paper's frame at its own


class AlignedFace(NamedTuple):
    """A face that is to speak."""

    face: np.ndarray
    """uint8 RGB (256, 256, 3), aligned."""
    lips: np.ndarray
    """float32 (40, 2) px: where the lips are in it, as `talkface.face.landmarks.lips` orders them."""
    nose: np.ndarray
    """float32 (2,) px: the base of the nose."""
    reach: np.ndarray | None = None
    """float32 (256, 256) in [0, 1]: where lips may carry the skin with them; 0 outside the face's outline."""


class OutputFrame(NamedTuple):
    """One frame on the aligned face, and what paste-back needs to repeat it at the photo's own resolution."""

    face: np.ndarray
    """uint8 RGB (256, 256, 3)."""
    paint: np.ndarray
    """float32 (3, H, W) in [0, 1], on the crop at `corner`."""
    weights: np.ndarray
    """float32 (3, H, W): shares of paint, skull copy and jaw copy in the colour."""
    copy_flow: np.ndarray
    """float32 (4, H, W) px: flows of the two copies."""
    mask: np.ndarray
    """float32 (H, W) in [0, 1]: where the colour replaces the carried photo."""
    flow: np.ndarray
    """float32 (2, h, w) px on `region`: the pixel at p shows the photo at p + flow(p)."""
    region: tuple[int, int, int, int]
    """x, y, width, height in px of the aligned face."""
    corner: tuple[int, int]
    """x, y of the crop's first pixel in the aligned face."""


class FaceState(Protocol):
    """One face that speaks: what an engine keeps of the photo, and the frame that it feeds back."""

    def see(self, face: AlignedFace) -> None:
        """Take the identity from another picture of the face; the frame that is fed back stays."""

    def frame(self, lips: np.ndarray, share: float) -> OutputFrame:
        """The next frame, as `talkface.model.inference.FaceRenderer.frame` describes it."""


class GeneratorEngine(Protocol):
    """A generator's networks, run by PyTorch or ONNX Runtime."""

    @property
    def takes_mfcc(self) -> bool:
        """Whether it takes 20x13 MFCC windows; otherwise it takes features of the speech recogniser."""

    @property
    def direction(self) -> np.ndarray:
        """Along which lip points move when the mouth opens by 1, float32 (40, 2)."""

    def lips(self, features: np.ndarray, photo_lips: np.ndarray, expression: float) -> np.ndarray:
        """The lips of T frames, float32 (T, 40, 2) px of the aligned face.

        Args:
            features: float32 (T, 768), or MFCC windows (T, 20, 13).
            photo_lips: float32 (40, 2) px of the aligned face.
            expression: factor on the opening of the mouth.
        """

    def open_face(self, face: AlignedFace, picture: bool) -> FaceState:
        """A face that begins to speak; without `picture` the `face` of its frames is the photo itself."""


def crop_corner(lips: np.ndarray) -> tuple[int, int]:
    """x, y of the first pixel of the mouth's crop, inside REGION, for lip points (40, 2) px of the aligned face."""
    x, y = lips[[20, 30]].mean(0) + np.array([-WIDTH / 2, BELOW_CORNERS - HEIGHT / 2], np.float32)
    left, top, width, height = REGION
    return (
        min(max(round(float(x)), left), left + width - WIDTH),
        min(max(round(float(y)), top), top + height - HEIGHT),
    )


def reach_or_everywhere(face: AlignedFace) -> np.ndarray:
    """The face's `reach`, float32 (256, 256); 1 everywhere if it is not known."""
    return np.ones((SIZE, SIZE), np.float32) if face.reach is None else face.reach
