"""What each recipe does: its inputs in, a result out."""

from .classify import classify
from .files import align, condition, encode, mix
from .restyle import restyle
from .result import Result
from .sampling import interpolate, sample, sampler_of, sweep, sweep_of
from .source import Call, Run

__all__ = ["OPERATIONS", "Call", "Result", "Run", "sampler_of", "sweep_of"]

OPERATIONS: dict[str, Run] = {
    "sample": sample,
    "sweep": sweep,
    "interpolate": interpolate,
    "restyle": restyle,
    "mix": mix,
    "condition": condition,
    "classify": classify,
    "align": align,
    "encode": encode,
}
"""What runs each recipe, by its name."""
