"""File formats of trained flows. Every reader treats its file as untrusted input and runs no code from it."""

from .base import Checkpoint, CheckpointError
from .native import load_native, save_native

__all__ = ["Checkpoint", "CheckpointError", "load_native", "save_native"]
