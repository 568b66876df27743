"""The same draws at each λ, measured against the evidence and the prior: what figures 7 and 8 share."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from benchmarks.measures import chroma, descriptor_distance, diversity, face_rate
from transflow_core.posterior import Manner

from .samples import SEED, evidence_images, measure, prior_samples
from .setting import Setting

__all__ = ["sweep"]


def sweep(
    setting: Setting, picture: str, name: str, most: int, ratios: tuple[float, ...], shipped: str | None
) -> dict[str, Any]:
    """The same draws at each λ, and the measures against the evidence and the prior."""
    n, shown = setting.count(24), setting.count(4)
    ratios = ratios[::3] if setting.fast else ratios
    evidence = setting.evidence(name, most, shipped)
    x = setting.engine.sweep(evidence.condition(lam_ratio=1.0), map(Manner.mean, ratios), n, seed=SEED)
    reference, described = evidence_images(evidence), setting.count(12)

    def facts(images: Tensor) -> dict[str, float]:
        return measure(images) | {"descriptor": descriptor_distance(images[:described], reference)}

    labels = [f"λ/m = {ratio:g}" for ratio in ratios]
    return {
        "picture": setting.show(picture, setting.rows(x[:, :shown]), column_labels=labels),
        "sweep": {f"{ratio:g}": facts(images) for ratio, images in zip(ratios, x, strict=True)},
        "prior": facts(prior_samples(setting, n)),
        "evidence": {"face_rate": face_rate(reference), "chroma": chroma(reference), "diversity": diversity(reference)},
        "used": setting.evidence_used[name],
    }
