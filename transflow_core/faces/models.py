"""CenterFace and dlib's models, loaded once, safe to call from several threads."""

import functools
import importlib
import logging
import threading
from pathlib import Path
from typing import Any, Literal

import numpy as np

Landmarks = Literal["5", "68"]

# A network and a detector keep what they compute, and OpenCV and dlib release Python's lock: one thread at a time.
_one_at_a_time = threading.Lock()

_log = logging.getLogger(__name__)
_CENTERFACE = Path(__file__).with_name("centerface.onnx")
# CenterFace has an output for every 4 × 4 px, of an input whose sides are multiples of 32. It names its outputs by
# numbers: how sure, the logarithms of height and width, where in the cell the middle is, and five points (y, x) in the
# box, of which the first two are the eyes.
_OUTPUTS, _CELL, _SIDES = ("537", "538", "539", "540"), 4, 32
_LEAST, _DOUBTFUL, _SURE = 0.5, 0.5, 0.75
_OVERLAP = 0.3

# Points of each eye, image-left eye first: two corners in the 5-point model, the whole rim in the other.
_EYE_POINTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "5": ((2, 3), (0, 1)),
    "68": (tuple(range(36, 42)), tuple(range(42, 48))),
}


def load_detectors() -> list[Path]:
    """Import OpenCV and dlib now, for a process that gives up its files; gives the models, which load at their use."""
    opencv().getNumThreads()
    return [_CENTERFACE, *(Path(file) for _, file in _dlib_files().values())] if dlib() else [_CENTERFACE]


def opencv() -> Any:
    """OpenCV, imported at its first use: it writes into the environment of the process."""
    import cv2

    return cv2


@functools.cache
def dlib() -> Any:
    """dlib, imported at its first use, without types: its names are in its binary. None where it is not installed."""
    try:
        return importlib.import_module("dlib")
    except ImportError:
        _log.warning("dlib is not installed here: faces in drawings may be missed, and eyes are placed less exactly.")
        return None


def hog_detections(pixels: np.ndarray) -> list[tuple[tuple[int, int, int, int], float]]:
    """Boxes (left, top, right, bottom) and scores of dlib's HOG detector over uint8 (H, W, 3): faces from 80 px.

    None without dlib.
    """
    if dlib() is None:
        return []
    with _one_at_a_time:
        boxes, scores, _ = _loaded("hog").run(pixels, 0, 0.0)
    # dlib's right and bottom are the last pixel inside; ours, like Pillow's, are the first outside.
    edges = [(box.left(), box.top(), box.right() + 1, box.bottom() + 1) for box in boxes]
    return list(zip(edges, map(float, scores), strict=True))


def centerface(pixels: np.ndarray) -> list[tuple[tuple[float, float, float, float], list[complex], float]]:
    """Faces of 12 px and more in uint8 (H, W, 3): (left, top, right, bottom), eyes as x + iy, 0 doubtful to 1 sure.

    About 60 ms for 0.4 megapixels on one core.

    Source: Y. Xu et al., CenterFace (https://arxiv.org/abs/1911.03599). The weights, `centerface.onnx`, have the MIT
    licence beside them.
    """
    cv2 = opencv()
    height, width = (-side % _SIDES for side in pixels.shape[:2])
    padded = cv2.copyMakeBorder(pixels, 0, height, 0, width, cv2.BORDER_REPLICATE)
    with _one_at_a_time:
        network = _loaded("centerface")
        network.setInput(cv2.dnn.blobFromImage(padded))
        sure, size, middle, points = (output[0] for output in network.forward(_OUTPUTS))

    peaks = np.argwhere((sure[0] > _LEAST) & (sure[0] == cv2.dilate(sure[0], np.ones((3, 3)))))
    boxes, eyes, scores = [], [], []
    for row, column in peaks:
        (high, wide), (down, right) = _CELL * np.exp(size[:, row, column]), middle[:, row, column]
        left, top = _CELL * (column + right + 0.5) - wide / 2, _CELL * (row + down + 0.5) - high / 2
        boxes.append((left, top, wide, high))
        eyes.append([complex(left + wide * x, top + high * y) for y, x in points[:4, row, column].reshape(2, 2)])
        scores.append(float(sure[0, row, column]))
    found = []
    for index in cv2.dnn.NMSBoxes(boxes, scores, _LEAST, _OVERLAP):
        left, top, wide, high = (float(edge) for edge in boxes[index])
        score = (scores[index] - _DOUBTFUL) / (_SURE - _DOUBTFUL)
        found.append(((left, top, left + wide, top + high), eyes[index], score))
    return found


def eye_centres(pixels: np.ndarray, boxes: list[tuple[float, float, float, float]], landmarks: Landmarks) -> np.ndarray:
    """Eye centres (len(boxes), 2, 2) in uint8 (H, W, 3), image-left first; the first pixel's middle is (0.5, 0.5)."""
    rectangle, predictor = dlib().rectangle, _loaded(landmarks)
    centres = np.empty((len(boxes), 2, 2))
    for pair, box in zip(centres, boxes, strict=True):
        shape = predictor(pixels, rectangle(*(round(edge) for edge in box)))
        for eye, points in enumerate(_EYE_POINTS[landmarks]):
            pair[eye] = np.mean([(shape.part(i).x + 0.5, shape.part(i).y + 0.5) for i in points], axis=0)
    return centres


def dlib_file(name: str) -> str:
    """The file of one of dlib's models: landmarks "5" and "68", and "descriptor"."""
    return _dlib_files()[name][1]


@functools.cache
def _loaded(name: str) -> Any:
    if name == "centerface":
        return opencv().dnn.readNetFromONNX(str(_CENTERFACE))
    if name == "hog":
        return dlib().get_frontal_face_detector()
    kind, file = _dlib_files()[name]
    return getattr(dlib(), kind)(file)


def _dlib_files() -> dict[str, tuple[str, str]]:
    """The class and the file of dlib's models: landmarks "5" and "68", and "descriptor"."""
    import face_recognition_models as files

    return {
        "5": ("shape_predictor", files.pose_predictor_five_point_model_location()),
        "68": ("shape_predictor", files.pose_predictor_model_location()),
        "descriptor": ("face_recognition_model_v1", files.face_recognition_model_location()),
    }
