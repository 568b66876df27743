"""Fig. 6: evidence with its eyes covered, by one colour and by noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from benchmarks.measures import as_unit, region_distance
from transflow_core.checkpoints.typicality import Typicality
from transflow_core.images import to_pil

from .samples import measured_samples, prior_of
from .setting import Setting
from .words import Result, amount, difference, listing, number, sign, table

__all__ = ["run", "words"]

BAR = (0.20, 0.40, 0.80, 0.56)  # the occlusion, as fractions of the frame
NEON = (57, 255, 20)
NO_BAR = "no bar"
_NOISE = ("noise bar", "the same noise")


def run(setting: Setting) -> dict[str, Any]:
    """Occlusion by a solid bar, by noise and by the same noise everywhere: samples, log-likelihoods, mean latents."""
    n, shown = setting.count(16), setting.count(8)
    ratios = (0.05, 0.3, 1.0)
    # Sampled faces, so that the evidence may be shown; and real ones for the log-likelihoods.
    faces = setting.shipped_faces(25)
    rng = np.random.default_rng(6)
    same = np.random.default_rng(7).integers(0, 256, (setting.prior.image_size,) * 2 + (3,))
    sets = {
        NO_BAR: faces,
        "solid bar": [with_bar(face, np.array(NEON)) for face in faces],
        "noise bar": [with_bar(face, rng) for face in faces],
        "the same noise": [with_bar(face, same) for face in faces],
    }
    found, rows, labels = {}, [], []
    for name, images in sets.items():
        evidence = setting.engine.read(images, align="never")
        reference = as_unit(images)

        def bar(x: Tensor, reference: np.ndarray = reference) -> float:
            return region_distance(x, reference, BAR)

        densities = [image.latent.log_prior for image in evidence.used if image.latent]
        entry: dict[str, Any] = {"log_likelihood": _spread(densities), "m": len(evidence.used), "sweep": {}}
        entry["mean_rms"] = float(evidence.z.double().mean(0).square().mean().sqrt())
        more = {"bar": bar, **setting.real_faces.measures}
        drawn = {name: images}
        for ratio in ratios:
            x, entry["sweep"][f"{ratio:g}"] = measured_samples(setting, evidence.posterior(lam_ratio=ratio), n, more)
            drawn[f"λ/m = {ratio}"] = to_pil(x)
        if name != NO_BAR:
            rows += [some[:shown] for some in drawn.values()]
            labels += drawn
            entry["prior"] = measured_samples(setting, prior_of(setting), n, {"bar": bar})[1]
        else:
            entry["prior"] = measured_samples(setting, prior_of(setting), n, more)[1]
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
            values = [latent.log_prior for latent in setting.engine.encode(images)]
            found_real[f"{setting.evidence_used[name]}, {what}"] = _spread(values)
    return {
        "picture": setting.show("fig6", rows, row_labels=labels),
        "n": n,
        "seeds": setting.splits,
        "sets": found,
        "log_likelihoods": found_real,
        "alarms": setting.real_faces.alarms,
        "misses": setting.real_faces.misses,
        "held_out": _middle(setting.prior.typicality) if setting.prior.typicality else None,
    }


def with_bar(face: Image.Image, fill: np.ndarray | np.random.Generator) -> Image.Image:
    """A face with its eyes covered: by one colour (3,), by its part of a picture (S, S, 3), or by new noise."""
    pixels = np.asarray(face.convert("RGB")).copy()
    side = len(pixels)
    left, top, right, bottom = (round(edge * side) for edge in BAR)
    if isinstance(fill, np.random.Generator):
        fill = fill.integers(0, 256, pixels.shape)
    pixels[top:bottom, left:right] = fill if fill.ndim == 1 else fill[top:bottom, left:right]
    return Image.fromarray(pixels)


def _middle(typicality: Typicality) -> list[float]:
    """Between these log-likelihoods lie 98 % of held-out faces."""
    return [float(np.interp(percent, typicality.percent, typicality.log_prior)) for percent in (1, 99)]


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "low": min(values), "high": max(values)}


def words(r: Result) -> str:
    """The section of the page."""
    whole = r["sets"][NO_BAR]
    covered = {name: entry for name, entry in r["sets"].items() if name != NO_BAR}
    one, three = number(1), number(3)

    def row(label: str, cell: Result, way: str = "") -> list[str]:
        share = [amount(cell.get(key), one) for key in ("torn", "unlike")]
        return [label, *share, amount(cell["bar"], three) if way else "", way]

    rows = [row("the prior", whole["prior"]), *[row(f"no bar, λ/m = {k}", v) for k, v in whole["sweep"].items()]]
    way: dict[str, list[float]] = {}
    for name, entry in covered.items():
        start = entry["prior"]["bar"]["mean"]
        way[name] = [1 - cell["bar"]["mean"] / start for cell in entry["sweep"].values()]
        rows += [
            row(f"{name}, λ/m = {k}", cell, f"{share:.0%}")
            for (k, cell), share in zip(entry["sweep"].items(), way[name], strict=True)
        ]
    likely = [
        [what, f"{v['mean']:,.0f}", f"{v['low']:,.0f} … {v['high']:,.0f}"]
        for what, v in {
            **{f"sampled faces, {name}": entry["log_likelihood"] for name, entry in r["sets"].items()},
            **r["log_likelihoods"],
        }.items()
    ]
    held = ""
    if r["held_out"]:
        low, high = r["held_out"]
        below = [name for name, entry in covered.items() if entry["log_likelihood"]["high"] < low]
        held = (
            f" Here 98 % of held-out faces lie between {low:,.0f} and {high:,.0f}. All evidence lies below with: "
            f"{listing(below)}. {_claim('solid bar' not in below)}"
        )
    ways = "; ".join(f"{name} {shares[0]:.0%} to {shares[-1]:.0%}" for name, shares in way.items())
    rms = {name: entry["mean_rms"] for name, entry in r["sets"].items()}
    ends = list(whole["sweep"])
    worse = [f"{name} at λ/m = {k}" for name in _NOISE for k in ends if _worse(whole, covered[name], k)]
    free = whole["prior"]["diversity"]["mean"]
    varied = [entry["sweep"][ends[-1]]["diversity"]["mean"] / free for entry in covered.values()]
    most = max(covered[name]["sweep"][k]["torn"]["mean"] for name in _NOISE for k in ends)
    solid = covered["solid bar"]["sweep"][ends[0]]["unlike"]["mean"]
    return f"""## Figure 6: occlusions

![Figure 6](results/{r["picture"]})

Evidence: {covered["solid bar"]["m"]} sampled faces with a bar over the eyes: of one colour, of noise that is new in
each, or of the same noise in all. {r["n"]} samples of each of {r["seeds"]} seeds. *Torn* is the share whose nose and
mouth are like those of no real face. *Unlike* is the share that is far from all real faces by the ImageNet network.
Limits were set so that 5 % of real faces break them. Of other real faces {r["alarms"]["torn"]:.0f} and
{r["alarms"]["unlike"]:.0f} % do. Of real faces with another one's mouth, moved by an eighth, {r["misses"]["torn"]:.0f}
and {r["misses"]["unlike"]:.0f} % do not. *Bar* is the distance of the mean colour there from the evidence's. *Way* is
how far that colour goes from the prior's samples to the evidence.

{table(["", "torn, %", "unlike, %", "bar", "way"], rows)}

From the smallest λ/m to the largest, the bar's colour goes this share of the way: {ways}.
The paper sees inpainting only near λ = m, in samples that take little else from the evidence. Here, at λ/m =
{ends[-1]}, samples have {min(varied):.0%} to {max(varied):.0%} of the prior's diversity.

In the paper noise broke every face. It explains this by the evidence's log-likelihood: on its prior a solid bar was as
likely as a face, and noise was not.{held}

{table(["log N(z; 0, I) in nats", "mean", "range"], likely)}

The paper also finds that every sample collapses with noise. {_claim(most > 95)} At most {most:.0f} % of the samples are
torn. More are than without a bar at the same λ/m, and the paired interval excludes 0: {listing(worse)}. *Unlike* counts
the bar itself too: with the solid bar at λ/m = {ends[0]} it is {solid:.0f} %. The mean
latent's root mean square is {rms["noise bar"]:.2f} with independent noise, {rms["the same noise"]:.2f} with the same
noise, {rms[NO_BAR]:.2f} without a bar, and {rms["solid bar"]:.2f} with the solid bar."""


def _claim(stands: bool) -> str:
    return f"That is {'' if stands else 'not '}reproduced."


def _worse(whole: Result, covered: Result, ratio: str) -> bool:
    """Whether more samples are torn than without a bar."""
    return sign(difference(covered["sweep"][ratio]["torn"], whole["sweep"][ratio]["torn"])) > 0
