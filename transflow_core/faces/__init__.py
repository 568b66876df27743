"""Faces: detection, landmarks, alignment to the frame that the priors were trained on."""

from .alignment import AlignedFace, align, describe
from .detection import detect
from .frame import LEFT_EYE, RIGHT_EYE
from .pasting import WHITE, mask_in_frame, paste

__all__ = [
    "LEFT_EYE",
    "RIGHT_EYE",
    "WHITE",
    "AlignedFace",
    "align",
    "describe",
    "detect",
    "mask_in_frame",
    "paste",
]
