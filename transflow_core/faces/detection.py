"""Where the faces of a picture are, and where their eyes are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from .frame import LEFT_EYE, RIGHT_EYE, Eyes, to_frame, to_image
from .models import Landmarks, cnn_detections, eye_centres, hog_detections

__all__ = ["Detection", "Detector", "detect"]

Detector = Literal["hog", "cnn"]
_Box = tuple[float, float, float, float]
_Found = list[tuple[_Box, float]]


# HOG sees faces of 80 px and more, and needs about 0.1 s a megapixel. A small picture is enlarged to the first number
# of pixels, at most four times; a large one is reduced to the second.
_ENLARGED_PIXELS, _MOST_ENLARGEMENT, _REDUCED_PIXELS = 1_600_000, 4.0, 3_200_000
_MARGIN = 0.06
# A turned face's score moves by 0.4 with where HOG's 8 px cells fall on it: two scales seldom both miss it.
_LOOKS = (1.0, 0.85)
# HOG needs a face's surroundings. For a face that fills the picture, a small copy with wide mirrored margins has them.
_OVERVIEW_SIDE, _OVERVIEW_MARGIN = 400, 0.25
# Where that copy shows a sure face, looks at up to this many times its scale would only find it again.
_CLOSER = 1.5
_HOG_THRESHOLD = 0.0
# The CNN needs about 4 s a megapixel on one core, and sees faces of 80 px and more as well.
_CNN_PIXELS, _CNN_THRESHOLD = 250_000, 0.4
# No detector sees a face in a narrower strip, and the CNN reads outside its memory there.
_LEAST_SIDE = 64
# Under this score an upright face may be a false alarm in a picture on its side: the other ways up are tried too, at
# fewer pixels (0.3 s for the three), and only a sure face counts there.
_SURE_SCORE, _TURNED_PIXELS = 1.0, 750_000
# Each costs 10 ms from here on, and a face is found up to three times: a wall of portraits must not take minutes.
_MOST_FOUND = 300
# Two detections are one face when their eyes' middles are nearer than this share of the larger eye distance. Boxes of
# two people cheek to cheek overlap as much as two boxes of one face.
_SAME_EYES = 0.5

# Eyes are located in an upright cut-out of the face. The landmark model starts from the average box of HOG there
# (centre x, centre y, side, as fractions of the frame), and from moved and scaled copies: their mean is steadier than
# one answer. Each round starts from the eyes of the one before, until they keep their places.
_CUTOUT_SIDE = 256
_CUTOUT_BOX = (0.5, 0.59, 0.61)
_JITTER = ((0, 0, 1), (-0.03, 0, 1), (0.03, 0, 1), (0, -0.03, 1), (0, 0.03, 1), (0, 0, 0.93), (0, 0, 1.07))
_MOST_ROUNDS = 4
_SETTLED = 0.01  # of the frame
# The template's eye distance is 0.26 of the frame: outside these bounds the eyes left the face that they started from.
_EYE_DISTANCE = (0.10, 0.42)

_TRANSPOSE = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


@dataclass(frozen=True)
class Detection:
    """One face in a picture. Coordinates are pixels of that picture, as it was given.

    Attributes:
        box: (left, top, right, bottom) of the face, eyebrows to chin; may reach outside the picture.
        eyes: ((x, y), (x, y)), the eye centres, image-left first once the face stands upright. The centre of the first
            pixel is (0.5, 0.5).
        score: the detector's confidence. HOG: 0 is doubtful, 1 and more is sure. CNN: about 1 is sure.
        detector: "hog" or "cnn".
        rotation: degrees (0, 90, 180, 270) by which the picture was turned counter-clockwise to find the face.
    """

    box: tuple[int, int, int, int]
    eyes: Eyes
    score: float
    detector: Detector
    rotation: int = 0


def detect(image: Image.Image, *, landmarks: Landmarks = "5", thorough: bool = True) -> list[Detection]:
    """Every face of a picture, largest first; of hundreds the largest.

    dlib's HOG detector looks first, at 3 megapixels at most. Where it is not sure of a face, it looks again with the
    picture turned by right angles. Where it found nothing, dlib's slower CNN looks, for
    covered mouths say. It comes last because it sees faces on their side too, and does not say that they are.

    Args:
        image: a picture of any size, in any mode.
        landmarks: the model that locates the eyes, "5" (default; free licence) or "68" (trained on iBUG 300-W, whose
            licence excludes commercial use).
        thorough: False asks HOG only, with the picture as it stands: for small pictures that are probably aligned.

    Example:
        >>> detect(Image.new("RGB", (64, 64), "grey"))
        []
    """
    if landmarks not in ("5", "68"):
        raise ValueError(f'landmarks must be "5" or "68", not {landmarks!r}')
    image = image if image.mode == "RGB" else image.convert("RGB")
    found, detector, rotation = _hog(image, 0), "hog", 0
    if thorough and _best(found) < _SURE_SCORE:
        best, turn = max((_best(_hog_glance(image, angle)), angle) for angle in (90, 180, 270))
        if best >= _SURE_SCORE:
            found, rotation = _hog(image, turn), turn
    if thorough and not found:
        found, detector = _cnn(image), "cnn"

    detections = []
    for box, score in sorted(found, key=lambda one: one[0][2] - one[0][0], reverse=True)[:_MOST_FOUND]:
        eyes = _locate_eyes(image, box, rotation, landmarks)
        if eyes is not None:
            detections.append(Detection(_unturned_box(box, image.size, rotation), eyes, score, detector, rotation))
    return sorted(_distinct(detections), key=lambda one: (one.box[2] - one.box[0], one.score), reverse=True)


def _best(found: _Found) -> float:
    return max((score for _, score in found), default=-math.inf)


def _hog(image: Image.Image, angle: int) -> _Found:
    pixels = image.width * image.height
    wanted = max(_ENLARGED_PIXELS, min(pixels, _REDUCED_PIXELS))
    scale = min(_MOST_ENLARGEMENT, math.sqrt(wanted / pixels))
    overview = min(_MOST_ENLARGEMENT, _OVERVIEW_SIDE / max(image.size))
    found = _hog_at(image, angle, overview, _OVERVIEW_MARGIN, _HOG_THRESHOLD)
    closer = overview * (_CLOSER if _best(found) >= _SURE_SCORE else 1)
    for factor in _LOOKS:
        if scale * factor > closer:
            found += _hog_at(image, angle, scale * factor, _MARGIN, _HOG_THRESHOLD)
    return found


def _hog_glance(image: Image.Image, angle: int) -> _Found:
    scale = min(_MOST_ENLARGEMENT, math.sqrt(_TURNED_PIXELS / (image.width * image.height)))
    return _hog_at(image, angle, scale, _MARGIN, _SURE_SCORE)


def _hog_at(image: Image.Image, angle: int, scale: float, margin: float, threshold: float) -> _Found:
    """HOG over the picture resized by `scale` and turned, with mirrored margins. Boxes: pixels of the turned one."""
    scaled = _scaled(image, scale)
    pixels = np.asarray(scaled.transpose(_TRANSPOSE[angle]) if angle else scaled)
    width, height = image.size if angle in (0, 180) else image.size[::-1]
    short = min(pixels.shape[:2])
    if short < _LEAST_SIDE:
        return []
    pad = round(margin * short)
    pixels = np.pad(pixels, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    found = []
    for box, score in hog_detections(pixels, threshold):
        left, top, right, bottom = ((edge - pad) / scale for edge in box)
        # A face whose middle is outside the picture is a mirror image of one inside it.
        if 0 <= left + right < 2 * width and 0 <= top + bottom < 2 * height:
            found.append(((left, top, right, bottom), score))
    return found


def _cnn(image: Image.Image) -> _Found:
    scale = min(_MOST_ENLARGEMENT, math.sqrt(_CNN_PIXELS / (image.width * image.height)))
    pixels = np.asarray(_scaled(image, scale))
    if min(pixels.shape[:2]) < _LEAST_SIDE:
        return []
    return [
        ((left / scale, top / scale, right / scale, bottom / scale), score)
        for (left, top, right, bottom), score in cnn_detections(pixels, _CNN_THRESHOLD)
    ]


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


def _locate_eyes(image: Image.Image, box: _Box, angle: int, landmarks: Landmarks) -> Eyes | None:
    """Eye centres in pixels of the picture, from a face box in the picture turned by `angle`; None if it has none."""
    # The rounds start where the template has its eyes when this box is the average one.
    x, y, side = _CUTOUT_BOX
    frame = (box[2] - box[0]) / side
    corner = complex(box[0] + box[2], box[1] + box[3]) / 2 - frame * complex(x, y)
    eyes = _unturned([corner + frame * complex(*eye) for eye in (LEFT_EYE, RIGHT_EYE)], image.size, angle)
    boxes = [_cutout_box(*jitter) for jitter in _JITTER]
    for _ in range(_MOST_ROUNDS):
        a, b = to_image(_pair(eyes))
        cutout = np.asarray(to_frame(image, _pair(eyes), _CUTOUT_SIDE))
        seen = eye_centres(cutout, boxes, landmarks).mean(axis=0) / _CUTOUT_SIDE
        before, eyes = eyes, [a * complex(*point) + b for point in seen]
        if not _EYE_DISTANCE[0] < abs(eyes[1] - eyes[0]) / frame < _EYE_DISTANCE[1]:
            return None
        if max(abs(one - other) for one, other in zip(eyes, before, strict=True)) < _SETTLED * abs(a):
            break
    return _pair(eyes)


def _pair(eyes: list[complex]) -> Eyes:
    return (eyes[0].real, eyes[0].imag), (eyes[1].real, eyes[1].imag)


def _cutout_box(dx: float, dy: float, scale: float) -> _Box:
    x, y, side = _CUTOUT_BOX
    x, y, half = x + dx * side, y + dy * side, scale * side / 2
    left, top, right, bottom = (_CUTOUT_SIDE * edge for edge in (x - half, y - half, x + half, y + half))
    return left, top, right, bottom
