"""A picture to its aligned faces, and what was done."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from .detection import Detection, detect
from .frame import LEFT_EYE, RIGHT_EYE, Eyes, centre_square, to_frame, to_image
from .models import Landmarks

AlignMode = Literal["auto", "never", "always"]
Placement = Literal["aligned", "kept", "whole"]

# A square picture up to this many times the frame's side may have been made for the frame, and so may one that was made
# for the largest frame.
_READY_SIZE, _LARGEST_FRAME = 2.0, 256
# It stays as it is when each eye is this close to its place, as a fraction of the frame (4 px of 64): to move it would
# blur it for little. Aligned CelebA faces themselves scatter by 1-2 %, and eyes behind glasses are found to 2 %.
_READY_TOLERANCE = 0.06
# Under this score, what a detector takes for a face in such a picture is as often the wrong part of a drawing.
_READY_SCORE = 0.5


@dataclass(frozen=True)
class AlignedFace:
    """An aligned image, and where it came from. Coordinates are pixels of the picture that was given.

    Attributes:
        image: RGB, (size, size).
        box: (left, top, right, bottom): the face, which may reach outside the picture, or the square that was taken.
        eyes: ((x, y), (x, y)), the eye centres, image-left first once the face is upright; None without a face.
        how: what was done, for the user.
        placement: the same for a program. "aligned": moved by its eyes; "kept": its eyes were in place already;
            "whole": the picture's centre square.
        similarity: (a, b): the frame's point p, x + iy as fractions of its side, is `a · p + b` in the picture.
        rotation: degrees (0, 90, 180, 270) by which the picture was turned counter-clockwise to find the face.
        index: of the face in its picture, from 0, largest first.
        missed: whether a face was looked for, and none was found for sure.
    """

    image: Image.Image
    box: tuple[int, int, int, int]
    eyes: Eyes | None
    how: str
    placement: Placement
    similarity: tuple[complex, complex]
    rotation: int = 0
    index: int = 0
    missed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Facts for JSON: "how", "box", "eyes" and "rotation"."""
        eyes = [list(eye) for eye in self.eyes] if self.eyes else None
        return {"how": self.how, "box": list(self.box), "eyes": eyes, "rotation": self.rotation}


def align(
    image: Image.Image, *, size: int = 64, landmarks: Landmarks = "5", align: AlignMode = "auto"
) -> list[AlignedFace]:
    """Every face of a picture, with the eyes where the prior was trained to see them; largest first.

    A similarity (turn, scale, shift) puts the eye centres at `LEFT_EYE` and `RIGHT_EYE`, with anti-aliasing. What is
    outside the picture shows its reflection. Faces are found by `detect`.

    Args:
        image: an upright picture, as `load_image` returns it.
        size: the frame's side in pixels.
        landmarks: the model that locates the eyes. "5": two corners an eye, free licence. "68": six points an eye; its
            training data, iBUG 300-W, excludes commercial use.
        align: "auto": every face; without one, the picture's centre square, resized to the frame. A square picture up
            to twice the frame, or to 256 pixels, is used as it is when its face is in place already, or when the quick
            detector is not sure of one (a drawing, a digit). "never": the centre square; no face is looked for.
            "always": every face; without one, nothing.

    Raises ValueError for an unknown option, or a size under 1.

    Example:
        >>> digit = Image.new("L", (28, 28))
        >>> [(face.how, face.image.size) for face in align(digit, size=32)]
        [('no face found: the whole picture is used', (32, 32))]
        >>> align(digit, align="always")
        []
    """
    if align not in ("auto", "never", "always"):
        raise ValueError(f'align must be "auto", "never" or "always", not {align!r}')
    if size < 1:
        raise ValueError(f"size must be a positive number of pixels, not {size}")
    image = image if image.mode == "RGB" else image.convert("RGB")
    if align == "never":
        return [_whole(image, size, "used as it is, whole")]

    ready = may_be_ready(image.size, size, align)
    faces = detect(image, landmarks=landmarks, thorough=not ready)
    if not faces:
        how = "no face found: the whole picture is used"
        return [] if align == "always" else [_whole(image, size, how, missed=True)]
    places = image.width * np.array([LEFT_EYE, RIGHT_EYE])
    if ready and np.abs(places - faces[0].eyes).max() <= _READY_TOLERANCE * image.width:
        how = "already aligned: used as it is" + (", resized" if image.width != size else "")
        frame, similarity = _resized(image, size), (complex(image.width), 0j)
        return [AlignedFace(frame, faces[0].box, faces[0].eyes, how, "kept", similarity)]
    if ready and faces[0].score < _READY_SCORE:
        return [_whole(image, size, "no clear face: the whole picture is used", missed=True)]
    return [_aligned(image, size, face, index, len(faces)) for index, face in enumerate(faces)]


def may_be_ready(picture: tuple[int, int], size: int, align: AlignMode) -> bool:
    """Whether a picture of these sides may be aligned already, so that no long search is made in it."""
    return align == "auto" and picture[0] == picture[1] <= max(_READY_SIZE * size, _LARGEST_FRAME)


def _whole(image: Image.Image, size: int, how: str, missed: bool = False) -> AlignedFace:
    left, top, right, _ = square = centre_square(image)
    if square != (0, 0, *image.size):
        how += " (its centre square)"
    similarity = complex(right - left), complex(left, top)
    return AlignedFace(_resized(image, size, square), square, None, how, "whole", similarity, missed=missed)


def _resized(image: Image.Image, size: int, square: tuple[int, int, int, int] | None = None) -> Image.Image:
    """A square of a picture, by default all of it, at another size.

    First by whole pixels: it is as good, four times as fast, and needs no copy of the square.
    """
    left, _, right, _ = square = square or (0, 0, *image.size)
    factor = max(1, int((right - left) / size / 3))
    side = (right - left) / factor
    return image.reduce(factor, square).resize((size, size), Image.Resampling.LANCZOS, (0, 0, side, side))


def _aligned(image: Image.Image, size: int, face: Detection, index: int, count: int) -> AlignedFace:
    turns = {90: "90° to the left", 180: "180°", 270: "90° to the right"}
    how = "face found"
    how += f" after turning the picture by {turns[face.rotation]}" if face.rotation else ""
    how += f" ({index + 1} of {count})" if count > 1 else ""
    frame = to_frame(image, face.eyes, size)
    return AlignedFace(frame, face.box, face.eyes, how, "aligned", to_image(face.eyes), face.rotation, index)
