"""Options of rendering, with their defaults and their checks. It imports nothing heavy, so the command line uses it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from talkface.config import FPS, SEED_LIMIT, weights_path
from talkface.errors import TalkfaceError
from talkface.media.pcm import parse_sound_format
from talkface.media.timing import exact_rate

if TYPE_CHECKING:
    from talkface.model.checkpoint import AnyGenerator
    from talkface.model.onnx_engine import OnnxGenerator

MAX_FPS = 240
MAX_CRF = 51
MAX_EXPRESSION = 4.0
MIN_SIZE = 64  # px, of --max-size
LANDMARKS = ("mesh", "fan")
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov")
BACKENDS = ("auto", "torch", "onnx")
MAX_LOOK_AHEAD = 400  # ms
MIN_LIVE_FPS = 10
VIDEO_FORMATS = ("mp4", "rgb24")
PHOTO_SIZE = 1280  # px, longer side of the video of a photo at most
LOOPS = ("pingpong", "repeat", "hold")
MAX_ATTENUATION = 60.0  # dB, of --keep-sound


@dataclass(frozen=True)
class RenderOptions:
    """How a video is rendered; `talkface render` has each field as an option.

    Raises:
        TalkfaceError: a value is out of its range.
    """

    fps: float | str | Fraction | None = None
    """Frames per second, a number or a fraction such as "30000/1001"; frame k is shown at exactly k / fps. None: 25 for
    a photo, the video's own rate for a video."""

    crf: int = 18
    """Quality of H.264, from 0 (lossless) to 51."""

    crop: bool = False
    """Whether to render the aligned 256x256 face alone instead of the full photo."""

    max_size: int | None = None
    """Maximum of the result's longer side, px. None: 1280 for a photo, any size for a video."""

    face: int | None = None
    """Which face, counted from 1 from left to right; of a video, in each of its shots. Default: the largest."""

    box: tuple[float, float, float, float] | None = None
    """x, y, width, height in px of the photo (upright, as viewers show it): a face that is not detected by itself."""

    landmarks: str = "mesh"
    """"mesh", or "fan" for face-alignment (needs talkface[fan])."""

    track: int | None = None
    """Which audio track of the recording, counted from 1. Default: its default track, else the first."""

    weights: str | Path | AnyGenerator | OnnxGenerator | None = None
    """A generator's weights file, "open" for the bundled generator that was trained on openly licensed data alone, a
    loaded Generator or OnnxGenerator (to render many videos with one), or None for the bundled one for research."""

    device: str = "auto"
    """auto, cpu, cuda or mps; cuda:1 is the second GPU."""

    backend: str = "auto"
    """Engine of the networks: "torch", "onnx", or "auto" for ONNX Runtime on a CPU where the weights have graphs."""

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

    motion: float = 0.5
    """How much the head moves and the brows rise, from 0 (still) to 1. It shrinks by itself where the face is close to
    the photo's edge, turned to the side or covered."""

    blink: bool = True
    """Whether the eyes blink. With `crop` nothing but the lips moves, whatever `motion` and `blink` are."""

    seed: int = 0
    """Seed of the movement of head and lids, and of generators that draw random numbers; the bundled one draws none."""

    sound_format: str | None = None
    """Makes the video live: the format of raw sound that is rendered as it comes, ENCODING:RATE or
    ENCODING:RATE:CHANNELS, such as "s16le:16000". The encoding is s16le, s32le, f32le or u8. None: SPEECH is a whole
    recording."""

    look_ahead: int = 240
    """Milliseconds of sound after the start of a frame that a live frame may depend on, at most 400. It is the least
    delay between sound and picture."""

    video_format: str = "mp4"
    """Of a live video: "mp4" (fragmented, with sound), or "rgb24" for raw frames without sound."""

    skip_early: bool = False
    """Whether a live video leaves out the sound that comes before the first frame can be made."""
    loop: str = "pingpong"
    """How a video that is shorter than the sound goes on: "pingpong", "repeat" or "hold" (its last frame)."""

    keep_sound: float | None = None
    """dB on a video's own sound, which is then mixed below the new one; None leaves it out."""

    def __post_init__(self) -> None:
        _ = self.rate  # checks --fps
        if isinstance(self.weights, str | Path):
            object.__setattr__(self, "weights", weights_path(self.weights))
        self._check_live()
        if not 0 <= self.crf <= MAX_CRF:
            raise _out_of_range(
                "--crf", self.crf, f"a number from 0 to {MAX_CRF}", "Use 18, or more for a smaller file."
            )
        if self.loop not in LOOPS:
            raise _out_of_range("--loop", self.loop, ", ".join(LOOPS), "Use pingpong, or leave it out.")
        if self.keep_sound is not None and not -MAX_ATTENUATION <= self.keep_sound <= 0:
            wanted = f"a number of dB from -{MAX_ATTENUATION:g} to 0"
            raise _out_of_range("--keep-sound", self.keep_sound, wanted, "Use -20, or leave it out.")
        if self.max_size is not None and self.max_size < MIN_SIZE:
            raise _out_of_range("--max-size", self.max_size, f"at least {MIN_SIZE} px", "Use 1280, or leave it out.")
        if not 0 <= self.expression <= MAX_EXPRESSION:
            wanted = f"a number from 0 to {MAX_EXPRESSION:g}"
            raise _out_of_range("--expression", self.expression, wanted, "Leave it out to use the default.")
        if not 0 <= self.motion <= 1:
            raise _out_of_range("--motion", self.motion, "a number from 0 to 1", "Leave it out to use the default.")
        if self.landmarks not in LANDMARKS:
            raise _out_of_range("--landmarks", self.landmarks, " or ".join(LANDMARKS), "Use mesh, or leave it out.")
        if self.backend not in BACKENDS:
            raise _out_of_range("--backend", self.backend, "auto, torch or onnx", "Use auto, or leave it out.")
        if self.burn_subtitles and self.srt is None:
            raise TalkfaceError("--burn-subtitles needs subtitles.", "Give a file with --srt FILE.")
        if self.c2pa_signer is not None and not self.c2pa:
            raise TalkfaceError("--c2pa-signer is used only with --c2pa.", "Add --c2pa, or leave out --c2pa-signer.")
        if self.label is not None and not self.label.strip():
            raise _out_of_range("--label", "''", "a text", 'Use --label "AI-generated", or leave it out.')
        if not 0 <= self.seed < SEED_LIMIT:
            raise _out_of_range("--seed", self.seed, "a whole number from 0 to 2^63 - 1", "Use 0, or leave it out.")

    def _check_live(self) -> None:
        shortest = math.ceil(500 / self.rate)  # ms: to the middle of a frame
        if not shortest <= self.look_ahead <= MAX_LOOK_AHEAD:
            wanted = f"{shortest} to {MAX_LOOK_AHEAD} ms (from half a frame on)"
            raise _out_of_range("--look-ahead", self.look_ahead, wanted, "Use 240, or leave it out.")
        if self.video_format not in VIDEO_FORMATS:
            raise _out_of_range("--video-format", self.video_format, "mp4 or rgb24", "Leave it out for an mp4.")
        if self.sound_format is not None:
            parse_sound_format(self.sound_format)
            if self.rate < MIN_LIVE_FPS:
                wanted = f"at least {MIN_LIVE_FPS} with --sound-format"
                raise _out_of_range("--fps", self.fps, wanted, "Use 25, or leave it out.")
        elif self.video_format != "mp4" or self.skip_early:
            flag = "--skip-early" if self.skip_early else "--video-format"
            raise TalkfaceError(
                f"{flag} is for live sound, and there is no --sound-format.", f"Add --sound-format, or omit {flag}."
            )

    @property
    def rate(self) -> Fraction:
        """The exact frame rate; 25 where none is given."""
        try:
            rate = exact_rate(FPS if self.fps is None else self.fps)
        except (ValueError, ZeroDivisionError):
            rate = Fraction(0)
        if not 1 <= rate <= MAX_FPS:
            wanted = f"a rate from 1 to {MAX_FPS} frames per second"
            raise _out_of_range("--fps", self.fps, wanted, "Use 25, 29.97 or 30000/1001, for example.")
        return rate


def _out_of_range(flag: str, value: object, wanted: str, fix: str) -> TalkfaceError:
    return TalkfaceError(f"{flag} {value} is not valid: expected {wanted}.", fix)
