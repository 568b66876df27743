"""Faces: detection, landmarks, alignment to the frame that the priors were trained on."""

from .alignment import AlignedFace as AlignedFace
from .alignment import align as align
from .alignment import describe as describe
from .detection import detect as detect
from .frame import LEFT_EYE as LEFT_EYE
from .frame import RIGHT_EYE as RIGHT_EYE
from .pasting import WHITE as WHITE
from .pasting import mask_in_frame as mask_in_frame
from .pasting import paste as paste
