"""A live video from the first block of sound to the end of the file or the pipe."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from talkface.live.frames import LATE, Latency, LiveFrames
from talkface.live.output import FragmentedVideo, OutputClosed, RawVideo, Target
from talkface.live.sound import LiveSound
from talkface.live.source import SteadySource
from talkface.model.inference import AlignedFace, OutputFrame
from talkface.model.onnx_engine import OnnxGenerator

if TYPE_CHECKING:
    from talkface.model.checkpoint import AnyGenerator


@dataclass(frozen=True)
class LiveFace:
    """Who speaks in which picture."""

    generator: AnyGenerator | OnnxGenerator
    face: AlignedFace
    show: Callable[[OutputFrame], np.ndarray]
    """Makes the picture of a frame, uint8 RGB (height, width, 3)."""
    width: int
    height: int


@dataclass(frozen=True)
class LiveReport:
    """What a live video took."""

    out: str
    """The file, or "-"."""
    look_ahead_ms: int
    frames: int
    width: int
    height: int
    sound_seconds: float
    """Seconds of sound in the video, silence included."""
    silence_seconds: float
    """Seconds of silence inserted because no sound came."""
    repeated: int
    """Frames that were too late to be made; the frame before took their place."""
    measured: int
    """Frames that count for the latency: not those of the first second, nor of sound that came faster than it plays or
    before the first frame could be made."""
    latency_median_ms: float | None
    """From the arrival of the sound at the start of a frame until the frame had been written to the output."""
    latency_95_ms: float | None
    """95th percentile."""
    stopped: bool
    """Whether Ctrl-C ended it."""

    def sentence(self) -> str:
        """The report in words."""
        parts = [f"look-ahead {self.look_ahead_ms} ms"]
        if self.latency_median_ms is not None and 2 * self.measured >= self.frames:
            times = f"{self.latency_median_ms:.0f} ms (median), {self.latency_95_ms:.0f} ms (95th percentile)"
            parts.append(f"sound to frame {times}")
        else:
            parts.append(
                "sound to frame not measured: most of the sound came faster than it plays, or before the first frame"
            )
        if self.silence_seconds:
            parts.append(f"{self.silence_seconds:.1f} s of silence inserted")
        if self.repeated:
            frames = "1 frame" if self.repeated == 1 else f"{self.repeated} frames"
            parts.append(f"{frames} repeated, because this machine was too slow")
        return ", ".join(parts)


def write_live(
    who: LiveFace,
    source: SteadySource,
    out: str | Path,
    *,
    fps: Fraction,
    look_ahead_ms: int,
    expression: float = 1.0,
    raw: bool = False,
    crf: int = 18,
    mark: bool = True,
) -> LiveReport:
    """Write frames as their sound comes, until the sound ends, Ctrl-C is pressed or nobody reads the output any more.

    Args:
        who: the speaker.
        source: the sound.
        out: a new file, or "-" for standard output.
        fps: frames per second.
        look_ahead_ms: sound after the start of a frame that it may depend on.
        expression: factor on the opening of the mouth.
        raw: whether raw frames are written in place of a fragmented mp4.
        crf: x264's quality.
        mark: whether the metadata say that the video is synthetic.

    Raises:
        TalkfaceError: no sound came, or the output cannot be written. A file without frames is deleted; frames that
            were written stay, and the file can be played.
    """
    ready = source.clock()
    latency = Latency(ready)
    target = Target(out)
    size, sound = (who.width, who.height), source.sound
    video: RawVideo | FragmentedVideo = RawVideo(target, latency.left)
    if not raw:
        video = FragmentedVideo(target, *size, fps, sound, crf=crf, mark=mark, on_left=latency.left)
    stopped = False
    try:
        with suppress(OutputClosed), video:
            live = LiveSound(source, sound, video.write_sound)
            frames = LiveFrames(
                who.generator,
                who.face,
                who.show,
                live,
                fps,
                look_ahead_ms / 1000,
                expression=expression,
                is_late=lambda due: _is_late(source, due),
                due=ready,
                latency=latency,
            )
            try:
                for picture in frames:
                    video.write(picture)
            except KeyboardInterrupt:
                stopped = True
    except BaseException:
        if not video.frames:
            target.remove()
        raise
    return LiveReport(
        out=str(out),
        look_ahead_ms=look_ahead_ms,
        frames=video.left,
        width=who.width,
        height=who.height,
        sound_seconds=round(live.duration, 3),
        silence_seconds=round(source.silence, 3),
        repeated=frames.repeated,
        measured=len(latency.seconds),
        latency_median_ms=_milliseconds(latency.percentile(50)),
        latency_95_ms=_milliseconds(latency.percentile(95)),
        stopped=stopped,
    )


def _is_late(source: SteadySource, due: float) -> bool:
    """Whether a frame that became due then is left out; never where the source waits for us, as a file does."""
    return not source.outruns_time and not source.ended and source.clock() - due > LATE


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 1)
