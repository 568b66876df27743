"""File formats of trained flows. Every reader treats its file as untrusted input and runs no code from it."""

from .convert import convert as convert
from .tensors import CheckpointError as CheckpointError
