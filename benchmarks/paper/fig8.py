"""Fig. 8: evidence out of the domain of the training data."""

from __future__ import annotations

from typing import Any

from .setting import Setting
from .sweep import sweep

__all__ = ["run"]

RATIOS = (0.05, 0.2, 0.3, 0.5, 0.7, 1.0, 3.0)


def run(setting: Setting) -> dict[str, Any]:
    """Out of domain: painted portraits and anime over a wide range of λ."""
    return {
        "painted": sweep(setting, "fig8_painted", "painted", 24, RATIOS, "sepia"),
        "anime": sweep(setting, "fig8_anime", "anime", 24, RATIOS, "cartoon"),
    }
