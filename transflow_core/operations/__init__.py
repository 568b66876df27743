"""What each recipe does: its inputs in, a result out."""

from collections.abc import Callable
from typing import Any

from .call import Call, Result
from .classify import classify
from .files import align, condition, encode, mix
from .restyle import restyle
from .sampling import interpolate, sample, sampler_of, sweep, sweep_of

__all__ = ["OPERATIONS", "Call", "Result", "sampler_of", "sweep_of"]

_ALL = (sample, sweep, interpolate, restyle, mix, condition, classify, align, encode)
OPERATIONS: dict[str, Callable[[Call[Any]], Result]] = {operation.__name__: operation for operation in _ALL}
"""What runs each recipe, by its name."""
