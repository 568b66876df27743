"""File formats of trained flows. Every reader treats its file as untrusted input and runs no code from it."""

from .convert import Recognised, convert, recognise
from .layouts import LAYOUTS
from .memory import available_memory, estimate_memory
from .native import Checkpoint, load_native, save_native
from .tensors import CheckpointError

__all__ = [
    "LAYOUTS",
    "Checkpoint",
    "CheckpointError",
    "Recognised",
    "available_memory",
    "convert",
    "estimate_memory",
    "load_native",
    "recognise",
    "save_native",
]
