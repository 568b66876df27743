"""The Interpolate tab."""

from .tab import Interpolate

__all__ = ["Interpolate"]
