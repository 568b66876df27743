"""The Studio tab."""

from .tab import Studio

__all__ = ["Studio"]
