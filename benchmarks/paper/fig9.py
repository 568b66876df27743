"""Fig. 9: samples conditioned on a digit."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from transflow_core.images import to_pil
from transflow_core.posterior import Posterior

from .digits import load_digits
from .samples import SEED
from .setting import Setting
from .words import Result, summary, trend

__all__ = ["run", "words"]


def run(setting: Setting) -> dict[str, Any]:
    """Samples conditioned on a digit, m = 1, 5, 30; and how long the mean latents are, over draws of the evidence."""
    digits = load_digits(12 if setting.fast else 500)
    shots = (1, 5) if setting.fast else (1, 5, 30)
    latents = digits.latents(setting.prior, setting.cache)
    shown, rows, found = setting.count(8), [], {}
    for m in shots:
        sizes, shares = [], []
        for seed in range(setting.splits):
            means = torch.stack([latents[torch.from_numpy(row)].mean(0) for row in digits.draw(seed, m)]).double()
            sizes.append(float(means.square().mean(1).sqrt().mean()))
            shares.append(100 * float(means.mean(0).square().sum() / means.square().sum(1).mean()))
        found[str(m)] = {"rms": summary(sizes), "common": summary(shares)}
        images: list[Image.Image] = []
        for digit, row in enumerate(digits.draw(0, m)[:shown]):
            posterior = Posterior.condition(latents[torch.from_numpy(row)], lam_ratio=0.5)
            images += to_pil(setting.engine.sample(posterior, 1, seed=SEED + digit).images)
        rows.append(images)
    everything = latents[torch.from_numpy(digits.pool.ravel())].double()
    return {
        "picture": setting.show("fig9", rows, row_labels=[f"m = {m}" for m in shots]),
        "digits": shown,
        "means": found,
        "all": float(everything.mean(0).square().mean().sqrt()),
        "draws": setting.splits,
    }


def words(r: Result) -> str:
    """The section of the page."""
    sizes = [v["rms"]["mean"] for v in r["means"].values()]
    return f"""## Figure 9: conditioned on a digit

![Figure 9](results/{r["picture"]})

Digits 0 to {r["digits"] - 1}, a column each, λ/m = 0.5. The paper: as m grows the sample means come closer to 0. Here
the root mean square of a class's mean latent {trend(sizes)}, over {r["draws"]} draws. It does not go to 0: the mean
of *all* digits has a root mean square of {r["all"]:.2f}."""
