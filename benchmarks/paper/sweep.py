"""The same draws at each λ, beside the evidence and the prior: what figures 7 and 8 share."""

from __future__ import annotations

from typing import Any

import torch

from .near import default
from .samples import evidence_images, measured_samples, of_images, prior_of
from .setting import Setting
from .words import Result, number, trend

__all__ = ["sweep", "told"]


def sweep(
    setting: Setting, picture: str, name: str, most: int, ratios: tuple[float, ...], shipped: str | None, local: bool
) -> dict[str, Any]:
    """The same draws at each λ, and their measures over seeds; with `local`, a last column of the default's."""
    n, shown = setting.count(16), setting.count(4)
    ratios = ratios[::3] if setting.fast else ratios
    evidence = setting.evidence(name, most, shipped)
    found = {r: measured_samples(setting, evidence.posterior(lam_ratio=r), n) for r in ratios}
    columns = torch.stack([images[:shown] for images, _ in found.values()])
    labels = [f"λ/m = {ratio:g}" for ratio in ratios]
    ours = {}
    if local:
        drawn = default(setting.engine, evidence.posterior())
        images, ours["local"] = measured_samples(setting, drawn, n)
        columns, labels = torch.cat([columns, images[None, :shown]]), [*labels, "local"]
    return ours | {
        "picture": setting.show(picture, setting.rows(columns), column_labels=labels),
        "sweep": {f"{ratio:g}": measures for ratio, (_, measures) in found.items()},
        "prior": measured_samples(setting, prior_of(setting), n)[1],
        "evidence": of_images(evidence_images(evidence)),
        "used": setting.evidence_used[name],
        "seeds": setting.splits,
        "n": n,
    }


def told(r: Result) -> str:
    """What the measures do as λ grows, and their table."""
    chroma, diversity = ([row[key]["mean"] for row in r["sweep"].values()] for key in ("chroma", "diversity"))
    return f"""{r["used"]}, {r["n"]} samples of each of {r["seeds"]} seeds. As λ/m grows, chroma
{trend(chroma, number(1))} and diversity {trend(diversity)}."""
