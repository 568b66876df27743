"""File formats of trained flows. Every reader treats its file as untrusted input and runs no code from it."""

from .base import Checkpoint, CheckpointError
from .conversion import FORMATS, Recognised, convert, recognise
from .directions import CELEBA_ATTRIBUTES, Directions, load_directions
from .hub import OWNER, VISITOR, HubAccess, discard, fetch, is_hub_address, upload
from .known import KNOWN_PRIORS, KnownPrior, known_prior
from .memory import available_memory, estimate_memory
from .native import load_native, save_native
from .tensorflow import run_graph

__all__ = [
    "CELEBA_ATTRIBUTES",
    "FORMATS",
    "KNOWN_PRIORS",
    "OWNER",
    "VISITOR",
    "Checkpoint",
    "CheckpointError",
    "Directions",
    "HubAccess",
    "KnownPrior",
    "Recognised",
    "available_memory",
    "convert",
    "discard",
    "estimate_memory",
    "fetch",
    "is_hub_address",
    "known_prior",
    "load_directions",
    "load_native",
    "recognise",
    "run_graph",
    "save_native",
    "upload",
]
