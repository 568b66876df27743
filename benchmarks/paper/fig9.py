"""Fig. 9: samples conditioned on a digit."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from transflow_core.images import to_pil
from transflow_core.posterior import Posterior, standard_normal

from .digits import load_digits
from .samples import SEED
from .setting import Setting

__all__ = ["run"]


def run(setting: Setting) -> dict[str, Any]:
    """Samples conditioned on a digit, m = 1, 5, 30."""
    digits = load_digits(12 if setting.fast else 500)
    shots = (1, 5) if setting.fast else (1, 5, 30)
    drawn = digits.draw(0, max(shots))
    shown = setting.count(8)
    rows, norms = [], {}
    for m in shots:
        means = []
        images: list[Image.Image] = []
        for digit in range(shown):
            frames = [digits.framed(index, setting.prior.image_size) for index in drawn[digit, :m]]
            posterior = Posterior.condition(setting.prior.encode(frames).cpu(), lam_ratio=0.5)
            images += to_pil(setting.engine.sample(posterior, 1, seed=SEED + digit))
            means.append(float(posterior.mean.square().mean().sqrt()))
        rows.append(images)
        norms[str(m)] = float(np.mean(means))
    noise = float(standard_normal(1, setting.prior.dim, seed=SEED).square().mean().sqrt())
    return {
        "picture": setting.show("fig9", rows, row_labels=[f"m = {m}" for m in shots]),
        "mean_rms": norms,
        "noise_rms": noise,
    }
