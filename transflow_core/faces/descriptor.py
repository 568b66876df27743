"""dlib's face descriptor: 128 numbers that are close for pictures of one person."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .detection import detect
from .frame import LEFT_EYE, RIGHT_EYE, Eyes, centre_square, to_frame
from .models import descriptor

__all__ = ["describe"]

# The chip that the network was trained on: 150 px, a quarter of the face's size around it, and the eye centres of
# dlib's mean face there.
_CHIP_SIDE = 150
_CHIP_EYES = ((0.3182, 0.3143), (0.6685, 0.3142))


def describe(image: Image.Image, eyes: Eyes | None = None) -> np.ndarray:
    """dlib's (128,) face descriptor (ResNet-29, about 0.3 s on a CPU core): under 0.6 apart is usually the same person.

    Args:
        image: a picture with a face; a frame that `align` returned is described as well as the picture it came from.
        eyes: the eye centres in pixels of `image`. Without them the largest face is described; where none is found, the
            eyes are taken to be at the template's places in the picture's centre square.

    Source: D. E. King, dlib's `dlib_face_recognition_resnet_model_v1` (99.38 % on LFW).
    """
    image = image.convert("RGB")
    if eyes is None:
        faces = detect(image, thorough=False)
        eyes = faces[0].eyes if faces else _template_eyes(image)
    return descriptor(np.asarray(to_frame(image, eyes, _CHIP_SIDE, template=_CHIP_EYES)))


def _template_eyes(image: Image.Image) -> Eyes:
    left, top, right, _ = centre_square(image)
    side = right - left
    (x0, y0), (x1, y1) = LEFT_EYE, RIGHT_EYE
    return (left + x0 * side, top + y0 * side), (left + x1 * side, top + y1 * side)
