"""Fig. 7: greyscale at several λ."""

from __future__ import annotations

from typing import Any

from .setting import Setting
from .sweep import sweep

__all__ = ["run"]

RATIOS = (0.2, 0.4, 0.6, 0.8, 1.0)


def run(setting: Setting) -> dict[str, Any]:
    """Greyscale at λ/m = 0.2 … 1."""
    return sweep(setting, "fig7", "greyscale", 21, RATIOS, None)
