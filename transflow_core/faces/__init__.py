"""Faces: detection, landmarks, alignment to the frame that the priors were trained on."""

from .alignment import AlignedFace as AlignedFace
from .alignment import align as align
from .pasting import paste as paste
