"""Fig. 2: prior, evidence and posterior in two dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from transflow_core.posterior import Gaussian, Posterior

from .setting import Setting
from .words import Result, trend

__all__ = ["run", "words"]


def run(setting: Setting) -> dict[str, Any]:
    """Prior, evidence and posterior in two dimensions, at two λ."""
    evidence = torch.tensor([[2.0, 1.6], [1.6, 2.2], [2.5, 2.1]])
    side, span = 240, 4.0
    axis = torch.linspace(-span, span, side)
    grid = torch.stack([axis.repeat(side), axis.flip(0).repeat_interleave(side)], 1)
    panels, found = [], {}
    for ratio in (0.1, 0.3, 1.0, 3.0):
        posterior = Posterior.condition(evidence, lam_ratio=ratio)
        density = posterior.log_prob(grid).exp().reshape(side, side)
        prior = Gaussian.standard(2).log_prob(grid).exp().reshape(side, side)
        # The prior in blue, the posterior in red, each scaled to its own peak; the evidence as crosses.
        picture = np.ones((side, side, 3))
        picture -= (prior / prior.max()).numpy()[..., None] * np.array([0.8, 0.45, 0.1])
        picture -= (density / density.max()).numpy()[..., None] * np.array([0.1, 0.75, 0.8])
        for x, y in evidence.tolist():
            column, row = round((x + span) / (2 * span) * (side - 1)), round((span - y) / (2 * span) * (side - 1))
            picture[row - 5 : row + 6, column] = picture[row, column - 5 : column + 6] = 0
        panels.append(Image.fromarray((255 * picture.clip(0, 1)).round().astype(np.uint8)))
        found[f"{ratio:g}"] = {"mean": posterior.mean.tolist(), "variance": float(posterior.variance)}
    labels = [f"λ/m = {ratio}" for ratio in found]
    return {"picture": setting.show("fig2", [panels], column_labels=labels, cell=side), "posteriors": found}


def words(r: Result) -> str:
    """The section of the page."""
    long = [(p["mean"][0] ** 2 + p["mean"][1] ** 2) ** 0.5 for p in r["posteriors"].values()]
    wide = [p["variance"] for p in r["posteriors"].values()]
    return f"""## Figure 2: prior, evidence, posterior

![Figure 2](results/{r["picture"]})

The prior N(0, I) is blue, three images are crosses, the posterior is red. Each is scaled to its own peak. As λ/m grows
from {next(iter(r["posteriors"]))} to {list(r["posteriors"])[-1]}, the mean's distance from the prior's {trend(long)},
and the variance {trend(wide)}: eq. 3-8."""
