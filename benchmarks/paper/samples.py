"""What is measured of every set of samples, over several seeds, and the prior's own samples to hold them against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.measures import as_unit, chroma, diversity
from transflow_core.evidence import Evidence
from transflow_core.posterior import Gaussian
from transflow_core.posterior.gaussian import Sampler

from .setting import Setting
from .words import Result, amount, number, summary, table

__all__ = ["MEASURES", "SEED", "evidence_images", "measure_table", "measured_samples", "of_images", "prior_of"]

SEED = 0
MEASURES: dict[str, Callable[[Tensor], float]] = {"chroma": chroma, "diversity": diversity}


def measured_samples(
    setting: Setting, sampler: Sampler, n: int, more: Mapping[str, Callable[[Tensor], float]] | None = None
) -> tuple[Tensor, dict[str, Any]]:
    """n samples of the first seed, and summaries of each measure over as many seeds as there are splits."""
    found: dict[str, list[float]] = defaultdict(list)
    images = []
    for seed in range(SEED, SEED + setting.splits):
        images.append(setting.engine.sample(sampler, n, seed=seed).images)
        for name, measure in (MEASURES | dict(more or {})).items():
            found[name].append(measure(images[-1]))
    return images[0], {name: summary(values) for name, values in found.items()}


def of_images(images: np.ndarray) -> dict[str, Any]:
    """The same of images that are given, which have no seeds."""
    return {name: summary([measure(images)]) for name, measure in MEASURES.items()}


def prior_of(setting: Setting) -> Gaussian:
    """The prior itself."""
    return Gaussian.standard(setting.prior.dim)


def evidence_images(evidence: Evidence) -> np.ndarray:
    """(m, 3, S, S) frames in [0, 1]."""
    return as_unit([image.face.image for image in evidence.used])


def measure_table(rows: Mapping[str, Result], names: Mapping[str, str] | None = None) -> str:
    """A row a set of samples, with 95 % intervals over seeds."""
    names = {key: key for key in MEASURES} | dict(names or {})
    cells = [
        [label, *[amount(row.get(key), number(1 if key == "chroma" else 3)) for key in names]]
        for label, row in rows.items()
    ]
    return table(["", *names.values()], cells)
