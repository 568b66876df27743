"""Fig. 5: red hair from 5 images, greyscale from 21."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.measures import chroma
from transflow_core.images import to_pil

from .samples import SEED, evidence_images, measure, prior_samples
from .setting import Setting

__all__ = ["run"]


def run(setting: Setting) -> dict[str, Any]:
    """Red hair from 5 images, greyscale from 21, at λ/m = 0.5."""
    n, shown = setting.count(32), setting.count(16)
    pictures, found = {}, {}
    for name, most in (("red_hair", 5), ("greyscale", 21)):
        evidence = setting.evidence(name, most)
        x = setting.engine.sample(evidence.condition(lam_ratio=0.5), n, seed=SEED)
        images = to_pil(x[:shown])
        rows = [images[start : start + 8] for start in range(0, shown, 8)]
        pictures[name] = setting.show(f"fig5_{name}", rows)
        found[name] = {
            "samples": measure(x),
            "evidence": {"chroma": chroma(evidence_images(evidence)), "m": len(evidence.used)},
            "redness": {"samples": _hair_redness(x), "evidence": _hair_redness(evidence_images(evidence))},
            "used": setting.evidence_used[name],
        }
    prior = prior_samples(setting, n)
    return {
        "pictures": pictures,
        "sets": found,
        "prior": {**measure(prior), "redness": _hair_redness(prior)},
    }


def _hair_redness(x: Tensor | np.ndarray) -> float:
    """Mean of R - (G + B) / 2 in the band above the forehead where hair is, in [-1, 1]."""
    x = np.asarray(x)
    side = x.shape[-1]
    hair = x[:, :, round(0.05 * side) : round(0.18 * side), round(0.3 * side) : round(0.7 * side)].mean((0, 2, 3))
    return float(hair[0] - (hair[1] + hair[2]) / 2)
