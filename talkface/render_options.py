"""Options of rendering, with their defaults and their checks. It imports nothing heavy, so the command line uses it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from talkface.config import FPS, SEED_LIMIT
from talkface.errors import TalkfaceError
from talkface.media.timing import exact_rate

if TYPE_CHECKING:
    from talkface.model.checkpoint import AnyGenerator

MAX_FPS = 240
MAX_CRF = 51
MAX_EXPRESSION = 4.0
MIN_SIZE = 64  # px, of --max-size
LANDMARKS = ("mesh", "fan")


@dataclass(frozen=True)
class RenderOptions:
    """How a video is rendered; `talkface render` has each field as an option.

    Raises:
        TalkfaceError: a value is out of its range.
    """

    fps: float | str | Fraction = FPS
    """Frames per second, a number or a fraction such as "30000/1001"; frame k is shown at exactly k / fps."""

    crf: int = 18
    """Quality of H.264, from 0 (lossless) to 51."""

    crop: bool = False
    """Whether to render the aligned 256x256 face alone instead of the full photo."""

    max_size: int = 1280
    """Maximum of the video's longer side, px."""

    face: int | None = None
    """Which face, counted from 1 from left to right. Default: the largest."""

    box: tuple[float, float, float, float] | None = None
    """x, y, width, height in px of the photo (upright, as viewers show it): a face that is not detected by itself."""

    landmarks: str = "mesh"
    """"mesh", or "fan" for face-alignment (needs talkface[fan])."""

    track: int | None = None
    """Which audio track of the recording, counted from 1. Default: its default track, else the first."""

    weights: str | Path | AnyGenerator | None = None
    """A generator's weights file, a loaded Generator (to render many videos with one), or None for the bundled one."""

    device: str = "auto"
    """auto, cpu, cuda or mps; cuda:1 is the second GPU."""

    mark: bool = True
    """Whether an XMP packet and the video's metadata say that it is synthetic."""

    c2pa: bool = False
    """Whether to add signed content credentials (needs talkface[c2pa])."""

    c2pa_signer: str | Path | None = None
    """PEM file with the private key and the certificates that sign them. None makes a certificate for this video."""

    label: str | None = None
    """A visible label in the lower left corner, such as "AI-generated". None draws none."""

    srt: str | Path | None = None
    """A file of subtitles, SubRip or WebVTT, which becomes a subtitle track of the video."""

    burn_subtitles: bool = False
    """Whether the subtitles of `srt` are drawn into the picture instead."""

    json: str | Path | None = None
    """File for a description of what was done: hashes, versions, options, times. None writes none."""

    expression: float = 1.0
    """Factor on the opening of the mouth. 1, what `talkface eval` measures, is the spread of real mouths on average."""

    seed: int = 0
    """Seed for generators that draw random numbers. The bundled one draws none: equal inputs give equal frames."""

    def __post_init__(self) -> None:
        _ = self.rate  # checks --fps
        if not 0 <= self.crf <= MAX_CRF:
            raise _out_of_range(
                "--crf", self.crf, f"a number from 0 to {MAX_CRF}", "Use 18, or more for a smaller file."
            )
        if self.max_size < MIN_SIZE:
            raise _out_of_range("--max-size", self.max_size, f"at least {MIN_SIZE} px", "Use 1280, or leave it out.")
        if not 0 <= self.expression <= MAX_EXPRESSION:
            wanted = f"a number from 0 to {MAX_EXPRESSION:g}"
            raise _out_of_range("--expression", self.expression, wanted, "Leave it out to use the default.")
        if self.landmarks not in LANDMARKS:
            raise _out_of_range("--landmarks", self.landmarks, " or ".join(LANDMARKS), "Use mesh, or leave it out.")
        if self.burn_subtitles and self.srt is None:
            raise TalkfaceError("--burn-subtitles needs subtitles.", "Give a file with --srt FILE.")
        if self.c2pa_signer is not None and not self.c2pa:
            raise TalkfaceError("--c2pa-signer is used only with --c2pa.", "Add --c2pa, or leave out --c2pa-signer.")
        if self.label is not None and not self.label.strip():
            raise _out_of_range("--label", "''", "a text", 'Use --label "AI-generated", or leave it out.')
        if not 0 <= self.seed < SEED_LIMIT:
            raise _out_of_range("--seed", self.seed, "a whole number from 0 to 2^63 - 1", "Use 0, or leave it out.")

    @property
    def rate(self) -> Fraction:
        """The exact frame rate."""
        try:
            rate = exact_rate(self.fps)
        except (ValueError, ZeroDivisionError):
            rate = Fraction(0)
        if not 1 <= rate <= MAX_FPS:
            wanted = f"a rate from 1 to {MAX_FPS} frames per second"
            raise _out_of_range("--fps", self.fps, wanted, "Use 25, 29.97 or 30000/1001, for example.")
        return rate


def _out_of_range(flag: str, value: object, wanted: str, fix: str) -> TalkfaceError:
    return TalkfaceError(f"{flag} {value} is not valid: expected {wanted}.", fix)
