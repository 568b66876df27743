"""File formats of trained flows. Every reader treats its file as untrusted input and runs no code from it."""

from .convert import convert
from .layouts import LAYOUTS
from .native import Checkpoint, Size, load_native, native_fingerprint, save_native
from .tensors import CheckpointError

__all__ = [
    "LAYOUTS",
    "Checkpoint",
    "CheckpointError",
    "Size",
    "convert",
    "load_native",
    "native_fingerprint",
    "save_native",
]
