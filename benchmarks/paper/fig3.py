"""Fig. 3 and 4: from one posterior to another, and from one image to another directly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from transflow_core.evidence import Evidence

from .samples import SEED, measure
from .setting import Setting

__all__ = ["run"]


def run(setting: Setting) -> dict[str, Any]:
    """Fig. 3, interpolation of two posteriors, and Fig. 4, between two images directly, with face rates along both."""
    steps, n = (3, 3) if setting.fast else (7, 16)
    sets = (("anime", "cartoon"), ("painted", "sepia"))
    a, b = (setting.evidence(name, 20, shipped) for name, shipped in sets)
    path = setting.engine.interpolate(*(evidence.condition(lam_ratio=0.5) for evidence in (a, b)), steps, n, seed=SEED)
    direct = _direct(setting, a, b, steps, n)
    t = [round(i / (steps - 1), 2) for i in range(steps)]
    shown, labels = setting.count(4), [f"{value:.2f}" for value in t]
    # A direct path begins and ends with the evidence itself: it is shown between examples that show nobody.
    drawn = (setting.evidence(shipped, 4) for _, shipped in sets)
    return {
        "picture": setting.show("fig3", setting.rows(path[:, :shown]), column_labels=labels),
        "picture_direct": setting.show(
            "fig4", setting.rows(_direct(setting, *drawn, steps, shown)), column_labels=labels
        ),
        "t": t,
        "posteriors": [measure(x) for x in path],
        "direct": [measure(x) for x in direct],
        "used": [setting.evidence_used[name] for name, _ in sets],
    }


def _direct(setting: Setting, a: Evidence, b: Evidence, steps: int, n: int) -> Tensor:
    """Straight lines between the latents of n pairs of evidence: (steps, n, C, S, S)."""
    n = min(n, len(a.used), len(b.used))
    t = torch.linspace(0, 1, steps).reshape(-1, 1, 1)
    z = (1 - t) * a.z[:n] + t * b.z[:n]
    images = setting.engine.decode(z.flatten(0, 1))
    return images.reshape(steps, n, *images.shape[1:])
