"""The browser demo: layout, events and texts. `transflow_core` does the computing."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .page import build, launch
    from .server.priors import Engines

__all__ = ["Engines", "build", "launch"]

# Imported at first use: the command line imports `command` alone, and waits for neither torch nor Gradio.
_HOMES = {"Engines": "server.priors", "build": "page", "launch": "page"}
_NUMBERS = {"GRADIO_SERVER_PORT": 65535, "TRANSFLOW_KEEP": 10**9, "TRANSFLOW_PROXIES": 100}
"""Variables that are whole numbers, and the largest of each."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        for variable, most in _NUMBERS.items():  # Gradio reads some, too, when it is imported
            value = os.environ.get(variable, "")
            if not value:
                os.environ.pop(variable, None)
            elif not value.isdecimal() or int(value) > most:
                raise SystemExit(f"error: {variable} is {value!r}. Give a whole number up to {most}.")
        import_module(".gradio_compat", __name__)  # it imports Gradio in less time than the others would
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
