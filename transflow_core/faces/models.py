"""dlib's models, found in the `face_recognition_models` package and loaded once, safe to call from several threads."""

from __future__ import annotations

import functools
import threading
from typing import Any, Literal

import numpy as np

__all__ = ["Landmarks", "cnn_detections", "descriptor", "eye_centres", "hog_detections"]

Landmarks = Literal["5", "68"]

# dlib releases Python's lock inside the HOG detector, whose feature pyramid is in the object: two threads sharing one
# would read each other's pictures. Each call borrows an idle one or makes one (0.2 s). list.pop and append are atomic.
_idle_hogs: list[Any] = []
# The two networks have their activations inside too, and hold Python's lock: one at a time.
_network = threading.Lock()

# Points of each eye, image-left eye first: two corners in the 5-point model, the whole rim in the other.
_EYE_POINTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "5": ((2, 3), (0, 1)),
    "68": (tuple(range(36, 42)), tuple(range(42, 48))),
}


def _dlib() -> Any:
    """dlib, imported at its first use, without types: its names are in its binary."""
    import dlib

    return dlib


def hog_detections(pixels: np.ndarray, threshold: float) -> list[tuple[tuple[int, int, int, int], float]]:
    """Boxes (left, top, right, bottom) and scores of dlib's HOG detector over uint8 (H, W, 3): faces from 80 px."""
    try:
        hog = _idle_hogs.pop()
    except IndexError:
        hog = _dlib().get_frontal_face_detector()
    rectangles, scores, _ = hog.run(pixels, 0, threshold)
    _idle_hogs.append(hog)
    return [(_corners(rectangle), float(score)) for rectangle, score in zip(rectangles, scores, strict=True)]


def cnn_detections(pixels: np.ndarray, threshold: float) -> list[tuple[tuple[int, int, int, int], float]]:
    """The same for dlib's CNN (mmod) detector: about 4 s a megapixel on one core, with Python's lock held."""
    with _network:
        found = _loaded("cnn")(pixels, 0)
    return [(_corners(one.rect), float(one.confidence)) for one in found if one.confidence >= threshold]


def eye_centres(pixels: np.ndarray, boxes: list[tuple[float, float, float, float]], landmarks: Landmarks) -> np.ndarray:
    """Eye centres (len(boxes), 2, 2) in pixels of uint8 (H, W, 3), image-left first, one pair for each face box.

    A pixel covers a unit square, so that the centre of the first one is at (0.5, 0.5).
    """
    rectangle, predictor = _dlib().rectangle, _loaded(landmarks)
    centres = np.empty((len(boxes), 2, 2))
    for pair, box in zip(centres, boxes, strict=True):
        shape = predictor(pixels, rectangle(*(round(edge) for edge in box)))
        for eye, points in enumerate(_EYE_POINTS[landmarks]):
            pair[eye] = np.mean([(shape.part(i).x + 0.5, shape.part(i).y + 0.5) for i in points], axis=0)
    return centres


def descriptor(chip: np.ndarray) -> np.ndarray:
    """dlib's (128,) face descriptor of one uint8 (150, 150, 3) chip."""
    with _network:
        return np.array(_loaded("descriptor").compute_face_descriptor(np.ascontiguousarray(chip)))


def _corners(rectangle: Any) -> tuple[int, int, int, int]:
    # dlib's right and bottom are the last pixel inside; ours, like Pillow's, are the first outside.
    return rectangle.left(), rectangle.top(), rectangle.right() + 1, rectangle.bottom() + 1


@functools.cache
def _loaded(name: str) -> Any:
    """A model of dlib: landmarks "5" or "68", "cnn" or "descriptor"."""
    import face_recognition_models as files

    kind, file = {
        "5": ("shape_predictor", files.pose_predictor_five_point_model_location),
        "68": ("shape_predictor", files.pose_predictor_model_location),
        "cnn": ("cnn_face_detection_model_v1", files.cnn_face_detector_model_location),
        "descriptor": ("face_recognition_model_v1", files.face_recognition_model_location),
    }[name]
    return getattr(_dlib(), kind)(file())
