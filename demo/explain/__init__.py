"""The How it works tab."""

from .tab import Explain

__all__ = ["Explain"]
