"""The browser demo: layout, events and wording. What it computes is `transflow_core`'s."""

from .engines import Engines
from .page import build, launch

__all__ = ["Engines", "build", "launch"]
