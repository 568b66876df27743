"""The browser demo: layout, events and texts. `transflow_core` does the computing."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .page import build, launch
    from .server.priors import Engines

__all__ = ["Engines", "build", "launch"]

# Imported at first use: the command line imports `command` alone, and waits for neither torch nor Gradio.
_HOMES = {"Engines": "server.priors", "build": "page", "launch": "page"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import_module(".gradio_compat", __name__)  # it imports Gradio in less time than the others would
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
