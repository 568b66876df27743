"""The Classify tab."""

from .tab import Classify

__all__ = ["Classify"]
