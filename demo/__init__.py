"""The browser demo: layout, events and wording. What it computes is `transflow_core`'s."""

from .engines import Engines
from .page import build
from .style import CSS, THEME

__all__ = ["CSS", "THEME", "Engines", "build"]
