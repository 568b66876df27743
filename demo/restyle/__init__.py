"""The Restyle tab."""

from .tab import Restyle

__all__ = ["Restyle"]
