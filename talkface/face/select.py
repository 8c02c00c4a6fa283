"""Selection of the face of a photo that is to be animated, and its alignment to 256x256 px."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from talkface.config import ALIGNED_LIPS, ALIGNED_NOSE, EYE_CENTRE, EYE_DISTANCE
from talkface.errors import TalkfaceError
from talkface.face.align import apply, fit_transform, warp
from talkface.face.find import PROFILE_YAW, Face, FaceFinder
from talkface.face.landmarks import eye_distance, lips, nose_base
from talkface.face.networks import FaceNetworks
from talkface.face.outline import reach_map

if TYPE_CHECKING:
    import torch

    from talkface.face.fan import FanFinder

Box = tuple[float, float, float, float]

WARN_YAW = 25.0  # degrees; beyond this the far half of the mouth is rendered less well
MAX_FLAT_SHARE = (
    0.6  # of a face that has no shading: drawings have 0.63 to 0.81, photos up to 0.11, an overexposed 0.54
)
MIN_EYE_DISTANCE = 24.0  # px; a smaller face is blurred at 256x256
MIN_BOX_SIDE = 8  # px

# An upright face inside its mesh's box, as fractions of the height of the box.
EYE_LINE_HEIGHT = 0.31  # from the top
EYE_SPACING = 0.40


@dataclass(frozen=True)
class SelectedFace:
    """The face to animate."""

    transform: np.ndarray
    """float64 (2, 3): pixels of the photo to pixels of the aligned face."""
    box: Box
    """x, y, width, height, pixels of the photo."""
    number: int | None = None
    """Position from left to right, starting at 1; None for a face that was given by its box."""
    found: int | None = None
    """Number of faces in the photo; None if they were not counted."""
    lips: np.ndarray = field(default_factory=lambda: np.array(ALIGNED_LIPS, np.float32))
    """float32 (40, 2), pixels of the aligned face; the template's lips if there are no landmarks."""
    nose: np.ndarray = field(default_factory=lambda: np.array(ALIGNED_NOSE, np.float32))
    """float32 (2,), pixels of the aligned face: the base of the nose; the template's if there are no landmarks."""
    reach: np.ndarray | None = None
    """float32 (256, 256) in [0, 1]: where lips may carry the skin, see `talkface.face.outline`."""
    mesh: np.ndarray | None = None
    """float32 (468, 3): the mesh with its depth, px of the photo; None if there are no landmarks."""
    yaw: float | None = None
    """Approximate rotation to the side in degrees; None if there are no landmarks."""
    notes: tuple[str, ...] = ()
    """What the user should know."""

    def to_dict(self) -> dict[str, Any]:
        """Return the values that a manifest contains, all of types that JSON can hold."""
        box = [round(float(value), 1) for value in self.box]
        yaw = None if self.yaw is None else round(self.yaw, 1)
        return {"box": box, "number": self.number, "found": self.found, "yaw": yaw}


def select_face(
    image: np.ndarray,
    name: str,
    *,
    number: int | None = None,
    box: Box | None = None,
    landmarks: str = "mesh",
    device: torch.device | str = "cpu",
    networks: FaceNetworks | None = None,
) -> SelectedFace:
    """Select the face of a photo that is to be animated: the largest, the one with `number`, or the one in `box`.

    Args:
        image: uint8 RGB (H, W, 3).
        name: the photo's name for messages.
        number: position of the face from left to right, starting at 1.
        box: x, y, width, height in px of the photo. If no face is detected in it (a drawing), the box is assumed to
            enclose an upright face from forehead to chin.
        landmarks: "mesh" or "fan".
        device: where PyTorch runs the face networks.
        networks: the detector and the mesh in another engine; "fan" does not use them.

    Raises:
        TalkfaceError: there is no face, or it is drawn or turned too far to the side; there is no face with that
            number; the box is outside the photo; for "fan", its package or weights are missing.
    """
    if number is not None and box is not None:
        raise TalkfaceError("--face and --box are given together, and both select a face.", "Give only one of them.")
    finder = _finder(landmarks, device, networks)
    if box is not None:
        return _select_in_box(finder, image, name, box)
    faces = finder.find(image)
    index = _index_of_face(faces, image, name, number)
    notes: tuple[str, ...] = ()
    if number is None and len(faces) > 1:
        notes = (
            f"{name} has {len(faces)} faces; the largest one, number {index + 1} from the left, is used (see --face).",
        )
    _refuse_profile(faces[index], name)
    _refuse_drawing(warp(image, fit_transform(faces[index].points)), name)
    return _selected(faces[index], name, notes, number=index + 1, found=len(faces))


def _finder(landmarks: str, device: torch.device | str, networks: FaceNetworks | None) -> FaceFinder | FanFinder:
    if landmarks not in ("mesh", "fan"):
        raise TalkfaceError(
            f"--landmarks {landmarks} is not a valid kind of landmarks: expected mesh or fan.",
            "Use mesh, or leave it out.",
        )
    if landmarks == "fan":
        from talkface.face.fan import FanFinder

        return FanFinder(device)
    return FaceFinder(device, networks) if networks else FaceFinder(device)


def _select_in_box(finder: FaceFinder | FanFinder, image: np.ndarray, name: str, box: Box) -> SelectedFace:
    """Select the face in a box. A drawing is accepted, because the user has pointed at it."""
    _check_box(box, image, name)
    face = finder.find_in(image, box)
    if face is None:
        note = (
            f"No face was detected in --box of {name}. The box is assumed to enclose an upright face, forehead to chin."
        )
        return SelectedFace(upright(box), _plain(box), notes=(note,))
    _refuse_profile(face, name)
    return _selected(face, name)


def _selected(
    face: Face, name: str, notes: tuple[str, ...] = (), number: int | None = None, found: int | None = None
) -> SelectedFace:
    transform = fit_transform(face.points)
    points = apply(transform, face.points)
    return SelectedFace(
        transform,
        _plain(face.box),
        number=number,
        found=found,
        lips=lips(points),
        nose=nose_base(points),
        reach=reach_map(points),
        mesh=face.mesh,
        yaw=face.yaw,
        notes=(*notes, *_warnings(face, name)),
    )


def _index_of_face(faces: list[Face], image: np.ndarray, name: str, number: int | None) -> int:
    """Return the index of the face with that number; without a number, of the largest face."""
    if not faces:
        height, width = image.shape[:2]
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
    """Return the alignment, float64 (2, 3), of an upright face of usual proportions that fills `box`."""
    x, y, width, height = box
    scale = EYE_DISTANCE / (EYE_SPACING * height)
    eyes_x, eyes_y = x + width / 2, y + EYE_LINE_HEIGHT * height
    return np.array([[scale, 0, EYE_CENTRE[0] - scale * eyes_x], [0, scale, EYE_CENTRE[1] - scale * eyes_y]])


def _check_box(box: Box, image: np.ndarray, name: str) -> None:
    height, width = image.shape[:2]
    x, y, box_width, box_height = box
    shown = ",".join(f"{value:g}" for value in box)
    if not np.isfinite(box).all():
        raise TalkfaceError(f"--box {shown} is not four numbers of pixels.", "Give x,y,w,h, as in 120,80,300,300.")
    if min(box_width, box_height) < MIN_BOX_SIDE:
        raise TalkfaceError(
            f"--box {shown} is {box_width:g} px wide and {box_height:g} px high; both must be at least {MIN_BOX_SIDE}.",
            "Give x,y,w,h: the left and top edge, the width and the height, in pixels.",
        )
    if x < 0 or y < 0 or x + box_width > width or y + box_height > height:
        raise TalkfaceError(
            f"--box {shown} extends beyond {name}, which is {width}x{height} pixels.",
            "Give x,y,w,h: the left and top edge, the width and the height, in pixels of the upright photo.",
        )


def _refuse_profile(face: Face, name: str) -> None:
    if abs(face.yaw) > PROFILE_YAW:
        raise TalkfaceError(
            f"The face in {name} is turned about {abs(face.yaw):.0f} degrees to the side; "
            f"at most {PROFILE_YAW:.0f} can be animated.",
            "Use a photo in which the face looks at the camera, or choose another face with --face N.",
        )


def _refuse_drawing(aligned: np.ndarray, name: str) -> None:
    """Refuse a face of plain colours, such as a cartoon's: the landmark networks were trained on photos of people."""
    gray = cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY)[40:230, 40:216]
    kernel = np.ones((5, 5), np.uint8)
    flat = float((cv2.dilate(gray, kernel) - cv2.erode(gray, kernel) <= 1).mean())
    if flat > MAX_FLAT_SHARE:
        raise TalkfaceError(
            f"The face in {name} seems to be drawn: {flat:.0%} of it has no shading.",
            "Use a photo of a face looking at the camera, or point at the drawn one with --box x,y,w,h.",
        )


def _warnings(face: Face, name: str) -> tuple[str, ...]:
    notes = []
    if not face.certain:
        x, y, width, height = (round(float(value)) for value in face.box)
        notes.append(
            f"What was found in {name} may not be a face (box {x},{y},{width},{height}); --box x,y,w,h selects another."
        )
    if abs(face.yaw) > WARN_YAW:
        notes.append(
            f"The face in {name} is turned about {abs(face.yaw):.0f} degrees: its far side may look less realistic."
        )
    distance = float(eye_distance(face.points))
    if distance < MIN_EYE_DISTANCE:
        notes.append(f"The face in {name} is small ({distance:.0f} px between the eyes): it will look blurred.")
    return tuple(notes)


def _plain(box: Any) -> Box:
    x, y, width, height = (float(value) for value in box)
    return x, y, width, height
