"""Figures 2 to 9 of the paper: pictures, and the measures that say in numbers what they show."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from transflow_core.evidence import Evidence
from transflow_core.images import to_pil
from transflow_core.measures import as_unit, chroma, descriptor_distance, diversity, face_rate, region_distance
from transflow_core.posterior import Gaussian, Posterior, standard_normal

from .digits import load_digits
from .setting import Setting

__all__ = ["fig2", "fig3", "fig5", "fig6", "fig7", "fig8", "fig9"]

SEED = 0
RATIOS = (0.2, 0.4, 0.6, 0.8, 1.0)
WIDE_RATIOS = (0.05, 0.2, 0.3, 0.5, 0.7, 1.0, 3.0)
BAR = (0.20, 0.40, 0.80, 0.56)  # the occlusion, as fractions of the frame
NEON = (57, 255, 20)


def measure(x: Tensor) -> dict[str, float]:
    """What is measured of every set of samples (n, 3, S, S)."""
    return {"face_rate": face_rate(x), "chroma": chroma(x), "diversity": diversity(x)}


def prior_samples(setting: Setting, n: int) -> Tensor:
    """n samples of the prior itself, with the noise that all figures use."""
    return setting.engine.sample(Gaussian.standard(setting.prior.dim), n, seed=SEED)


def evidence_images(evidence: Evidence) -> np.ndarray:
    return as_unit([image.face.image for image in evidence.used])


def fig2(setting: Setting) -> dict[str, Any]:
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


def fig3(setting: Setting) -> dict[str, Any]:
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


def fig5(setting: Setting) -> dict[str, Any]:
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
            "redness": {"samples": hair_redness(x), "evidence": hair_redness(evidence_images(evidence))},
            "used": setting.evidence_used[name],
        }
    prior = prior_samples(setting, n)
    return {
        "pictures": pictures,
        "sets": found,
        "prior": {**measure(prior), "redness": hair_redness(prior)},
    }


def hair_redness(x: Tensor | np.ndarray) -> float:
    """Mean of R - (G + B) / 2 in the band above the forehead where hair is, in [-1, 1]."""
    x = np.asarray(x)
    side = x.shape[-1]
    hair = x[:, :, round(0.05 * side) : round(0.18 * side), round(0.3 * side) : round(0.7 * side)].mean((0, 2, 3))
    return float(hair[0] - (hair[1] + hair[2]) / 2)


def fig6(setting: Setting) -> dict[str, Any]:
    """Occlusion by a solid bar and by noise: samples, and what the evidence's log-likelihoods are."""
    n, shown = setting.count(32), setting.count(8)
    ratios = (0.05, 0.3, 1.0)
    # Sampled faces, so that the evidence may be shown; and real ones for the log-likelihoods.
    faces = setting.shipped_faces(25)
    rng = np.random.default_rng(6)
    sets = {
        "no bar": faces,
        "solid bar": [with_bar(face, np.array(NEON)) for face in faces],
        "noise bar": [with_bar(face, rng) for face in faces],
    }
    found, rows, labels = {}, [], []
    prior = prior_samples(setting, n)
    for name, images in sets.items():
        evidence = setting.engine.evidence(images, whole="always")
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
            variants["solid bar"] = [with_bar(frame, np.array(NEON)) for frame in frames]
            variants["noise bar"] = [with_bar(frame, rng) for frame in frames]
        for what, images in variants.items():
            values = torch.tensor([latent.log_prior for latent in setting.engine.encode(images)])
            found_real[f"{setting.evidence_used[name]}, {what}"] = _spread(values)
    return {
        "picture": setting.show("fig6", rows, row_labels=labels),
        "sets": found,
        "log_likelihoods": found_real,
        "held_out": [setting.prior.typicality.log_prior[i] for i in (0, -1)] if setting.prior.typicality else None,
        "prior": measure(prior),
    }


def with_bar(face: Image.Image, fill: np.ndarray | np.random.Generator) -> Image.Image:
    """A face with its eyes covered: by one colour (3,), or by uniform noise from a generator."""
    pixels = np.asarray(face.convert("RGB")).copy()
    side = len(pixels)
    left, top, right, bottom = (round(edge * side) for edge in BAR)
    shape = (bottom - top, right - left, 3)
    pixels[top:bottom, left:right] = fill if isinstance(fill, np.ndarray) else fill.integers(0, 256, shape)
    return Image.fromarray(pixels)


def fig7(setting: Setting) -> dict[str, Any]:
    """Greyscale at λ/m = 0.2 … 1."""
    return _sweep(setting, "fig7", "greyscale", 21, RATIOS, None)


def fig8(setting: Setting) -> dict[str, Any]:
    """Out of domain: painted portraits and anime over a wide range of λ."""
    return {
        "painted": _sweep(setting, "fig8_painted", "painted", 24, WIDE_RATIOS, "sepia"),
        "anime": _sweep(setting, "fig8_anime", "anime", 24, WIDE_RATIOS, "cartoon"),
    }


def _sweep(
    setting: Setting, picture: str, name: str, most: int, ratios: tuple[float, ...], shipped: str | None
) -> dict[str, Any]:
    """The same draws at each λ, and the measures against the evidence and the prior."""
    n, shown = setting.count(24), setting.count(4)
    ratios = ratios[::3] if setting.fast else ratios
    evidence = setting.evidence(name, most, shipped)
    x = setting.engine.sweep(evidence, ratios, n, seed=SEED)
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


def fig9(setting: Setting) -> dict[str, Any]:
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


def _spread(values: Tensor) -> dict[str, float]:
    values = values.double()
    return {"mean": float(values.mean()), "low": float(values.min()), "high": float(values.max())}
