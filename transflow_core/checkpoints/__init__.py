"""File formats of trained flows. Every reader treats its file as untrusted input and runs no code from it."""

from .convert import convert as convert
from .layouts import LAYOUTS as LAYOUTS
from .native import Checkpoint as Checkpoint
from .native import Size as Size
from .native import load_native as load_native
from .native import native_fingerprint as native_fingerprint
from .native import save_native as save_native
from .tensors import CheckpointError as CheckpointError
