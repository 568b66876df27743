"""The typical set: how long samples of the posterior are at each λ/m, against images that were held out."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from transflow_core.images.output import save_png
from transflow_core.posterior import Posterior

from .setting import Setting
from .words import Result, listing

__all__ = ["run", "words"]

_RATIOS = tuple(float(r) for r in np.geomspace(0.01, 10, 31))
_TOLD = (0.3, 0.5, 0.7)
_SETS = {"greyscale": None, "red_hair": None, "painted": "sepia", "anime": "cartoon"}


def run(setting: Setting) -> dict[str, Any]:
    """E‖z‖²/D of the paper's posterior by λ/m, level by level, for each set; and quantiles over held-out images."""
    prior = setting.prior
    parts = {level.name: level.slice for level in prior.levels}
    held_out = {}
    if prior.typicality:
        for name, row in zip(parts, prior.typicality.level_rms, strict=True):
            held_out[name] = [float(np.interp(p, prior.typicality.percent, row)) ** 2 for p in (5, 50, 95)]
    sets = {}
    for name, shipped in _SETS.items():
        z = setting.evidence(name, 24, shipped).z
        sets[name] = {
            "evidence": {level: float(z[:, part].double().square().mean()) for level, part in parts.items()},
            "samples": {level: [_size(z, ratio, part) for ratio in _RATIOS] for level, part in parts.items()},
            "told": {f"{ratio:g}": _size(z, ratio, slice(None)) for ratio in _TOLD},
            "all": float(z.double().square().mean()),
            "used": setting.evidence_used[name],
        }
    shares = {name: (part.stop - part.start) / prior.dim for name, part in parts.items()}
    whole = sum(shares[name] * row[1] for name, row in held_out.items()) if held_out else None
    return {"picture": _picture(setting, sets, held_out), "held_out": held_out, "held_out_all": whole, "sets": sets}


def _size(z: Tensor, ratio: float, part: slice) -> float:
    """Mean square of a draw's numbers in a level: the mean's, and the variance."""
    posterior = Posterior.condition(z, lam_ratio=ratio)
    return float(posterior.mean[part].double().square().mean() + posterior.covariance.variance.mean())


def _picture(setting: Setting, sets: dict[str, Any], held_out: dict[str, list[float]]) -> str:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    levels = list(next(iter(sets.values()))["samples"])
    figure, axes = pyplot.subplots(1, len(levels), figsize=(2.6 * len(levels), 2.8), sharey=True, squeeze=False)
    for axis, level in zip(axes[0], levels, strict=True):
        if level in held_out:
            axis.axhspan(held_out[level][0], held_out[level][2], color="0.85", label="held-out images, 90 %")
        for index, (name, entry) in enumerate(sets.items()):
            axis.plot(_RATIOS, entry["samples"][level], color=f"C{index}", label=f"samples, {name.replace('_', ' ')}")
            axis.axhline(entry["evidence"][level], color=f"C{index}", linestyle=":", linewidth=1)
        axis.set(xscale="log", yscale="log", title=level, xlabel="λ/m")
    axes[0][0].set_ylabel("E‖z‖² / D")
    axes[0][-1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.02, 1.0))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    pyplot.close(figure)
    save_png(
        Image.open(buffer).convert("RGB"), setting.pictures / "typical.png", metadata={"prior": setting.prior.name}
    )
    return "typical.png"


def words(r: Result) -> str:
    """The section of the page."""
    whole = r["held_out_all"]
    told = ""
    if whole is not None:
        below = [entry["told"][ratio] < whole for entry in r["sets"].values() for ratio in entry["told"]]
        told = (
            f" The medians of held-out faces give {whole:.2f}. Samples are shorter in {sum(below)} of {len(below)} "
            f"cases: each set, at λ/m = {listing(list(next(iter(r['sets'].values()))['told']))}."
        )
    return f"""## The typical set

![Typical set](results/{r["picture"]})

E‖z‖²/D of the paper's posterior by λ/m, level by level, fine to coarse. Grey is where 90 % of held-out images are, and
dotted is the evidence. The flow is N(0, I) for images *with* the noise that it was trained on. Images without noise
have shorter latents.{told}"""
