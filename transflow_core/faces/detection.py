"""Where the faces of a picture are, and where their eyes are."""

import cmath
import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image

from .frame import LEFT_EYE, RIGHT_EYE, Eyes, to_frame, to_image
from .models import Landmarks, centerface, dlib, eye_centres, hog_detections, opencv

Detector = Literal["centerface", "hog"]
_Box = tuple[float, float, float, float]

# CenterFace sees faces of 12 px and more. A face that fills the picture is found in a small copy with wide mirrored
# margins, which shows its surroundings; one in a crowd needs more pixels. A look at less than `_CLOSER` times another
# one's scale would only find the same. Neither detector sees a face in a strip narrower than `_LEAST_SIDE`.
_OVERVIEW_SIDE, _OVERVIEW_MARGIN = 200, 0.25
_PIXELS, _MARGIN = 1_200_000, 0.03
_MOST_ENLARGEMENT, _CLOSER, _LEAST_SIDE = 4.0, 1.5, 64
# dlib's HOG sees faces of 80 px and more in 0.1 s a megapixel, and drawings that CenterFace does not. A turned face's
# score moves by 0.4 with where its 8 px cells fall on it: two scales seldom both miss it.
_HOG_SIDE, _HOG_PIXELS, _HOG_MOST_PIXELS, _HOG_LOOKS = 400, 1_600_000, 3_200_000, (1.0, 0.85)
# Under this score a face may be inclined, or a false alarm in a picture on its side: the other ways up are tried too,
# and only a sure face counts there, which is surer by so much.
_SURE, _SURER = 1.0, 0.4
# Eyes are located in 20 ms: a wall of portraits must not take minutes.
_MOST_FOUND = 300
# As shares of the eye distance: two detections are one face when their eyes' middles are nearer (boxes of two people
# cheek to cheek overlap as much as two boxes of one face); eyes that move further from where the detector saw them, or
# whose distance changes more, are not those that it saw.
_SAME_EYES, _MOST_MOVED, _EYE_DISTANCE = 0.5, 0.5, (0.4, 1.6)

# Eyes are located in an upright cut-out of the face. The landmark model starts from the average box of HOG there
# (centre x, centre y, side, as fractions of the frame), and from moved and scaled copies: their mean is steadier than
# one answer. Each round starts from the eyes of the one before, until they move by less than `_SETTLED` of the frame.
_CUTOUT_SIDE, _CUTOUT_BOX = 256, (0.5, 0.59, 0.61)
_JITTER = ((0, 0, 1), (-0.03, 0, 1), (0.03, 0, 1), (0, -0.03, 1), (0, 0.03, 1), (0, 0, 0.93), (0, 0, 1.07))
_MOST_ROUNDS, _SETTLED = 4, 0.01

_TRANSPOSE = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


@dataclass(frozen=True)
class Detection:
    """One face in a picture. Coordinates are pixels of that picture, as it was given.

    Attributes:
        box: (left, top, right, bottom) of the face, eyebrows to chin; may reach outside the picture.
        eyes: ((x, y), (x, y)), image-left first once the face is upright. The first pixel's centre is (0.5, 0.5).
        score: the detector's confidence: 0 is doubtful, 1 and more is sure.
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
        landmarks: see `align`.
        thorough: False looks at the picture as it stands alone: for small pictures that are probably aligned.

    Source: Y. Xu et al., CenterFace: Joint Face Detection and Alignment Using Face as Point, 2019
    (https://arxiv.org/abs/1911.03599); D. E. King, dlib.
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

    kept: list[Detection] = []
    largest = sorted(found, key=lambda one: one.box[2] - one.box[0], reverse=True)[:_MOST_FOUND]
    for one in sorted(largest, key=lambda one: one.score, reverse=True):
        if _is_among(one.eyes, kept):
            continue  # two looks saw it, and to locate eyes takes as long as all else
        eyes = _locate_eyes(image, [complex(*eye) for eye in one.eyes], landmarks)
        if eyes is not None and not _is_among(eyes, kept):
            kept.append(replace(one, eyes=eyes))
    return sorted(kept, key=lambda one: (one.box[2] - one.box[0], one.score), reverse=True)


def _best(found: list[Detection]) -> float:
    """How sure the surest face is, and how upright: CenterFace sees faces on their side, but less exactly."""
    upright = []
    for one in found:
        left, right = (complex(*eye) for eye in one.eyes)
        upright.append(one.score * math.cos(cmath.phase((right - left) * (-1j) ** (one.rotation // 90))))
    return max(upright, default=-math.inf)


def _scale_to(side: int, image: Image.Image) -> float:
    return min(_MOST_ENLARGEMENT, side / max(image.size))


def _overview(image: Image.Image, angle: int) -> list[Detection]:
    return _look("centerface", image, angle, _scale_to(_OVERVIEW_SIDE, image), _OVERVIEW_MARGIN)


def _centre(image: Image.Image, angle: int) -> list[Detection]:
    found = _overview(image, angle)
    scale = min(1.0, math.sqrt(_PIXELS / (image.width * image.height)))
    if scale > _CLOSER * _scale_to(_OVERVIEW_SIDE, image):
        found += _look("centerface", image, angle, scale, _MARGIN)
    return found


def _hog(image: Image.Image) -> list[Detection]:
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


def _look(detector: Detector, image: Image.Image, angle: int, scale: float, margin: float) -> list[Detection]:
    """What a detector sees in the picture resized by `scale` and turned, with mirrored margins."""
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    # reducing_gap: a photograph is first reduced by whole pixels, several times faster and as good for detection.
    how = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    scaled = image.resize(size, how, reducing_gap=1.5)
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
        seen = [(box, _average_eyes(box), score) for box, score in hog_detections(pixels)]
    found = []
    for box, eyes, score in seen:
        corners = [complex(*box[:2]), complex(*box[2:])]
        *corners, left, right = ((point - complex(pad, pad)) / scale for point in (*corners, *eyes))
        # A face whose eyes are outside the picture is the mirror image of one that is cut.
        if all(0 <= eye.real < width and 0 <= eye.imag < height for eye in (left, right)):
            one, other, *eyes = _unturned([*corners, left, right], image.size, angle)
            (x0, x1), (y0, y1) = sorted((one.real, other.real)), sorted((one.imag, other.imag))
            box = round(x0), round(y0), round(x1), round(y1)
            found.append(Detection(box, _pair(eyes), score, detector, angle))
    return found


def _is_among(eyes: Eyes, others: list[Detection]) -> bool:
    """Whether one of the others is the same face."""
    a, b = (complex(*eye) for eye in eyes)
    pairs = ([complex(*eye) for eye in other.eyes] for other in others)
    return any(abs(a + b - c - d) / 2 < _SAME_EYES * max(abs(b - a), abs(d - c)) for c, d in pairs)


def _unturned(points: list[complex], size: tuple[int, int], angle: int) -> list[complex]:
    """Points x + iy of the picture turned counter-clockwise by `angle`, in pixels of the picture of `size` before."""
    corner = {0: 0, 90: complex(size[0], 0), 180: complex(*size), 270: complex(0, size[1])}[angle]
    # y points down: counter-clockwise by 90° took x + iy to -i times it, and the way back multiplies by i.
    return [1j ** (angle // 90) * point + corner for point in points]


def _locate_eyes(image: Image.Image, seen: list[complex], landmarks: Landmarks) -> Eyes | None:
    """Eye centres in pixels of the picture, from where a detector saw them; None if they are no eyes.

    Without dlib they are where the detector saw them.
    """
    if dlib() is None:
        return _pair(seen)
    eyes, distance = seen, abs(seen[1] - seen[0])
    boxes = [_cutout_box(*jitter) for jitter in _JITTER]
    for _ in range(_MOST_ROUNDS):
        a, b = to_image(_pair(eyes))
        cutout = np.asarray(to_frame(image, _pair(eyes), _CUTOUT_SIDE))
        points = eye_centres(cutout, boxes, landmarks).mean(axis=0) / _CUTOUT_SIDE
        before, eyes = eyes, [a * complex(*point) + b for point in points]
        if not _EYE_DISTANCE[0] < abs(eyes[1] - eyes[0]) / distance < _EYE_DISTANCE[1]:
            return None
        if _farthest(eyes, before) < _SETTLED * abs(a):
            break
    return _pair(eyes) if _farthest(eyes, seen) < _MOST_MOVED * distance else None


def _farthest(eyes: list[complex], others: list[complex]) -> float:
    return max(abs(one - other) for one, other in zip(eyes, others, strict=True))


def _pair(eyes: list[complex]) -> Eyes:
    return (eyes[0].real, eyes[0].imag), (eyes[1].real, eyes[1].imag)


def _cutout_box(dx: float, dy: float, scale: float) -> _Box:
    x, y, side = _CUTOUT_BOX
    x, y, half = x + dx * side, y + dy * side, scale * side / 2
    left, top, right, bottom = (_CUTOUT_SIDE * edge for edge in (x - half, y - half, x + half, y + half))
    return left, top, right, bottom
