"""Fig. 6: evidence with its eyes covered, by one colour and by noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.measures import as_unit, region_distance
from transflow_core.images import to_pil
from transflow_core.typicality import Typicality

from .samples import SEED, measure, prior_samples
from .setting import Setting

__all__ = ["run"]

BAR = (0.20, 0.40, 0.80, 0.56)  # the occlusion, as fractions of the frame
NEON = (57, 255, 20)


def run(setting: Setting) -> dict[str, Any]:
    """Occlusion by a solid bar and by noise: samples, and what the evidence's log-likelihoods are."""
    n, shown = setting.count(32), setting.count(8)
    ratios = (0.05, 0.3, 1.0)
    # Sampled faces, so that the evidence may be shown; and real ones for the log-likelihoods.
    faces = setting.shipped_faces(25)
    rng = np.random.default_rng(6)
    sets = {
        "no bar": faces,
        "solid bar": [_with_bar(face, np.array(NEON)) for face in faces],
        "noise bar": [_with_bar(face, rng) for face in faces],
    }
    found, rows, labels = {}, [], []
    prior = prior_samples(setting, n)
    for name, images in sets.items():
        evidence = setting.engine.intake(images, whole="always").evidence
        latents = torch.tensor([image.latent.log_prior for image in evidence.used])
        entry: dict[str, Any] = {"log_likelihood": _spread(latents), "m": len(evidence.used), "sweep": {}}
        if name != "no bar":
            reference = as_unit(images)
            rows.append(images[:shown])
            labels.append(name)
            for ratio in ratios:
                x = setting.engine.sample(evidence.condition(lam_ratio=ratio), n, seed=SEED)
                rows.append(to_pil(x[:shown]))
                labels.append(f"λ/m = {ratio}")
                entry["sweep"][f"{ratio:g}"] = measure(x) | {"bar": region_distance(x, reference, BAR)}
            entry["prior_bar"] = region_distance(prior, reference, BAR)
        found[name] = entry
    found_real = {}
    for name in ("red_hair", "anime"):
        evidence = setting.evidence(name, 20, "cartoon" if name == "anime" else None)
        frames = [image.face.image for image in evidence.used]
        variants = {"as it is": frames}
        if name == "red_hair":
            variants["solid bar"] = [_with_bar(frame, np.array(NEON)) for frame in frames]
            variants["noise bar"] = [_with_bar(frame, rng) for frame in frames]
        for what, images in variants.items():
            values = torch.tensor([latent.log_prior for latent in setting.engine.encode(images)])
            found_real[f"{setting.evidence_used[name]}, {what}"] = _spread(values)
    return {
        "picture": setting.show("fig6", rows, row_labels=labels),
        "sets": found,
        "log_likelihoods": found_real,
        "held_out": _middle(setting.prior.typicality) if setting.prior.typicality else None,
        "prior": measure(prior),
    }


def _with_bar(face: Image.Image, fill: np.ndarray | np.random.Generator) -> Image.Image:
    """A face with its eyes covered: by one colour (3,), or by uniform noise from a generator."""
    pixels = np.asarray(face.convert("RGB")).copy()
    side = len(pixels)
    left, top, right, bottom = (round(edge * side) for edge in BAR)
    shape = (bottom - top, right - left, 3)
    pixels[top:bottom, left:right] = fill if isinstance(fill, np.ndarray) else fill.integers(0, 256, shape)
    return Image.fromarray(pixels)


def _middle(typicality: Typicality) -> list[float]:
    """Between these log-likelihoods lie 98 % of held-out faces."""
    return [float(np.interp(percent, typicality.percent, typicality.log_prior)) for percent in (1, 99)]


def _spread(values: Tensor) -> dict[str, float]:
    values = values.double()
    return {"mean": float(values.mean()), "low": float(values.min()), "high": float(values.max())}
