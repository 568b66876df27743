"""The browser demo: layout, events and wording. What it computes is `transflow_core`'s."""

from .engines import Engines
from .page import build
from .queues import SERVER
from .style import CSS, THEME

__all__ = ["CSS", "SERVER", "THEME", "Engines", "build"]
