"""File formats of trained flows. Every reader treats its file as untrusted input and runs no code from it."""

from .convert import Recognised, convert, recognise
from .hub import OWNER, VISITOR, HubAccess, discard, fetch, is_hub_address, upload
from .known import KNOWN_PRIORS, KnownPrior, known_prior
from .layouts import LAYOUTS
from .memory import available_memory, estimate_memory
from .native import Checkpoint, load_native, save_native
from .tensors import CheckpointError

__all__ = [
    "KNOWN_PRIORS",
    "LAYOUTS",
    "OWNER",
    "VISITOR",
    "Checkpoint",
    "CheckpointError",
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
    "load_native",
    "recognise",
    "save_native",
    "upload",
]
