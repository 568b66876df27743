"""Fig. 5: red hair from 5 images, greyscale from 21; and one person, whom nobody is."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from benchmarks.features import descriptors
from benchmarks.measures import as_unit
from transflow_core.fewshot import jitter
from transflow_core.images import to_pil

from .samples import evidence_images, measure_table, measured_samples, of_images, prior_of
from .setting import Setting
from .words import Result, amount, difference, number, sign

__all__ = ["run", "words"]


def run(setting: Setting) -> dict[str, Any]:
    """Each set at λ/m = 0.5, against the prior; of one person, how far the face descriptors are."""
    n, shown = setting.count(16), setting.count(16)
    extra = {"redness": _hair_redness}
    found: dict[str, Any] = {"n": n, "seeds": setting.splits, "sets": {}, "pictures": {}}

    def show(name: str, images: Tensor) -> None:
        pictures = to_pil(images[:shown])
        rows = [pictures[start : start + 8] for start in range(0, len(pictures), 8)]
        found["pictures"][name] = setting.show(f"fig5_{name}", rows)

    for name, most in (("red_hair", 5), ("greyscale", 21)):
        evidence = setting.evidence(name, most)
        images, measures = measured_samples(setting, evidence.posterior(lam_ratio=0.5), n, extra)
        show(name, images)
        frames = evidence_images(evidence)
        found["sets"][name] = {
            "samples": measures,
            "evidence": of_images(frames) | {"redness": {"mean": _hair_redness(frames), "half": None}},
            "m": len(evidence.used),
            "used": setting.evidence_used[name],
        }
    found["prior"] = measured_samples(setting, prior_of(setting), n, extra)[1]
    pictures = _one_person(setting)
    person = setting.engine.read(pictures, align="never")
    few = setting.count(6)
    reference = descriptors(as_unit(pictures[:few])).mean(0)
    extra = {"descriptor": lambda x: float(np.linalg.norm(descriptors(x[:few]).mean(0) - reference))}
    images, measures = measured_samples(setting, person.posterior(lam_ratio=0.5), n, extra)
    show("person", images)
    found["person"] = {
        "samples": measures,
        "prior": measured_samples(setting, prior_of(setting), n, extra)[1],
        "m": len(person.used),
    }
    return found


def _one_person(setting: Setting) -> list[Image.Image]:
    """Pictures of a face that nobody has: one sample, mirrored, moved and turned, in other light and colour."""
    [face] = setting.shipped_faces(1)
    rng = np.random.default_rng(5)
    pictures = []
    for picture in jitter([face], setting.count(18) - 1, seed=5, shift=0.04, degrees=8.0, scale=0.06, shear=0.05)[0]:
        if rng.random() < 0.5:
            picture = ImageOps.mirror(picture)
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            picture = enhance(picture).enhance(rng.uniform(0.6, 1.4))
        pictures.append(picture)
    return pictures


def _hair_redness(x: Tensor | np.ndarray) -> float:
    """Mean of R - (G + B) / 2 in the band above the forehead where hair is, in [-1, 1]."""
    x = np.asarray(x)
    side = x.shape[-1]
    hair = x[:, :, round(0.05 * side) : round(0.18 * side), round(0.3 * side) : round(0.7 * side)].mean((0, 2, 3))
    return float(hair[0] - (hair[1] + hair[2]) / 2)


def words(r: Result) -> str:
    """The section of the page."""
    rows = {"the prior": r["prior"]}
    for name, entry in r["sets"].items():
        rows |= {f"posterior, {name}": entry["samples"], f"evidence, {name}": entry["evidence"]}
    red, grey, person = r["sets"]["red_hair"], r["sets"]["greyscale"], r["person"]
    three = number(3)

    def moved(entry: Result, key: str) -> str:
        gain = difference(entry["samples"][key], r["prior"][key])
        towards = entry["evidence"][key]["mean"] - r["prior"][key]["mean"]
        share = gain["mean"] / towards if towards else 0.0
        return f"{share:.0%} of the way from the prior to the evidence" + (
            "" if sign(gain) else ", within the interval of none"
        )

    closer = difference(person["samples"]["descriptor"], person["prior"]["descriptor"])
    other = person["prior"]["descriptor"]["mean"]
    return f"""## Figure 5: red hair from {red["m"]} images, greyscale from {grey["m"]}, and one person

![Red hair](results/{r["pictures"]["red_hair"]})

λ/m = 0.5, {r["n"]} samples of each of {r["seeds"]} seeds. Evidence: {red["used"]} and {grey["used"]}. *Redness* is
R - (G + B)/2 where hair is. Samples go {moved(red, "redness")}.

![Greyscale](results/{r["pictures"]["greyscale"]})

Chroma goes {moved(grey, "chroma")}.

{measure_table(rows, {"redness": "redness"})}

![One person](results/{r["pictures"]["person"]})

The paper also conditions on one person. This person is made: one sample of the prior in {person["m"]} pictures,
mirrored, moved, turned, in other light and colour. Distance of the mean face descriptors of six samples and six
pictures: samples {amount(person["samples"]["descriptor"], three)}, the prior's
{amount(person["prior"]["descriptor"], three)}, difference {amount(closer, three)}.
Means of other faces lie {"within" if other < 0.6 else "beyond"} dlib's 0.6 for one person, so only the difference
counts. Another page measures [five photographs of one real person](results/likeness.md#one-person)."""
