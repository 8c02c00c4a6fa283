"""Which face of a photo is to speak, and how it lies on the 256x256 face that the networks know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch

from talkface.config import ALIGNED_LIPS, EYE_CENTRE, EYE_DISTANCE
from talkface.errors import TalkfaceError
from talkface.face.align import apply, fit_transform, warp
from talkface.face.fan import FanFinder
from talkface.face.find import PROFILE_YAW, Face, FaceFinder
from talkface.face.landmarks import eye_distance, lips

Box = tuple[float, float, float, float]

TURNED_YAW = 25.0  # degrees from which the far half of the mouth is drawn less well
FLAT_SHARE = 0.6  # of a face without any shade: drawings have 0.63 to 0.81, photos up to 0.11, one burnt out 0.54
SMALL_EYES = 24.0  # px between the eyes; a smaller face is a blur at 256x256

# An upright face in its mesh's box, as fractions of the height of the box.
EYES_BELOW_TOP = 0.31
EYES_APART = 0.40


@dataclass(frozen=True)
class SelectedFace:
    """The face that speaks."""

    transform: np.ndarray
    """float64 (2, 3): px of the photo to the aligned face."""
    box: Box
    """x, y, width, height, px of the photo."""
    number: int | None = None
    """From left to right, from 1; None for a face that the user pointed at."""
    found: int | None = None
    """Faces in the photo; None where they were not counted."""
    lips: np.ndarray = field(default_factory=lambda: np.array(ALIGNED_LIPS, np.float32))
    """float32 (40, 2) px of the aligned face; where there are no landmarks, those of a usual face."""
    yaw: float | None = None
    """Degrees to the side, rough; None where there are no landmarks."""
    notes: tuple[str, ...] = ()
    """What the user should know."""

    def to_dict(self) -> dict[str, Any]:
        """For a manifest: values that JSON can hold."""
        box = [round(float(value), 1) for value in self.box]
        yaw = None if self.yaw is None else round(self.yaw, 1)
        return {"box": box, "number": self.number, "found": self.found, "yaw": yaw}


def select_face(
    picture: np.ndarray,
    name: str,
    *,
    number: int | None = None,
    box: Box | None = None,
    landmarks: str = "mesh",
    device: torch.device | str = "cpu",
) -> SelectedFace:
    """The face of a photo that is to speak: the largest, the one of that number, or the one in the box.

    Args:
        picture: uint8 RGB (H, W, 3).
        name: what to call the photo in messages.
        number: counted from 1 from left to right.
        box: x, y, width, height in px of the photo. Where no face can be made out in it (a drawing), the box is taken
            for an upright face from forehead to chin.
        landmarks: "mesh" or "fan".
        device: where the face networks run.

    Raises:
        TalkfaceError: no face, a drawn one, too much of a profile, no such number, a box outside the photo; for "fan",
            that package or its weights are missing.
    """
    if number is not None and box is not None:
        raise TalkfaceError("--face and --box both say which face to take.", "Give one of them.")
    finder = _finder(landmarks, device)
    if box is None:
        faces = finder.find(picture)
        index = _chosen(faces, picture, name, number)
        face, found, notes = faces[index], len(faces), []
        if number is None and found > 1:
            notes = [f"{name} has {found} faces; the largest speaks, number {index + 1} from the left (see --face)."]
    else:
        _check_box(box, picture, name)
        face, index, found, notes = finder.find_in(picture, box), None, None, []
        if face is None:
            note = f"No face can be made out in --box of {name}: the box is taken for an upright one, forehead to chin."
            return SelectedFace(upright(box), _plain(box), notes=(note,))
    _refuse_profile(face, name)
    transform = fit_transform(face.points)
    if box is None:
        _refuse_drawing(warp(picture, transform), name)
    return SelectedFace(
        transform,
        _plain(face.box),
        number=None if index is None else index + 1,
        found=found,
        lips=apply(transform, lips(face.points)),
        yaw=face.yaw,
        notes=(*notes, *_doubts(face, name)),
    )


def _finder(landmarks: str, device: torch.device | str) -> FaceFinder | FanFinder:
    if landmarks not in ("mesh", "fan"):
        raise TalkfaceError(f"--landmarks {landmarks}: neither mesh nor fan.", "Use mesh, or leave it out.")
    return FanFinder(device) if landmarks == "fan" else FaceFinder(device)


def _chosen(faces: list[Face], picture: np.ndarray, name: str, number: int | None) -> int:
    """Index of the face with that number, or else of the largest."""
    if not faces:
        height, width = picture.shape[:2]
        raise TalkfaceError(
            f"No face found in {name} ({width}x{height}).",
            "Use a photo of a face looking at the camera, at least 100 pixels wide, or point at it with --box x,y,w,h.",
        )
    if number is None:
        return max(range(len(faces)), key=lambda index: faces[index].box[2] * faces[index].box[3])
    if not 1 <= number <= len(faces):
        faces_found = "1 face" if len(faces) == 1 else f"{len(faces)} faces"
        raise TalkfaceError(
            f"--face {number}: {name} has {faces_found}.", "Count from 1 from left to right, or use --box x,y,w,h."
        )
    return number - 1


def upright(box: Box) -> np.ndarray:
    """The transform of an upright face of usual proportions that fills `box` from forehead to chin, float64 (2, 3)."""
    x, y, width, height = box
    scale = EYE_DISTANCE / (EYES_APART * height)
    eyes_x, eyes_y = x + width / 2, y + EYES_BELOW_TOP * height
    return np.array([[scale, 0, EYE_CENTRE[0] - scale * eyes_x], [0, scale, EYE_CENTRE[1] - scale * eyes_y]])


def _check_box(box: Box, picture: np.ndarray, name: str) -> None:
    height, width = picture.shape[:2]
    x, y, box_width, box_height = box
    shown = ",".join(f"{value:g}" for value in box)
    if not np.isfinite(box).all():
        raise TalkfaceError(f"--box {shown} is not four numbers of pixels.", "Give x,y,w,h, as in 120,80,300,300.")
    if min(box_width, box_height) < 8:
        raise TalkfaceError(
            f"--box {shown}: {box_width:g} px wide and {box_height:g} px high is no face.",
            "Give x,y,w,h: the left and top edge, the width and the height, in pixels.",
        )
    if x < 0 or y < 0 or x + box_width > width or y + box_height > height:
        raise TalkfaceError(
            f"--box {shown} reaches out of {name}, which is {width}x{height} pixels.",
            "Give x,y,w,h: the left and top edge, the width and the height, in pixels of the upright photo.",
        )


def _refuse_profile(face: Face, name: str) -> None:
    if abs(face.yaw) > PROFILE_YAW:
        raise TalkfaceError(
            f"The face in {name} is turned about {abs(face.yaw):.0f} degrees to the side; "
            f"up to {PROFILE_YAW:.0f} can be made to speak.",
            "Use a photo in which the face looks at the camera, or choose another face with --face N.",
        )


def _refuse_drawing(aligned: np.ndarray, name: str) -> None:
    """A face of plain colours, such as a cartoon's: landmarks of people do not fit it."""
    gray = cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY)[40:230, 40:216]
    around = np.ones((5, 5), np.uint8)
    flat = float((cv2.dilate(gray, around) - cv2.erode(gray, around) <= 1).mean())
    if flat > FLAT_SHARE:
        raise TalkfaceError(
            f"The face in {name} seems to be drawn: {flat:.0%} of it is of plain colour.",
            "Use a photo of a face looking at the camera, or point at the drawn one with --box x,y,w,h.",
        )


def _doubts(face: Face, name: str) -> tuple[str, ...]:
    notes = []
    if abs(face.yaw) > TURNED_YAW:
        notes.append(
            f"The face in {name} is turned about {abs(face.yaw):.0f} degrees: its far side may look less real."
        )
    apart = float(eye_distance(face.points))
    if apart < SMALL_EYES:
        notes.append(f"The face in {name} is small ({apart:.0f} px between the eyes): it will look soft.")
    return tuple(notes)


def _plain(box: Any) -> Box:
    return tuple(float(value) for value in box)
