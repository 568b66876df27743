"""Where the faces of a picture are, and where their eyes are."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from .frame import LEFT_EYE, RIGHT_EYE, Eyes, to_frame, to_image
from .models import Landmarks, centerface, eye_centres, hog_detections, opencv

__all__ = ["Detection", "Detector", "detect"]

Detector = Literal["centerface", "hog"]
_Box = tuple[float, float, float, float]

# CenterFace sees faces of 12 px and more. A face that fills the picture is found in a small copy with wide mirrored
# margins, which shows its surroundings; one in a crowd needs more pixels.
_OVERVIEW_SIDE, _OVERVIEW_MARGIN = 200, 0.25
_PIXELS, _MARGIN = 1_200_000, 0.03
_MOST_ENLARGEMENT = 4.0
# A look at less than this many times another one's scale would only find the same.
_CLOSER = 1.5
# Neither detector sees a face in a narrower strip.
_LEAST_SIDE = 64
# dlib's HOG sees faces of 80 px and more in 0.1 s a megapixel, and drawings that CenterFace does not.
_HOG_SIDE, _HOG_PIXELS, _HOG_MOST_PIXELS = 400, 1_600_000, 3_200_000
# A turned face's score moves by 0.4 with where HOG's 8 px cells fall on it: two scales seldom both miss it.
_HOG_LOOKS = (1.0, 0.85)
# Under this score a face may be inclined, or a false alarm in a picture on its side: the other ways up are tried too,
# and only a sure face counts there, which is surer by so much.
_SURE, _SURER = 1.0, 0.4
# Eyes are located in 20 ms: a wall of portraits must not take minutes.
_MOST_FOUND = 300
# Two detections are one face when their eyes' middles are nearer than this share of the larger eye distance. Boxes of
# two people cheek to cheek overlap as much as two boxes of one face.
_SAME_EYES = 0.5
# Eyes that move further from where the detector saw them, as a share of their distance, are not those that it saw.
_MOST_MOVED = 0.5

# Eyes are located in an upright cut-out of the face. The landmark model starts from the average box of HOG there
# (centre x, centre y, side, as fractions of the frame), and from moved and scaled copies: their mean is steadier than
# one answer. Each round starts from the eyes of the one before, until they keep their places.
_CUTOUT_SIDE = 256
_CUTOUT_BOX = (0.5, 0.59, 0.61)
_JITTER = ((0, 0, 1), (-0.03, 0, 1), (0.03, 0, 1), (0, -0.03, 1), (0, 0.03, 1), (0, 0, 0.93), (0, 0, 1.07))
_MOST_ROUNDS = 4
_SETTLED = 0.01  # of the frame
# Outside these bounds, as shares of the distance that the detector saw, the eyes left the face that they started from.
_EYE_DISTANCE = (0.4, 1.6)

_TRANSPOSE = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


class _Sighting(NamedTuple):
    """What a detector saw in the picture turned by `rotation`: a box, two eyes as x + iy, and how sure it is."""

    box: _Box
    eyes: list[complex]
    score: float
    detector: Detector
    rotation: int


@dataclass(frozen=True)
class Detection:
    """One face in a picture. Coordinates are pixels of that picture, as it was given.

    Attributes:
        box: (left, top, right, bottom) of the face, eyebrows to chin; may reach outside the picture.
        eyes: ((x, y), (x, y)), the eye centres, image-left first once the face stands upright. The centre of the first
            pixel is (0.5, 0.5).
        score: the detector's confidence: 0 is doubtful, 1 and more is sure.
        detector: "centerface" or "hog".
        rotation: degrees (0, 90, 180, 270) by which the picture was turned counter-clockwise to find the face.
    """

    box: tuple[int, int, int, int]
    eyes: Eyes
    score: float
    detector: Detector
    rotation: int = 0


def detect(image: Image.Image, *, landmarks: Landmarks = "5", thorough: bool = True) -> list[Detection]:
    """Every face of a picture, largest first; of hundreds the largest.

    CenterFace looks first. Where it is not sure of an upright face, dlib's HOG detector looks too, for drawings say;
    and where neither is, CenterFace looks again with the picture turned by right angles. Then dlib's landmarks locate
    the eyes.

    Args:
        image: a picture of any size, in any mode.
        landmarks: the model that locates the eyes, "5" (default; free licence) or "68" (trained on iBUG 300-W, whose
            licence excludes commercial use).
        thorough: False looks at the picture as it stands alone: for small pictures that are probably aligned.

    Source: Y. Xu et al., CenterFace: Joint Face Detection and Alignment Using Face as Point, 2019
    (https://arxiv.org/abs/1911.03599); D. E. King, dlib.

    Example:
        >>> detect(Image.new("RGB", (64, 64), "grey"))
        []
    """
    if landmarks not in ("5", "68"):
        raise ValueError(f'landmarks must be "5" or "68", not {landmarks!r}')
    image = image if image.mode == "RGB" else image.convert("RGB")
    found = _centre(image, 0)
    if _best(found) < _SURE:
        found += _hog(image)
    if thorough and _best(found) < _SURE:
        surer, angle = max((_best(_overview(image, angle)), angle) for angle in (90, 180, 270))
        if surer >= max(_SURE, _best(found) + _SURER):
            found = _centre(image, angle)

    detections = []
    for one in sorted(found, key=lambda one: one.box[2] - one.box[0], reverse=True)[:_MOST_FOUND]:
        eyes = _locate_eyes(image, _unturned(one.eyes, image.size, one.rotation), landmarks)
        if eyes is not None:
            box = _unturned_box(one.box, image.size, one.rotation)
            detections.append(Detection(box, eyes, one.score, one.detector, one.rotation))
    return sorted(_distinct(detections), key=lambda one: (one.box[2] - one.box[0], one.score), reverse=True)


def _best(found: list[_Sighting]) -> float:
    """How sure the surest face is, and how upright: CenterFace sees faces on their side, but less exactly."""
    upright = (one.score * math.cos(cmath.phase(one.eyes[1] - one.eyes[0])) for one in found)
    return max(upright, default=-math.inf)


def _scale_to(side: int, image: Image.Image) -> float:
    return min(_MOST_ENLARGEMENT, side / max(image.size))


def _overview(image: Image.Image, angle: int) -> list[_Sighting]:
    return _look("centerface", image, angle, _scale_to(_OVERVIEW_SIDE, image), _OVERVIEW_MARGIN)


def _centre(image: Image.Image, angle: int) -> list[_Sighting]:
    found = _overview(image, angle)
    scale = min(1.0, math.sqrt(_PIXELS / (image.width * image.height)))
    if scale > _CLOSER * _scale_to(_OVERVIEW_SIDE, image):
        found += _look("centerface", image, angle, scale, _MARGIN)
    return found


def _hog(image: Image.Image) -> list[_Sighting]:
    pixels, overview = image.width * image.height, _scale_to(_HOG_SIDE, image)
    scale = min(_MOST_ENLARGEMENT, math.sqrt(max(_HOG_PIXELS, min(pixels, _HOG_MOST_PIXELS)) / pixels))
    found = _look("hog", image, 0, overview, _OVERVIEW_MARGIN)
    closer = overview * (_CLOSER if _best(found) >= _SURE else 1)
    for factor in _HOG_LOOKS:
        if scale * factor > closer:
            found += _look("hog", image, 0, scale * factor, _MARGIN)
    return found


def _average_eyes(box: _Box) -> list[complex]:
    """Where the eyes are in HOG's average box: it is the landmark model's."""
    x, y, side = _CUTOUT_BOX
    frame = (box[2] - box[0]) / side
    corner = complex(box[0] + box[2], box[1] + box[3]) / 2 - frame * complex(x, y)
    return [corner + frame * complex(*eye) for eye in (LEFT_EYE, RIGHT_EYE)]


def _look(detector: Detector, image: Image.Image, angle: int, scale: float, margin: float) -> list[_Sighting]:
    """A detector over the picture resized by `scale` and turned, with mirrored margins, in pixels of the turned one."""
    scaled = _scaled(image, scale)
    pixels = np.asarray(scaled.transpose(_TRANSPOSE[angle]) if angle else scaled)
    width, height = image.size if angle in (0, 180) else image.size[::-1]
    short = min(pixels.shape[:2])
    if short < _LEAST_SIDE:
        return []
    pad = round(margin * short)
    cv2 = opencv()
    pixels = cv2.copyMakeBorder(pixels, pad, pad, pad, pad, cv2.BORDER_REFLECT_101)
    if detector == "centerface":
        seen = centerface(pixels)
    else:
        seen = [(box, _average_eyes(box), score) for box, score in hog_detections(pixels, 0.0)]
    found = []
    for box, eyes, score in seen:
        eyes = [(eye - complex(pad, pad)) / scale for eye in eyes]
        # A face whose eyes are outside the picture is the mirror image of one that is cut.
        if all(0 <= eye.real < width and 0 <= eye.imag < height for eye in eyes):
            left, top, right, bottom = ((edge - pad) / scale for edge in box)
            found.append(_Sighting((left, top, right, bottom), eyes, score, detector, angle))
    return found


def _scaled(image: Image.Image, scale: float) -> Image.Image:
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    # reducing_gap: a photograph is first reduced by whole pixels, several times faster and as good for detection.
    return image.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC, reducing_gap=2.0)


def _distinct(detections: list[Detection]) -> list[Detection]:
    """Each face once, by its surest detection: two looks may have seen the same one."""
    kept: list[Detection] = []
    for one in sorted(detections, key=lambda one: one.score, reverse=True):
        if not any(_same_face(one, other) for other in kept):
            kept.append(one)
    return kept


def _same_face(one: Detection, other: Detection) -> bool:
    (a, b), (c, d) = ([complex(*eye) for eye in detection.eyes] for detection in (one, other))
    return abs(a + b - c - d) / 2 < _SAME_EYES * max(abs(b - a), abs(d - c))


def _unturned(points: list[complex], size: tuple[int, int], angle: int) -> list[complex]:
    """Points x + iy of the picture turned counter-clockwise by `angle`, in pixels of the picture of `size` before."""
    corner = {0: 0, 90: complex(size[0], 0), 180: complex(*size), 270: complex(0, size[1])}[angle]
    # y points down: counter-clockwise by 90° took x + iy to -i times it, and the way back multiplies by i.
    return [1j ** (angle // 90) * point + corner for point in points]


def _unturned_box(box: _Box, size: tuple[int, int], angle: int) -> tuple[int, int, int, int]:
    one, other = _unturned([complex(*box[:2]), complex(*box[2:])], size, angle)
    xs, ys = sorted((one.real, other.real)), sorted((one.imag, other.imag))
    return round(xs[0]), round(ys[0]), round(xs[1]), round(ys[1])


def _locate_eyes(image: Image.Image, eyes: list[complex], landmarks: Landmarks) -> Eyes | None:
    """Eye centres in pixels of the picture, from where a detector saw them; None if they are no eyes."""
    seen, distance = eyes, abs(eyes[1] - eyes[0])
    boxes = [_cutout_box(*jitter) for jitter in _JITTER]
    for _ in range(_MOST_ROUNDS):
        a, b = to_image(_pair(eyes))
        cutout = np.asarray(to_frame(image, _pair(eyes), _CUTOUT_SIDE))
        points = eye_centres(cutout, boxes, landmarks).mean(axis=0) / _CUTOUT_SIDE
        before, eyes = eyes, [a * complex(*point) + b for point in points]
        if not _EYE_DISTANCE[0] < abs(eyes[1] - eyes[0]) / distance < _EYE_DISTANCE[1]:
            return None
        if max(abs(one - other) for one, other in zip(eyes, before, strict=True)) < _SETTLED * abs(a):
            break
    moved = max(abs(one - other) for one, other in zip(eyes, seen, strict=True))
    return _pair(eyes) if moved < _MOST_MOVED * distance else None


def _pair(eyes: list[complex]) -> Eyes:
    return (eyes[0].real, eyes[0].imag), (eyes[1].real, eyes[1].imag)


def _cutout_box(dx: float, dy: float, scale: float) -> _Box:
    x, y, side = _CUTOUT_BOX
    x, y, half = x + dx * side, y + dy * side, scale * side / 2
    left, top, right, bottom = (_CUTOUT_SIDE * edge for edge in (x - half, y - half, x + half, y + half))
    return left, top, right, bottom
